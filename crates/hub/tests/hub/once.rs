//! Once means once: stores of nodes and of the hub are put back to earlier states while others go on (S7).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use adversary::{Application, Deployment, Running, incidents, start, until};
use api::Client;
use kernel::event::Command;
use node::KmeSection;
use types::NodeId;
use types::mesh::{KeyType, SignalKind, Subject};

/// A copy of the files of a store, as a snapshot of the disk under a process takes it.
struct Image(Vec<(PathBuf, Vec<u8>)>);

fn files(store: &Path) -> Vec<PathBuf> {
    let name = store.file_name().unwrap().to_str().unwrap();
    ["", "-wal"].iter().map(|suffix| store.with_file_name(format!("{name}{suffix}"))).collect()
}

impl Image {
    fn of(store: &Path) -> Self {
        let read = |path: PathBuf| std::fs::read(&path).ok().map(|bytes| (path, bytes));
        Self(files(store).into_iter().filter_map(read).collect())
    }

    fn put_back(&self, store: &Path) {
        for path in files(store) {
            let _ = std::fs::remove_file(path);
        }
        let shared = store.with_file_name(format!("{}-shm", store.file_name().unwrap().to_str().unwrap()));
        let _ = std::fs::remove_file(shared);
        for (path, bytes) in &self.0 {
            std::fs::write(path, bytes).unwrap();
        }
    }
}

/// Two nodes that give keys to applications.
fn deployment() -> Deployment {
    let mut deployment = Deployment::new(2);
    for node in &mut deployment.nodes {
        let mut section = KmeSection::new("127.0.0.1:0".parse().unwrap());
        section.files = node.files.store.with_file_name("kme");
        // A node that starts again is found again.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        section.listen = port;
        node.kme = Some(section);
    }
    deployment
}

/// Whether an incident about that node says that a store was put back.
async fn named(client: &Client, node: &NodeId) -> bool {
    let about = Subject::Node(node.clone());
    incidents(client).await.iter().any(|one| one.kind == SignalKind::StoreRewound && one.subject == about)
}

/// What two applications were given.
#[derive(Default)]
struct Seen {
    ids: BTreeSet<String>,
    keys: BTreeSet<Vec<u8>>,
}

impl Seen {
    /// Keys for `a1` with `b1`, once there are some; none is one of before.
    async fn take(&mut self, a1: &Application, number: u32) -> Vec<String> {
        let got = std::sync::Mutex::new(Vec::new());
        until("keys for the master", || async {
            let given = a1.enc_keys("b1", number).await.inspect_err(|refused| eprintln!("{refused:?}"));
            let mut got = got.lock().unwrap();
            *got = given.unwrap_or_default();
            !got.is_empty()
        })
        .await;
        let got = got.into_inner().unwrap();
        self.note(&got);
        got.into_iter().map(|(id, _)| id).collect()
    }

    fn note(&mut self, given: &[(String, Vec<u8>)]) {
        for (id, key) in given {
            assert!(self.ids.insert(id.clone()), "the name of a key again: {id}");
            assert!(self.keys.insert(key.clone()), "the same key again");
        }
    }
}

/// Waits until the log has that many keys of `a1` as a master and of `b1` as a slave.
async fn accounted(client: &Client, master: u64, slave: u64) {
    until("what was given is accounted for", || async {
        let api::view::View::Saes(saes) = adversary::read(client, "saes").await else { panic!("no saes") };
        let of = |name: &str| saes.iter().find(|one| one.spec.id.as_str() == name).unwrap();
        of("a1").keys_as_master >= master && of("b1").keys_as_slave >= slave
    })
    .await;
}

async fn stop(nodes: Vec<Running>) {
    for node in nodes {
        node.stop().await;
    }
}

/// S7: the store of a running node is copied, keys are used, and the copy is put back: no name of a key and no key
/// comes twice, neither to a master nor to a slave, whichever node it is, or both at once; and an incident names who
/// was put back.
#[tokio::test(flavor = "multi_thread")]
async fn s7_a_node_that_is_put_back_repeats_nothing_and_is_named() {
    let deployment = deployment();
    let hub = deployment.start().await;
    let client = deployment.client(&hub, "op1");
    let mut running: Vec<Running> = deployment.nodes.iter().map(start).collect();
    let a1 = Application::admit(&deployment, &client, "a1", "n1").await;
    let b1 = Application::admit(&deployment, &client, "b1", "n2").await;
    let mut seen = Seen::default();
    let (mut given, mut fetched) = (0, 0);
    for put_back in [&[0][..], &[1], &[0, 1]] {
        let first = seen.take(&a1, 4).await;
        assert_eq!(b1.dec_keys("a1", &first[..1]).await.unwrap().len(), 1);
        (given, fetched) = (given + 4, fetched + 1);
        accounted(&client, given, fetched).await;
        let images: Vec<Image> = deployment.nodes.iter().map(|node| Image::of(&node.files.store)).collect();
        let used = seen.take(&a1, 12).await;
        assert_eq!(b1.dec_keys("a1", &used).await.unwrap().len(), 12);
        (given, fetched) = (given + 12, fetched + 12);
        accounted(&client, given, fetched).await;
        stop(running).await;
        for at in put_back {
            images[*at].put_back(&deployment.nodes[*at].files.store);
        }
        running = deployment.nodes.iter().map(start).collect();
        let fresh = seen.take(&a1, 24).await;
        for id in first.iter().chain(&used) {
            assert!(b1.dec_keys("a1", std::slice::from_ref(id)).await.is_err(), "{id} again");
        }
        assert_eq!(b1.dec_keys("a1", &fresh).await.unwrap().len(), 24);
        (given, fetched) = (given + 24, fetched + 24);
        for at in put_back {
            let node = deployment.nodes[*at].node.clone();
            until("an incident names the node", || named(&client, &node)).await;
        }
    }
    assert!(!named(&client, &NodeId::hub()).await);
    stop(running).await;
    hub.stop().await;
}

/// S7: a node that started gives nothing to an application until the hub has answered, and gives again then.
#[tokio::test(flavor = "multi_thread")]
async fn s7_a_node_gives_nothing_before_the_hub_has_answered() {
    let deployment = deployment();
    let hub = deployment.start().await;
    let client = deployment.client(&hub, "op1");
    let mut running: Vec<Running> = deployment.nodes.iter().map(start).collect();
    let a1 = Application::admit(&deployment, &client, "a1", "n1").await;
    Application::admit(&deployment, &client, "b1", "n2").await;
    let mut seen = Seen::default();
    seen.take(&a1, 1).await;
    running.remove(0).stop().await;
    hub.stop().await;
    running.push(start(&deployment.nodes[0]));
    // The listener comes with the node; then every answer is a refusal.
    until("it says what it waits for", || async {
        match a1.enc_keys("b1", 1).await {
            Err((0, _)) => false,
            Err((status, message)) => {
                assert!(status == 503 && message.contains("waits for the hub"), "{status} {message}");
                true
            }
            Ok(_) => panic!("a key before the hub has answered"),
        }
    })
    .await;
    let hub = deployment.start().await;
    seen.take(&a1, 1).await;
    stop(running).await;
    hub.stop().await;
}

/// S7: the hub's store is put back to an earlier state: an incident names the hub once
/// it is back, and no node gives a key again. A request and a grant that were used after the copy are void.
#[tokio::test(flavor = "multi_thread")]
async fn s7_a_hub_that_is_put_back_is_noticed_and_repeats_nothing() {
    let deployment = deployment();
    let hub = deployment.start().await;
    let client = deployment.client(&hub, "op1");
    let running: Vec<Running> = deployment.nodes.iter().map(start).collect();
    let a1 = Application::admit(&deployment, &client, "a1", "n1").await;
    Application::admit(&deployment, &client, "b1", "n2").await;
    let mut seen = Seen::default();
    seen.take(&a1, 2).await;
    let image = Image::of(&deployment.config.files.store);
    // After the copy: a request is carried out, and the nodes hear of a later log.
    let used = deployment.signed("op1", Command::RotateKeys { key_type: Some(KeyType::MeshSession), emergency: false });
    let operator = deployment.hostile_operator(&hub, "op1");
    assert_eq!(operator.send(&used).await.unwrap().status, 200);
    stop(running).await;
    let running: Vec<Running> = deployment.nodes.iter().map(start).collect();
    seen.take(&a1, 2).await;
    hub.stop().await;
    image.put_back(&deployment.config.files.store);

    let hub = deployment.start().await;
    let client = deployment.client(&hub, "op1");
    let about = NodeId::hub();
    until("an incident names the hub", || named(&client, &about)).await;
    let operator = deployment.hostile_operator(&hub, "op1");
    let again = operator.send(&used).await.unwrap();
    assert_ne!(again.status, 200, "a request is taken again: {again:?}");
    // Whoever has noticed gives nothing; what one that has not yet gives is new all the same.
    for _ in 0..3 {
        match a1.enc_keys("b1", 1).await {
            Ok(given) => seen.note(&given),
            Err((status, message)) => assert_eq!(status, 503, "{message}"),
        }
    }
    stop(running).await;
    hub.stop().await;
}
