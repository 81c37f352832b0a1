//! `docs/deploy.md` as a person follows it: every block is run, on the machine that stands beside its fence. A
//! machine is a folder here, and its addresses are ports of the loopback.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::deployment::turn;

const DOCUMENT: &str = include_str!("../../../../docs/deploy.md");
const PATIENCE: Duration = Duration::from_secs(300);

struct Block {
    kind: String,
    machine: String,
    /// Of a file.
    path: Option<String>,
    text: String,
}

/// Every fenced block. One without a kind and a machine is a block that nobody would run.
fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let mut words = info.split_whitespace().map(str::to_owned);
        let (kind, machine) = (words.next(), words.next());
        let text: Vec<_> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
        let text = text.join("\n") + "\n";
        let (Some(kind), Some(machine)) = (kind, machine) else { panic!("no machine runs this block:\n{text}") };
        blocks.push(Block { kind, machine, path: words.next(), text });
    }
    blocks
}

/// The document's places, as they are here.
struct Places {
    root: PathBuf,
    addresses: BTreeMap<String, (String, TcpListener)>,
}

impl Places {
    /// Addresses become ports of the loopback, the same one each time, and folders those of `machine`.
    fn here(&mut self, machine: &str, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("10.0.0.") {
            let address: String =
                rest[at..].chars().take_while(|c| c.is_ascii_digit() || *c == '.' || *c == ':').collect();
            out.push_str(&rest[..at]);
            rest = &rest[at + address.len()..];
            let (here, _held) = self.addresses.entry(address).or_insert_with(|| {
                let held = TcpListener::bind("127.0.0.1:0").unwrap();
                (held.local_addr().unwrap().to_string(), held)
            });
            out.push_str(here);
        }
        out.push_str(rest);
        let folder = |name: &str| self.root.join(name).display().to_string();
        out.replace("/var/lib/qecnet", &format!("{}/qecnet", folder(machine))).replace("/media", &folder("media"))
    }

    /// Lets the product have the ports that were held for it.
    fn free(&mut self) {
        for (_, held) in self.addresses.values_mut() {
            let spare = TcpListener::bind("127.0.0.1:0").unwrap();
            drop(std::mem::replace(held, spare));
        }
    }
}

/// What runs; ended with the test, whatever its outcome.
struct Services(Vec<(Child, PathBuf)>);

impl Drop for Services {
    fn drop(&mut self) {
        for (service, _) in &mut self.0 {
            let _ = service.kill();
            let _ = service.wait();
        }
    }
}

impl Services {
    fn logs(&self) -> String {
        let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let tail = |path: &PathBuf| read(path).lines().rev().take(20).collect::<Vec<_>>().join("\n");
        self.0.iter().map(|(_, path)| format!("{}:\n{}\n", path.display(), tail(path))).collect()
    }
}

fn shell(text: &str, folder: &Path) -> Command {
    let binaries = Path::new(env!("CARGO_BIN_EXE_qecnet")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-euc", text]).current_dir(folder).env("PATH", path).stdin(Stdio::null());
    command
}

fn run(text: &str, folder: &Path, services: &Services) {
    let log = folder.join("block.log");
    let file = || OpenOptions::new().create(true).append(true).open(&log).unwrap();
    let mut running = shell(text, folder).stdout(file()).stderr(file()).spawn().unwrap();
    let start = Instant::now();
    let status = loop {
        match running.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if start.elapsed() > PATIENCE => break None,
            None => sleep(Duration::from_millis(50)),
        }
    };
    if status.is_none_or(|status| !status.success()) {
        let _ = running.kill();
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        panic!("{status:?} of this block:\n{text}\nit said:\n{said}\n{}", services.logs());
    }
}

/// U9: the deployment that `docs/deploy.md` teaches is one: every block runs, and a mesh with a measured quantum
/// link comes of it.
#[test]
fn u9_the_deployment_in_the_manual_runs_block_by_block() {
    let _turn = turn();
    let temp = tempfile::tempdir().unwrap();
    let mut places = Places { root: temp.path().to_owned(), addresses: BTreeMap::new() };
    std::fs::create_dir_all(temp.path().join("media/cards")).unwrap();
    let mut services = Services(Vec::new());
    let all = blocks(DOCUMENT);
    assert!(all.len() > 12, "the manual has lost its blocks");
    let begin = all.iter().position(|block| block.kind == "service").unwrap();
    for (at, block) in all.iter().enumerate() {
        let folder = temp.path().join(&block.machine);
        std::fs::create_dir_all(&folder).unwrap();
        let text = places.here(&block.machine, &block.text);
        if at == begin {
            places.free();
        }
        match (block.kind.as_str(), &block.path) {
            ("sh", None) => run(&text, &folder, &services),
            ("toml", Some(path)) => {
                let path = PathBuf::from(places.here(&block.machine, path));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
                file.write_all(format!("\n{text}").as_bytes()).unwrap();
            }
            ("service", None) => {
                let log = folder.join(format!("service-{at}.log"));
                let file = || OpenOptions::new().create(true).append(true).open(&log).unwrap();
                // `exec`, so that what is ended is the service and not its shell
                let child = shell(&format!("exec {text}"), &folder).stdout(file()).stderr(file()).spawn().unwrap();
                services.0.push((child, log));
            }
            (kind, _) => panic!("a block of kind `{kind}` is not run by anyone:\n{}", block.text),
        }
    }
    for (service, log) in &mut services.0 {
        assert!(service.try_wait().unwrap().is_none(), "{} has ended", log.display());
    }
}
