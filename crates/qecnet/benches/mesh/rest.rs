//! What a mesh costs that nobody uses: processor time of every process, as the kernel counts it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

const QECNET: &str = env!("CARGO_BIN_EXE_qecnet");
/// Pools are full by then.
const BEFORE: Duration = Duration::from_secs(120);
const SPAN: Duration = Duration::from_secs(60);

/// User and system time of a process so far, in seconds.
fn spent(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    // USER_HZ is 100 on every Linux there is
    Some(ticks / 100.0)
}

/// Prints the cores that each process keeps busy, and all together.
fn measure(what: &str, limit: f64, parts: &BTreeMap<String, u32>) {
    let read = || -> BTreeMap<&str, f64> {
        parts.iter().filter_map(|(name, pid)| Some((name.as_str(), spent(*pid)?))).collect()
    };
    let (start, before) = (Instant::now(), read());
    sleep(SPAN);
    let (seconds, after) = (start.elapsed().as_secs_f64(), read());
    let mut total = 0.0;
    for (name, now) in &after {
        let cores = (now - before.get(name).copied().unwrap_or(0.0)) / seconds;
        total += cores;
        if cores >= 0.005 {
            println!("{what:>16} {name:>12} {cores:>7.3}");
        }
    }
    println!("{what:>16} {:>12} {total:>7.3}  of {limit:.2} cores allowed", "together");
}

/// `qecnet up` as `./run` starts it, then a hub without a node.
pub(crate) fn run() {
    println!("{:>16} {:>12} {:>7}", "", "process", "cores");
    let dir = tempfile::tempdir().unwrap();
    mesh(dir.path());
    let dir = tempfile::tempdir().unwrap();
    hub(dir.path());
}

fn end(mut child: Child) {
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    if interrupted.is_err() {
        child.kill().unwrap();
    }
    child.wait().unwrap();
}

fn mesh(dir: &Path) {
    let mut up = Command::new(QECNET)
        .args(["up", "--json", "--listen", &free(), "--dir"])
        .arg(dir.join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let parts = Arc::new(Mutex::new(BTreeMap::from([("up".to_owned(), up.id())])));
    let (out, started) = (BufReader::new(up.stdout.take().unwrap()), Arc::clone(&parts));
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if let (Some(name), Some(pid)) = (value["started"].as_str(), value["pid"].as_u64()) {
                started.lock().unwrap().insert(name.to_owned(), u32::try_from(pid).unwrap());
            }
        }
    });
    sleep(BEFORE);
    let parts = parts.lock().unwrap().clone();
    measure("mesh at rest", 0.35, &parts);
    end(up);
}

fn hub(dir: &Path) {
    let folder = dir.join("data");
    let init = |arguments: &[&str]| {
        let status = Command::new(QECNET).args(arguments).arg("--dir").arg(&folder).stdout(Stdio::null()).status();
        assert!(status.unwrap().success());
    };
    init(&["init", "hub", "--listen", &free(), "--mesh-listen", &free()]);
    init(&["init", "operator", "--id", "op1"]);
    init(&["init", "trust"]);
    let hub = Command::new(QECNET)
        .args(["hub", "run", "--config"])
        .arg(folder.join("hub/config.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    sleep(Duration::from_secs(60));
    measure("hub alone", 0.05, &BTreeMap::from([("hub".to_owned(), hub.id())]));
    end(hub);
}

fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
