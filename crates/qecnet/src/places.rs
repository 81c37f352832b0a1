//! Where parts listen, and who is there already.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use hub::HubConfig;
use link::fibre::FibreConfig;
use node::NodeConfig;
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep};

use crate::exit::{Exit, Fault};

/// How long a place may take to become free, as when the part that held it was just stopped.
const PATIENCE: Duration = Duration::from_secs(1);
const GLANCE: Duration = Duration::from_millis(50);

/// An address that a part listens on, and what gives it another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    address: String,
    option: String,
}

impl Place {
    /// That of an argument of the command line.
    pub(crate) fn of_argument(address: SocketAddr, argument: &str) -> Self {
        Self { address: address.to_string(), option: format!("give another with `{argument}`") }
    }

    fn of_field(address: impl ToString, field: &str, file: &Path) -> Self {
        let option = format!("choose another in `{field}` of {}", file.display());
        Self { address: address.to_string(), option }
    }
}

/// Where the hub of `config`, which is the file `path`, listens.
pub(crate) fn of_hub(path: &Path, config: &HubConfig) -> Vec<Place> {
    let mut listen = Place::of_field(config.listen, "listen", path);
    listen.option.push_str(" and in `address` of operators/client.toml");
    let mut places = vec![listen, Place::of_field(config.mesh_listen, "mesh_listen", path)];
    places.extend(config.public.iter().map(|public| Place::of_field(public.listen, "public.listen", path)));
    places
}

/// Where the node of `config`, which is the file `path`, listens.
pub(crate) fn of_node(path: &Path, config: &NodeConfig) -> Vec<Place> {
    let kme = config.kme.iter().map(|kme| Place::of_field(kme.listen, "kme.listen", path));
    [Place::of_field(&config.listen, "listen", path)].into_iter().chain(kme).collect()
}

/// Where the fibre of `config`, which is the file `path`, listens.
pub(crate) fn of_fibre(path: &Path, config: &FibreConfig) -> Vec<Place> {
    let fields = [(&config.listen_a, "listen_a"), (&config.listen_b, "listen_b"), (&config.control, "control")];
    fields.into_iter().map(|(address, field)| Place::of_field(address, field, path)).collect()
}

/// Whether nobody listens at any of `places`; waits a moment for whoever is about to go.
///
/// # Errors
/// Names the port, who holds it and what to do, with [`Exit::Address`].
pub(crate) async fn are_free(places: &[Place]) -> Result<(), Fault> {
    let deadline = Instant::now() + PATIENCE;
    for place in places {
        while let Some(port) = busy(&place.address).await {
            if Instant::now() >= deadline {
                let holder = holder(port).unwrap_or_else(|| "a process that cannot be seen from here".to_owned());
                let Place { address, option } = place;
                let text = format!("cannot listen on {address}: port {port} is held by {holder}: stop it, or {option}");
                return Err(Fault::new(Exit::Address, anyhow::anyhow!(text)));
            }
            sleep(GLANCE).await;
        }
    }
    Ok(())
}

/// The port of `address`, where another listens there. Nobody is disturbed: the place is bound, and never listened on.
async fn busy(address: &str) -> Option<u16> {
    // An address that names nothing is for the part itself to complain of.
    for at in tokio::net::lookup_host(address).await.ok()?.filter(|at| at.port() != 0) {
        let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let bound = socket.and_then(|socket| {
            socket.set_reuseaddr(true)?;
            socket.bind(at)
        });
        if bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse) {
            return Some(at.port());
        }
    }
    None
}

/// Who listens on `port` of this machine, as far as this user may see (proc(5), `/proc/net/tcp`).
fn holder(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let (inode, user) = tables.iter().flat_map(|table| table.lines()).find_map(|line| listens_on(line, port))?;
    let unseen = || format!("a process of user {user}");
    Some(process_of(&inode).unwrap_or_else(unseen))
}

/// The socket's inode and its user's number, where a line of `/proc/net/tcp` is of a socket that listens on `port`.
fn listens_on(line: &str, port: u16) -> Option<(String, String)> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state) = (fields.get(1)?, fields.get(3)?);
    let here = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    let found = *state == LISTEN && here == port;
    found.then(|| Some(((*fields.get(9)?).to_owned(), (*fields.get(7)?).to_owned())))?
}

fn process_of(inode: &str) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let holds = |process: &fs::DirEntry| {
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target.as_os_str() == wanted.as_str())
    };
    let is_process = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit());
    let process = processes.filter(is_process).find(holds)?;
    let program = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
    Some(format!("process {} ({})", process.file_name().to_string_lossy(), program.trim()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::{Place, are_free, holder, listens_on};

    #[test]
    fn a_line_of_the_table_is_read() {
        let line =
            "   0: 0100007F:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100";
        assert_eq!(listens_on(line, 8443), Some(("4711".to_owned(), "1000".to_owned())));
        assert_eq!(listens_on(line, 8444), None);
        assert_eq!(listens_on(&line.replace(" 0A ", " 01 "), 8443), None);
        let heading =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(listens_on(heading, 8443), None);
    }

    /// U6
    #[tokio::test]
    async fn a_busy_place_is_named_with_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let place = [Place::of_argument(address, "--listen")];
        let me = format!("process {} (", std::process::id());
        assert!(holder(address.port()).unwrap().starts_with(&me));
        let told = are_free(&place).await.unwrap_err().error.to_string();
        for wanted in [&address.to_string(), &format!("port {}", address.port()), &me, "--listen"] {
            assert!(told.contains(wanted), "{told}");
        }
        drop(listener);
        are_free(&place).await.unwrap();
    }
}
