//! S2: on a disk that is full, whoever fills it, a node can still be cut off, durably.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command as Program;

use adversary::{Deployment, HostileOperator, replay, until, until_keyed};
use kernel::event::Command;
use types::NodeId;
use types::mesh::{SignalKind, Subject};

use crate::view::{is_isolated, name, status};

/// A file system of its own for the hub's store, gone with the test.
struct SmallDisk<'p>(&'p Path);

impl<'p> SmallDisk<'p> {
    fn mount(path: &'p Path) -> Self {
        fs::create_dir_all(path).unwrap();
        let done = Program::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(path).status().unwrap();
        assert!(done.success(), "this test mounts a small file system: run it as root");
        Self(path)
    }

    /// Writes until nothing more fits, again.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.0.join("filler")).unwrap();
        for len in [1 << 16, 1 << 12, 1 << 8, 1] {
            while file.write_all(&vec![7; len]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Program::new("umount").arg("-l").arg(self.0).status();
    }
}

async fn signal(operator: &HostileOperator, node: &NodeId) -> u16 {
    let (subject, kind) = (Subject::Node(node.clone()), SignalKind::NodeCompromise);
    operator.ask(Command::Signal { subject, kind }).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_on_a_full_disk_a_node_can_still_be_cut_off() {
    let mut deployment = Deployment::new(3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let disk = SmallDisk::mount(&path);
    deployment.config.files.store = path.join("store.db");
    let hub = deployment.start().await;
    let running: Vec<_> = deployment.nodes.iter().map(adversary::start).collect();
    until_keyed(&deployment.client(&hub, "op1"), 2).await;
    let (one, two) = (deployment.hostile_operator(&hub, "op1"), deployment.hostile_operator(&hub, "op2"));
    until("the hub refuses for want of room", || async {
        disk.fill();
        one.ask(status()).await.unwrap().status == 507
    })
    .await;
    let fallen: NodeId = name("n3");
    for operator in [&one, &two] {
        let answer = signal(operator, &fallen).await;
        assert_eq!(answer, 200, "a revocation is recorded");
    }
    until("the node is cut off", || is_isolated(&hub, &fallen)).await;
    until("nothing else is recorded", || async {
        disk.fill();
        one.ask(status()).await.unwrap().status == 507
    })
    .await;
    for operator in [&one, &two] {
        assert_eq!(signal(operator, &name("n2")).await, 200, "a second one is, too");
    }
    let second: NodeId = name("n2");
    until("the second is cut off", || is_isolated(&hub, &second)).await;
    disk.fill();
    let reached = || async {
        let node: NodeId = name("n3");
        crate::view::look(&hub, move |state| state.keys_of(&node).is_empty()).await
    };
    until("its keys are revoked", reached).await;
    drop((one, two));
    hub.stop().await;

    // durably: with the disk still full it is so after a restart
    let hub = deployment.start().await;
    assert!(is_isolated(&hub, &fallen).await);
    assert!(deployment.hostile_node(3).connect().await.is_err());
    fs::remove_file(path.join("filler")).unwrap();
    let client = deployment.client(&hub, "op1");
    until("the hub records again", || async { client.run(status()).await.is_ok() }).await;
    replay(&deployment, &client, |_| {}).await;
    let reserve = || async { fs::metadata(path.join("store.db.reserve")).unwrap().len() };
    until("the room is kept again", || async { reserve().await == 4 << 20 || client.run(status()).await.is_err() })
        .await;
    for node in running {
        node.stop().await;
    }
    hub.stop().await;
}
