//! A hub that shows another history than before: to its operators and to their auditor.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::deployment::{Ran, free_port, qaudit, qecnet, run, signal, wait};

/// A hub without nodes, in a folder of its own.
struct HubAlone {
    dir: PathBuf,
    hub: Option<Child>,
}

impl HubAlone {
    /// Makes it, under the log keys of another where there is one.
    fn make(dir: &Path, log_key: Option<&Path>) -> Self {
        let path = dir.to_str().unwrap();
        let [listen, mesh] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        if let Some(key) = log_key {
            fs::create_dir_all(dir.join("hub")).unwrap();
            fs::copy(key, dir.join("hub/log.key")).unwrap();
        }
        run(&qecnet(), &["init", "hub", "--listen", &listen, "--mesh-listen", &mesh, "--dir", path]).expect(0);
        run(&qecnet(), &["init", "operator", "--id", "op1", "--dir", path]).expect(0);
        run(&qecnet(), &["init", "trust", "--dir", path]).expect(0);
        Self { dir: dir.to_owned(), hub: None }
    }

    fn start(&mut self) {
        let mut hub = Command::new(qecnet());
        hub.args(["hub", "run", "--config", self.path("hub/config.toml").to_str().unwrap()]);
        self.hub = Some(hub.stdin(Stdio::null()).spawn().unwrap());
        wait("the hub answers", || (self.cli(&["status"]).code() != 5).then_some(()));
    }

    fn stop(&mut self) {
        if let Some(mut hub) = self.hub.take() {
            signal("INT", hub.id());
            hub.wait().unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn cli(&self, arguments: &[&str]) -> Ran {
        run(&qecnet(), &[arguments, &["--dir", self.dir.to_str().unwrap()]].concat())
    }

    fn audit(&self, what: &str, name: &str) -> String {
        let out = self.path(name).to_str().unwrap().to_owned();
        self.cli(&["audit", what, "--out", &out]).expect(0);
        out
    }

    /// Keeps a copy of the store, as a backup would.
    fn copy_store(&self, from: &str, to: &str) {
        for suffix in ["", "-wal", "-shm"] {
            let (from, to) = (self.path(&format!("{from}{suffix}")), self.path(&format!("{to}{suffix}")));
            let _ = fs::remove_file(&to);
            if from.exists() {
                fs::copy(from, to).unwrap();
            }
        }
    }
}

impl Drop for HubAlone {
    fn drop(&mut self) {
        if let Some(hub) = &mut self.hub {
            let _ = hub.kill();
            let _ = hub.wait();
        }
    }
}

/// S6: what a hub did not do while it could not is told from what it left out, by its own word.
/// A second deployment with other people under the same log key is refused by the pins of the first, and
/// an old export by a later checkpoint.
#[test]
fn s6_an_auditor_tells_the_pinned_log_from_every_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = HubAlone::make(&dir.path().join("first"), None);
    first.start();
    let pins = first.audit("pins", "log.pins");
    let old = first.audit("export", "old.audit");
    // Stalled for longer than it may leave what is due, then stopped for as long.
    let hub = first.hub.as_ref().unwrap().id();
    signal("STOP", hub);
    std::thread::sleep(Duration::from_secs(6));
    signal("CONT", hub);
    first.cli(&["status"]).expect(0);
    first.stop();
    std::thread::sleep(Duration::from_secs(6));
    first.start();
    let new = first.audit("export", "new.audit");
    let replayed = run(&qaudit(), &["replay", &new, "--pins", &pins, "--update-pins", "--json"]).expect(0).json();
    assert_eq!(replayed["pauses"]["starts"], 2, "{replayed}");
    assert!(replayed["pauses"]["stalls"].as_u64().unwrap() >= 1, "{replayed}");
    assert!(replayed["pauses"]["total_ms"].as_u64().unwrap() >= 11_000, "{replayed}");
    let cut = run(&qaudit(), &["replay", &old, "--pins", &pins]).expect(3);
    assert!(cut.err.contains("incomplete"), "{}", cut.err);

    let key = first.path("hub/log.key");
    let mut second = HubAlone::make(&dir.path().join("second"), Some(&key));
    second.start();
    let its = (second.audit("pins", "log.pins"), second.audit("export", "log.audit"));
    run(&qaudit(), &["replay", &its.1, "--pins", &its.0]).expect(0);
    for command in ["verify", "replay"] {
        let refused = run(&qaudit(), &[command, &its.1, "--pins", &pins]).expect(1);
        assert!(refused.err.contains("operator op1"), "{}", refused.err);
    }
}

/// S6: an operator's own client remembers what the hub showed it, and neither obeys nor believes a hub
/// whose log is shorter afterwards, or goes on otherwise.
#[test]
fn s6_a_client_refuses_a_hub_that_shows_a_shorter_or_another_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = HubAlone::make(&dir.path().join("site"), None);
    site.start();
    site.cli(&["status"]).expect(0);
    site.stop();
    site.copy_store("hub/store.db", "old.db");
    site.start();
    site.cli(&["status"]).expect(0);
    let kept = fs::read_to_string(site.path("operators/checkpoint")).unwrap();
    site.stop();
    site.copy_store("old.db", "hub/store.db");
    site.start();
    let refused = site.cli(&["status"]).expect(10);
    assert!(refused.err.contains("rolled back"), "{}", refused.err);
    assert_eq!(fs::read_to_string(site.path("operators/checkpoint")).unwrap(), kept, "what convicts it is kept");
    assert!(site.path("operators/checkpoint.conflict").exists());

    // It grows past what was seen, under the hand of someone who knows nothing of it.
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("operators")).unwrap();
    for file in ["operators/client.toml", "operators/op1.key"] {
        fs::copy(site.path(file), elsewhere.join(file)).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let refused = loop {
        run(&qecnet(), &["status", "--dir", elsewhere.to_str().unwrap()]).expect(0);
        let refused = site.cli(&["status"]).expect(10);
        if refused.err.contains("rewritten") {
            break refused;
        }
        assert!(Instant::now() < deadline, "{}", refused.err);
    };
    assert!(refused.err.contains("give both to an auditor"), "{}", refused.err);
}
