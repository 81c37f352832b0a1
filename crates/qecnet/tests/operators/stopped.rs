//! Commands that are stopped at any moment, and readers that go away.

use std::io::BufReader;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use adversary::Deployment;

use crate::folder::{Folder, qecnet};

/// Moments at which a command is stopped, in milliseconds after its start.
fn moments() -> impl Iterator<Item = u64> {
    (0..12).chain((12..60).step_by(6))
}

fn stop(mut child: Child, after: u64) {
    sleep(Duration::from_millis(after));
    // the child was not waited for, so the number is its own
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    child.wait().unwrap();
}

/// Whatever is there under its own name is whole: it can be read, and the command can be repeated to its end.
#[test]
fn s15_ctrl_c_leaves_no_half_written_key_or_card() {
    for after in moments() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let commands: [&[&str]; 3] = [
            &["init", "hub", "--listen", "127.0.0.1:1", "--mesh-listen", "127.0.0.1:2", "--dir", path],
            &["init", "operator", "--id", "op1", "--dir", path],
            &["init", "node", "--id", "n1", "--function", "grid", "--listen", "127.0.0.1:3", "--dir", path],
        ];
        for arguments in commands {
            let child = qecnet(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            stop(child, after);
            let again = qecnet(arguments).output().unwrap();
            // 3: it came to its end before it was stopped
            let said = String::from_utf8_lossy(&again.stderr).into_owned();
            assert!([Some(0), Some(3)].contains(&again.status.code()), "after {after} ms, {arguments:?}: {said}");
        }
        let trust = ["init", "trust", "--dir", path];
        stop(qecnet(&trust).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(), after);
        let done = qecnet(&trust).output().unwrap();
        assert!(done.status.success(), "after {after} ms: {}", String::from_utf8_lossy(&done.stderr));
        for card in ["hub", "op1", "n1"] {
            assert!(dir.path().join(format!("cards/{card}.toml")).exists(), "{card}");
        }
    }
}

/// An export that was stopped has left nothing under its name, or all of it.
#[tokio::test(flavor = "multi_thread")]
async fn s15_ctrl_c_leaves_no_half_written_export() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    let folder = Folder::new(&deployment, hub.http_address());
    let (out, pins) = (folder.file("log"), folder.file("pins"));
    // before any export: what was seen must be in each
    folder.run("auditor", &["audit", "pins", "--out", pins.to_str().unwrap()]).expect(0);
    let pins = std::fs::read_to_string(&pins).unwrap().parse().unwrap();
    for after in moments() {
        let _ = std::fs::remove_file(&out);
        let child = qecnet(&["audit", "export", "--as", "auditor", "--out"])
            .arg(&out)
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        tokio::task::spawn_blocking(move || stop(child, after)).await.unwrap();
        if out.exists() {
            let bundle = BufReader::new(std::fs::File::open(&out).unwrap());
            qaudit::verify(bundle, &pins).unwrap_or_else(|error| panic!("after {after} ms: {error}"));
        }
    }
    folder.run("auditor", &["audit", "export", "--out", out.to_str().unwrap()]).expect(0);
    hub.stop().await;
}

/// S15: a reader that went away is no failure.
#[tokio::test(flavor = "multi_thread")]
async fn s15_a_closed_pipe_is_no_failure_of_qecnet() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    let folder = Folder::new(&deployment, hub.http_address());
    for arguments in [&["status"][..], &["status", "--json"], &["operators", "list"], &["keys", "list"]] {
        let mut child = qecnet(arguments)
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!((ended.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    }
    hub.stop().await;
}
