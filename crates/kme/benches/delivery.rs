//! enc_keys and dec_keys over mutual TLS: requests a second, CPU of the KME a request, latencies.
//!
//! `cargo bench --profile dev -p kme`. The KME runs in a process of its own with a durable store, so that its CPU is
//! told apart from that of the callers; both share the machine. Connections are kept, one request under way on each.
//! `KME_PEER=FILE` measures another KME with the same callers in the same run: a TOML file with `pid`, `master`, `slave`
//! (names), and tables `[at_master]`, `[at_slave]` of client settings. `BENCH_REQUESTS` changes the requests of a cell.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::{Entropy, MasterKey, Secret32};
use kme::client::{Client, ClientError, ClientSettings};
use kme::config::{Guard, KmeConfig, Limits, SaeConfig, ServerConfig, Timing};
use kme::note::NoEvidence;
use kme::peer::local::{LocalPeers, LocalSupply};
use kme::sae::{Credential, SaeAuthority};
use kme::server::{ServerTls, serve};
use kme::{Kme, Parts, SaeId};
use store::{Store, StoreHandle};
use tokio::net::TcpListener;
use types::{Millis, Timestamp};

const CONNECTIONS: [usize; 3] = [1, 8, 64];
const POOLS: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];

#[derive(serde::Serialize, serde::Deserialize)]
struct Target {
    pid: u32,
    master: SaeId,
    slave: SaeId,
    at_master: ClientSettings,
    at_slave: ClientSettings,
}

/// The KME under test: `delivery --serve DIR KEYS`. Prints how to reach it once its pool is full.
async fn serve_here(dir: &Path, keys: u64) {
    let entropy = Arc::new(Entropy::system().unwrap());
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let (now, day) = (Timestamp::from_millis(since.as_millis() as u64), Millis::from_days(1));
    let (master, slave): (SaeId, SaeId) = ("master".parse().unwrap(), "slave".parse().unwrap());
    let config = KmeConfig {
        id: "bench".parse().unwrap(),
        limits: Limits { min_key_count: keys, max_key_count: keys, ..Limits::default() },
        timing: Timing::default(),
        saes: vec![SaeConfig::new(master.clone()), SaeConfig::new(slave.clone())],
        remotes: vec![],
    };
    let authority = SaeAuthority::open_or_create(&dir.join("saes"), &config.id, &entropy, now).unwrap();
    let own = authority.issue_server(&config.id, &["127.0.0.1".to_owned()], &entropy, now, day).unwrap();
    let boundary = "bench".parse().unwrap();
    let store =
        Store::create(&dir.join("store.db"), &boundary, MasterKey::from_bytes(&[1; 32]), Arc::clone(&entropy)).unwrap();
    let parts = Parts {
        store: StoreHandle::spawn(store).unwrap(),
        supply: Arc::new(LocalSupply::new(Arc::clone(&entropy))),
        peer: Arc::new(Arc::<LocalPeers>::default().of(config.id.clone())),
        entropy: Arc::clone(&entropy),
        evidence: Arc::new(NoEvidence),
        config,
    };
    let kme = Kme::open(parts).await.unwrap();
    let caller = kme.directory().sae(&master).unwrap();
    while kme.status(&caller, &slave).unwrap().stored_key_count < keys {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = listener.local_addr().unwrap();
    let authorities = vec![authority.certificate()];
    let guard = Guard::default();
    let groups = types::mesh::Groups::Preferred;
    let (certificate, key) = (own.certificate, own.key);
    let server = ServerConfig { listen, certificate, key, authorities, groups, guard: guard.clone() };
    let settings = |id: &SaeId| {
        let Credential { certificate, key, authority } = authority.add(id, &entropy, now, day).unwrap();
        ClientSettings { url: format!("https://{listen}"), authority, certificate, key }
    };
    let (at_master, at_slave) = (settings(&master), settings(&slave));
    let target = Target { pid: std::process::id(), master, slave, at_master, at_slave };
    println!("{}", serde_json::to_string(&target).unwrap());
    let tls = Arc::new(ServerTls::load(&server, &kme).unwrap());
    serve(listener, tls, kme, guard).await;
}

/// User and system time of a process so far.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[derive(Clone, Copy)]
struct Measured {
    per_second: f64,
    cpu_us: f64,
    p50: Duration,
    p99: Duration,
}

fn summed(pid: u32, start: Instant, before: Duration, mut times: Vec<Duration>) -> Measured {
    let (elapsed, used) = (start.elapsed(), cpu(pid) - before);
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Measured {
        per_second: times.len() as f64 / elapsed.as_secs_f64(),
        cpu_us: used.as_secs_f64() * 1e6 / times.len() as f64,
        p50: at(0.5),
        p99: at(0.99),
    }
}

/// Longest time for one request to succeed.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `ask` gives at last, and how long the try took that gave it. A slow machine has empty pools now and then
/// and says 503; it is asked again after a while, twice as long each time up to a second.
async fn persist<T, F>(ask: impl Fn() -> F) -> (Duration, T)
where
    F: Future<Output = Result<T, ClientError>>,
{
    let (begun, mut pause) = (Instant::now(), Duration::from_millis(20));
    loop {
        let start = Instant::now();
        match ask().await {
            Ok(value) => return (start.elapsed(), value),
            Err(error) if begun.elapsed() > PATIENCE => panic!("no answer in {PATIENCE:?}: {error}"),
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// enc_keys, then dec_keys of the same keys, over so many connections.
async fn measure(target: &Target, connections: usize, requests: usize) -> (Measured, Measured) {
    let client = |settings: &ClientSettings| Arc::new(Client::new(settings, Duration::from_secs(60)).unwrap());
    let mut pairs = Vec::new();
    for _ in 0..connections {
        let pair = (client(&target.at_master), client(&target.at_slave));
        // Handshakes are not what is measured.
        persist(|| pair.0.status(&target.slave)).await;
        let (_, key) = persist(|| pair.0.enc_keys(&target.slave, 1, 256)).await;
        let ids = [key[0].id.clone()];
        persist(|| pair.1.dec_keys(&target.master, &ids)).await;
        pairs.push(pair);
    }
    let each = requests / connections;
    let (start, before) = (Instant::now(), cpu(target.pid));
    let mut tasks = tokio::task::JoinSet::new();
    for (number, (master, _)) in pairs.iter().enumerate() {
        let (master, slave) = (Arc::clone(master), target.slave.clone());
        tasks.spawn(async move {
            let mut done = Vec::with_capacity(each);
            for _ in 0..each {
                let (taken, keys) = persist(|| master.enc_keys(&slave, 1, 256)).await;
                done.push((taken, keys[0].id.clone()));
            }
            (number, done)
        });
    }
    let mut all = tasks.join_all().await;
    let times = all.iter().flat_map(|(_, done)| done.iter().map(|(time, _)| *time)).collect();
    let enc = summed(target.pid, start, before, times);
    let (start, before) = (Instant::now(), cpu(target.pid));
    let mut tasks = tokio::task::JoinSet::new();
    for (number, done) in all.drain(..) {
        let (slave, master) = (Arc::clone(&pairs[number].1), target.master.clone());
        tasks.spawn(async move {
            let mut times = Vec::with_capacity(done.len());
            for (_, id) in done {
                let ids = [id];
                times.push(persist(|| slave.dec_keys(&master, &ids)).await.0);
            }
            times
        });
    }
    let times = tasks.join_all().await.into_iter().flatten().collect();
    (enc, summed(target.pid, start, before, times))
}

fn print(name: &str, what: &str, connections: usize, m: Measured) {
    println!(
        "{name:>10} {what:>9} {connections:>5} {:>10.0} {:>10.1} {:>9.3} {:>9.3}",
        m.per_second,
        m.cpu_us,
        m.p50.as_secs_f64() * 1e3,
        m.p99.as_secs_f64() * 1e3
    );
}

fn start(dir: &Path, keys: u64) -> (Child, Target) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--serve", dir.to_str().unwrap(), &keys.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let [_, serve, dir, keys] = &args[..]
        && serve == "--serve"
    {
        return runtime.block_on(serve_here(Path::new(dir), keys.parse().unwrap()));
    }
    let requests: usize = std::env::var("BENCH_REQUESTS").map_or(20_000, |text| text.parse().unwrap());
    let base = std::env::var_os("BENCH_DIR").unwrap_or_else(|| std::env::temp_dir().into());
    println!(
        "{:>10} {:>9} {:>5} {:>10} {:>10} {:>9} {:>9}",
        "pool", "request", "conns", "req/s", "CPU us/req", "p50 ms", "p99 ms"
    );
    let mut ours = Vec::new();
    for pool in POOLS {
        let dir = tempfile::tempdir_in(&base).unwrap();
        let (mut child, target) = start(dir.path(), pool);
        for connections in CONNECTIONS {
            let (enc, dec) = runtime.block_on(measure(&target, connections, requests));
            print(&pool.to_string(), "enc_keys", connections, enc);
            print(&pool.to_string(), "dec_keys", connections, dec);
            if pool == POOLS[1] {
                ours.push((enc, dec));
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let Some(peer) = std::env::var_os("KME_PEER") else { return };
    let peer: Target = toml::from_str(&std::fs::read_to_string(peer).unwrap()).unwrap();
    for (connections, (enc, dec)) in CONNECTIONS.into_iter().zip(ours) {
        let theirs = runtime.block_on(measure(&peer, connections, requests.min(2_000)));
        print("peer", "enc_keys", connections, theirs.0);
        print("peer", "dec_keys", connections, theirs.1);
        println!(
            "CPU a request, peer : ours = {:.1} (enc_keys), {:.1} (dec_keys)",
            theirs.0.cpu_us / enc.cpu_us,
            theirs.1.cpu_us / dec.cpu_us
        );
    }
}
