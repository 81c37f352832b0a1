//! What leaves the hub as evidence: checkpoints, tiles, exports.

use api::client::{ExportReply, verify_note};
use evidence::Pins;
use evidence::bundle::{Audit, Summary};
use evidence::merkle::{Frontier, leaf_hash};
use evidence::pins::Seen;
use hyper::Method;
use kernel::event::Command;
use types::Hash;

use adversary::Deployment;

/// Checks a bundle to its end, every entry being one of the kernel's.
fn audit(bundle: &[u8], pins: &Pins) -> Summary {
    let mut audit = Audit::open(bundle, pins, verify_note).unwrap();
    while audit.next_item::<kernel::Body>().unwrap().is_some() {}
    audit.summary().unwrap()
}

/// QT-10: the exported bundle holds under the pins, tiles hash up to the signed root, and a read is
/// an entry of the log.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_under_the_pins_and_tiles_give_its_root() {
    let deployment = Deployment::new(2);
    let hub = deployment.start().await;
    let client = deployment.client(&hub, "auditor");
    for _ in 0..300 {
        client.run(Command::Read { what: "nodes".to_owned() }).await.unwrap();
    }
    let policy = deployment.client_config(hub.http_address()).policy().unwrap();
    let pins = client.founding().await.unwrap().pins(deployment.config.boundary.clone(), policy.clone());
    let mut bundle = Vec::new();
    let reply = client.export(&mut bundle).await.unwrap();
    let ExportReply::Exported(exported) = reply else { panic!("held") };
    assert_eq!(exported.bytes, bundle.len() as u64);
    let summary = audit(&bundle, &pins);
    assert!(summary.header.size > 300 && exported.entry.is_some_and(|entry| entry < summary.header.size));

    let mut leaves = Frontier::new();
    let mut index = 0;
    while leaves.size() < summary.header.size {
        let tile = evidence::tile::Tile::at(0, index, summary.header.size).unwrap();
        let path = format!("/{}", evidence::tile::Resource::Tile(tile));
        let answered = deployment.exchange(&hub, Method::GET, &path, &[], "").await;
        assert_eq!(answered.status, 200, "{path}");
        for hash in answered.body.chunks(32) {
            leaves.append(Hash::new(hash.try_into().unwrap()));
        }
        index += 1;
    }
    assert_eq!(leaves.root(), summary.root);
    assert_ne!(leaf_hash(b""), summary.root);
    for beyond in ["/tile/0/999", "/tile/1/009", "/tile/9/000"] {
        assert_eq!(deployment.exchange(&hub, Method::GET, beyond, &[], "").await.status, 404, "{beyond}");
    }
    hub.stop().await;
}

/// The hub starts again on its files with the same log, and goes on with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_with_the_same_log() {
    let deployment = Deployment::new(1);
    let hub = deployment.start().await;
    let client = deployment.client(&hub, "op1");
    client.run(Command::Read { what: "status".to_owned() }).await.unwrap();
    let before = client.checkpoint().await.unwrap();
    hub.stop().await;
    let hub = deployment.start().await;
    let client = deployment.client(&hub, "op1");
    client.run(Command::Read { what: "status".to_owned() }).await.unwrap();
    let mut bundle = Vec::new();
    client.export(&mut bundle).await.unwrap();
    let policy = deployment.client_config(hub.http_address()).policy().unwrap();
    let seen = before.checkpoint().clone();
    let pins = client.founding().await.unwrap().pins(deployment.config.boundary.clone(), policy);
    let pins = pins.seen_last(Seen { size: seen.size, root: seen.root });
    let summary = audit(&bundle, &pins);
    assert!(summary.header.size > before.checkpoint().size);
    hub.stop().await;
}
