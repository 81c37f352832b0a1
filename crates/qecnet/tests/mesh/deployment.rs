//! A deployment under test: `qecnet up` in a folder of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// One mesh at a time: each is a good twenty processes.
static TURN: Mutex<()> = Mutex::new(());

/// Longest wait for anything the product must reach. A bound against hanging, not a promise.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until no other mesh runs.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Mesh {
    up: Option<Child>,
    pids: Arc<Mutex<BTreeMap<String, u32>>>,
    lines: Arc<Mutex<Vec<String>>>,
    dir: PathBuf,
    nodes: u16,
    refresh: String,
    listen: String,
    /// More arguments of `up`.
    more: Vec<String>,
    _temp: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// What a command of the product gave.
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.out.trim()).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

pub(crate) fn run(program: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    Ran {
        status: output.status,
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(crate) fn qecnet() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_qecnet"))
}

/// The outsider's verifier, built beside `qecnet`.
pub(crate) fn qaudit() -> PathBuf {
    let path = qecnet().with_file_name("qaudit");
    assert!(path.exists(), "build it first: cargo build --workspace --bins");
    path
}

/// A free port of the loopback.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until `check` gives something.
#[track_caller]
pub(crate) fn wait<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long for: {what}");
        sleep(Duration::from_millis(100));
    }
}

impl Mesh {
    /// Starts a mesh and waits until every node is online, every pair has an active key and every
    /// link is measured.
    pub(crate) fn start(nodes: u16, refresh: &str) -> Self {
        Self::start_on(nodes, refresh, |_| {})
    }

    /// As [`Self::start`], with links of each protocol.
    pub(crate) fn start_mixed(nodes: u16, refresh: &str) -> Self {
        Self::start_with(nodes, refresh, &["--protocol", "mixed"], |_| {})
    }

    /// As [`Self::start`], in a folder that `prepare` has seen first.
    pub(crate) fn start_on(nodes: u16, refresh: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::start_with(nodes, refresh, &[], prepare)
    }

    fn start_with(nodes: u16, refresh: &str, more: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let turn = turn();
        let temp = tempfile::tempdir().unwrap();
        let mut mesh = Self {
            up: None,
            pids: Arc::default(),
            lines: Arc::default(),
            dir: temp.path().join("data"),
            nodes,
            refresh: refresh.to_owned(),
            listen: format!("127.0.0.1:{}", free_port()),
            more: more.iter().map(|word| (*word).to_owned()).collect(),
            _temp: temp,
            _turn: turn,
        };
        std::fs::create_dir_all(&mesh.dir).unwrap();
        prepare(&mesh.dir);
        mesh.up();
        mesh.wait_keyed();
        mesh
    }

    /// Starts `qecnet up` on the folder, again or for the first time.
    pub(crate) fn up(&mut self) {
        let mut child = Command::new(qecnet())
            .args(["up", "--json", "--nodes", &self.nodes.to_string(), "--refresh", &self.refresh])
            .args(&self.more)
            .args(["--allow-connect", "127.0.0.1:*", "--listen", &self.listen, "--dir"])
            .arg(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (pids, lines) = (Arc::clone(&self.pids), Arc::clone(&self.lines));
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str::<Value>(&line)
                    && let (Some(name), Some(pid)) = (value["started"].as_str(), value["pid"].as_u64())
                {
                    pids.lock().unwrap().insert(name.to_owned(), u32::try_from(pid).unwrap());
                }
                lines.lock().unwrap().push(line);
            }
        });
        self.up = Some(child);
    }

    /// Ctrl-C, and waits for the end.
    pub(crate) fn stop(&mut self) -> Option<ExitStatus> {
        let mut child = self.up.take()?;
        signal("INT", child.id());
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(status);
            }
            sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        child.wait().ok()
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn pid(&self, part: &str) -> u32 {
        self.pids.lock().unwrap()[part]
    }

    /// What `up` has said so far, a JSON value a line.
    pub(crate) fn said(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// `kill -9`; the supervisor starts the part again.
    pub(crate) fn kill(&self, part: &str) {
        signal("KILL", self.pid(part));
    }

    /// An operator's command on this deployment.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Ran {
        let dir = self.dir.to_str().unwrap();
        let mut all = arguments.to_vec();
        all.extend(["--dir", dir, "--reason", "a drill"]);
        run(&qecnet(), &all)
    }

    /// A read command's JSON.
    #[track_caller]
    /// Two operators say that a node is compromised: the second confirms it.
    pub(crate) fn compromise(&self, node: &str) {
        for operator in ["op1", "op2"] {
            self.cli(&["signal", "--node", node, "--kind", "node-compromise", "--as", operator]).expect(0);
        }
    }

    pub(crate) fn read(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        self.cli(&all).expect(0).json()
    }

    /// The status, where the hub answers.
    pub(crate) fn status(&self) -> Option<Value> {
        let ran = self.cli(&["status", "--json"]);
        (ran.code() == 0).then(|| ran.json())
    }

    pub(crate) fn wait_keyed(&self) -> Value {
        let nodes = usize::from(self.nodes);
        self.wait_status("every node online, every pair keyed, every link measured", |status| {
            let online = status["nodes"].as_array().unwrap().iter().filter(|node| node["state"] == "ONLINE").count();
            let links = status["links"].as_array().unwrap();
            online == nodes
                && links.len() == nodes * (nodes + 1) / 2
                && links.iter().all(|link| link["qber"].is_f64())
                && self.active_pairs().len() == nodes * (nodes - 1) / 2
        })
    }

    #[track_caller]
    pub(crate) fn wait_status(&self, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        wait(what, || self.status().filter(|status| check(status)))
    }

    /// Pairs with a key in use, and its number.
    pub(crate) fn active_pairs(&self) -> BTreeMap<String, String> {
        let ran = self.cli(&["keys", "list", "--json"]);
        if ran.code() != 0 {
            return BTreeMap::new();
        }
        let keys = ran.json();
        let in_use =
            keys.as_array().unwrap().iter().filter(|key| {
                key["type"] == "MESH_SESSION" && (key["state"] == "ACTIVE" || key["state"] == "ROTATING")
            });
        in_use
            .map(|key| {
                let ends: Vec<_> = key["participants"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                (ends.join("~"), key["id"].as_str().unwrap().to_owned())
            })
            .collect()
    }

    /// Exports the log and the pins.
    pub(crate) fn export(&self, name: &str) -> (PathBuf, PathBuf) {
        let (log, pins) = (self.dir.join(format!("{name}.audit")), self.dir.join(format!("{name}.pins")));
        self.cli(&["audit", "pins", "--out", pins.to_str().unwrap()]).expect(0);
        self.cli(&["audit", "export", "--out", log.to_str().unwrap()]).expect(0);
        (log, pins)
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            for line in self.said().iter().rev().take(5).rev() {
                eprintln!("up said: {line}");
            }
            show_logs(&self.dir.join("logs"));
        }
    }
}

/// The end of every log that says something.
fn show_logs(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(8)..] {
            eprintln!("{}: {line}", entry.file_name().to_string_lossy());
        }
    }
}

pub(crate) fn signal(name: &str, pid: u32) {
    Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
}

/// Verifies and replays an exported log; panics with what the verifier says.
#[track_caller]
pub(crate) fn assert_holds(log: &Path, pins: &Path) {
    for command in ["verify", "replay"] {
        run(&qaudit(), &[command, log.to_str().unwrap(), "--pins", pins.to_str().unwrap()]).expect(0);
    }
}
