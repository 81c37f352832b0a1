use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crypto::{Entropy, IdentityKey, LogSigner, MasterKey, Secret32};
use kernel::effect::Effect;
use kernel::event::{Command, Event, Genesis, NodeSpec, OperatorSpec, Request, Settings};
use kernel::record::Record;
use store::{Batch, Store, StoreHandle, VaultSecret};
use tempfile::TempDir;
use tokio::sync::oneshot;
use types::mesh::{Function, KeyType, SignalKind};
use types::{Hash, Label, Millis, Timestamp};

use super::{Core, Pending, Receipt, Signers, SubmitError, core, recover};
use crate::admitted::Admitted;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A boundary on disk that can be opened again and again.
struct Site {
    dir: TempDir,
    entropy: Arc<Entropy>,
    operator: IdentityKey,
}

impl Site {
    fn new() -> Self {
        let (dir, entropy) = (tempfile::tempdir().unwrap(), Arc::new(Entropy::system().unwrap()));
        LogSigner::generate(&entropy).unwrap().save(&dir.path().join("log.key")).unwrap();
        let operator = IdentityKey::generate(&entropy).unwrap();
        let path = dir.path().join("store.db");
        Store::create(&path, &"site".parse().unwrap(), MasterKey::from_bytes(&[7; 32]), Arc::clone(&entropy)).unwrap();
        Self { dir, entropy, operator }
    }

    fn store(&self) -> StoreHandle {
        let path = self.dir.path().join("store.db");
        let master = MasterKey::from_bytes(&[7; 32]);
        let store = Store::open(&path, &"site".parse().unwrap(), master, Arc::clone(&self.entropy)).unwrap();
        StoreHandle::spawn(store).unwrap()
    }

    async fn open(&self) -> Core {
        let signer = LogSigner::load(&self.dir.path().join("log.key")).unwrap();
        let signers = Signers::new(signer, &"site".parse().unwrap()).unwrap();
        recover(self.store(), signers, Arc::new(Admitted::default())).await.unwrap()
    }

    async fn begun(&self) -> Core {
        let mut core = self.open().await;
        let node = |name: &str| NodeSpec {
            id: name.parse().unwrap(),
            function: Function::Grid,
            identity: Label::IDENTITY.hash(&[name.as_bytes()]),
        };
        let genesis = Genesis {
            boundary: "site".parse().unwrap(),
            settings: Settings::default(),
            policy: kernel::policy::DEFAULT_POLICY.to_owned(),
            operators: vec![OperatorSpec {
                id: "op1".parse().unwrap(),
                groups: vec!["duty".to_owned(), "operators".to_owned()],
                identity: self.operator.public().to_bytes(),
                expires: START + types::Millis::from_days(90),
            }],
            nodes: vec![node("n1"), node("n2")],
            links: Vec::new(),
            salt: Hash::new([1; 32]),
            audit_key: core.audit_key(),
        };
        let created = ask(&mut core, Event::Create(Box::new(genesis)), START).await.unwrap();
        assert!(matches!(created.records(), [Record::BoundaryCreated { .. }]));
        core
    }

    fn request(&self, nonce: u8, at: Timestamp) -> Event {
        let request = Request {
            boundary: "site".parse().unwrap(),
            operator: "op1".parse().unwrap(),
            nonce: Hash::new([nonce; 32]),
            at,
            grant: None,
            command: Command::Read { what: "status".to_owned() },
            reason: String::new(),
        };
        Event::Request(Box::new(api::request::sign(&self.operator, request).unwrap()))
    }
}

async fn ask(core: &mut Core, event: Event, now: Timestamp) -> Result<Receipt, SubmitError> {
    let (reply, mut answer) = oneshot::channel();
    core.commit(vec![Pending { reply: Some(reply), ..Pending::quiet(event) }], now).await;
    answer.try_recv().unwrap()
}

fn up(name: &str) -> Event {
    Event::NodeUp { node: name.parse().unwrap(), session: Hash::new([3; 32]) }
}

/// Commits until nothing is left to do at `now`, and returns every effect ordered on the way.
async fn settle(core: &mut Core, events: Vec<Event>, now: Timestamp) -> Vec<Effect> {
    let mut pending: Vec<_> = events.into_iter().map(Pending::quiet).collect();
    let mut effects = Vec::new();
    loop {
        let turn = core.commit(std::mem::take(&mut pending), now).await;
        effects.extend(turn.orders.into_iter().flat_map(super::Order::into_effects));
        if !core.more_due() {
            return effects;
        }
    }
}

/// KM-01: after any stop, what is read back is byte for byte what was durable.
#[tokio::test]
async fn a_restart_reads_back_the_same_state_with_and_without_a_snapshot() {
    let site = Site::new();
    let mut core = site.begun().await;
    settle(&mut core, vec![up("n1"), up("n2")], START + Millis::new(5)).await;
    for nonce in 0..10 {
        let at = START + Millis::new(10 + u64::from(nonce));
        ask(&mut core, site.request(nonce, at), at).await.unwrap();
    }
    let (hash, head) = (core.state().hash(), core.head());
    drop(core);
    let mut again = site.open().await;
    assert_eq!((again.state().hash(), again.head()), (hash, head));
    again.close().await;
    drop(again);
    let mut from_snapshot = site.open().await;
    assert_eq!((from_snapshot.state().hash(), from_snapshot.head()), (hash, head));
    let at = START + Millis::new(100);
    let receipt = ask(&mut from_snapshot, site.request(99, at), at).await.unwrap();
    assert!(receipt.index() >= head.size && receipt.size() > receipt.index());
}

/// A snapshot that was altered in the file is not taken for the fold of the log.
#[tokio::test]
async fn an_altered_snapshot_is_passed_over() {
    let site = Site::new();
    let mut core = site.begun().await;
    let hash = core.state().hash();
    core.close().await;
    drop(core);
    let conn = rusqlite::Connection::open(site.dir.path().join("store.db")).unwrap();
    let bytes: Vec<u8> = conn.query_row("SELECT bytes FROM snapshot", [], |row| row.get(0)).unwrap();
    let at = bytes.windows(4).position(|part| part == b"duty").unwrap();
    let mut altered = bytes;
    altered[at..at + 4].copy_from_slice(b"root");
    assert_eq!(conn.execute("UPDATE snapshot SET bytes = ?1", [altered]).unwrap(), 1);
    drop(conn);
    assert_eq!(site.open().await.state().hash(), hash);
}

/// Who loses the append drops its state: the asker is told, and the next step is on what is durable.
#[tokio::test]
async fn a_lost_append_is_told_and_replayed() {
    let site = Site::new();
    let mut core = site.begun().await;
    let mut rival = site.open().await;
    let at = START + Millis::new(20);
    ask(&mut rival, site.request(1, at), at).await.unwrap();
    let lost = ask(&mut core, site.request(2, at), at).await.unwrap_err();
    assert!(matches!(lost, SubmitError::Commit(core::CommitError::Append(store::AppendError::Lost { .. }))), "{lost}");
    let won = ask(&mut core, site.request(3, at), at).await.unwrap();
    assert!(won.index() >= rival.head().size);
    // The rival's request counts here too: its nonce is spent.
    let replayed = ask(&mut core, site.request(1, at), at).await.unwrap_err();
    assert!(matches!(replayed, SubmitError::Refused(kernel::record::Refusal::Replayed)), "{replayed}");
    drop(rival);
    let (hash, head) = (core.state().hash(), core.head());
    assert_eq!((site.open().await.state().hash(), site.open().await.head()), (hash, head));
}

/// What the hub itself reports is not lost with a failed append; it goes into the next one.
#[tokio::test]
async fn a_report_that_meets_a_failure_is_kept() {
    let site = Site::new();
    let mut core = site.begun().await;
    let head = core.head();
    let expected = store::Head { size: head.size, tip: head.hash };
    // Another writer, and not even one that writes an entry of ours: the fence is what is tested.
    let entry = head
        .next(START, kernel::Body { rules: kernel::RULES, event: Event::Tick, records: Vec::new() })
        .seal()
        .unwrap();
    let (hash, leaf) = (entry.hash(), entry.leaf());
    let batch: Batch = std::iter::once(store::Entry { hash, leaf, bytes: entry.into_bytes() }).collect();
    site.store().append(expected, batch).await.unwrap();
    let turn = core.commit(vec![Pending::quiet(up("n1"))], START).await;
    assert!(turn.failed && turn.orders.is_empty());
    assert_eq!(turn.kept.iter().map(|kept| kept.event.clone()).collect::<Vec<_>>(), [up("n1")]);
}

/// A crash between append and effect: the keys that were ordered are ordered again.
#[tokio::test]
async fn effects_that_a_crash_left_undone_are_ordered_again() {
    let site = Site::new();
    let mut core = site.begun().await;
    let ordered = settle(&mut core, vec![up("n1"), up("n2")], START + Millis::new(5)).await;
    let wanted = keys_to_make(&ordered);
    assert!(!wanted.is_empty());
    drop(core);
    let mut core = site.open().await;
    let again = settle(&mut core, Vec::new(), START + Millis::new(6)).await;
    assert_eq!(keys_to_make(&again), wanted);
}

fn keys_to_make(effects: &[Effect]) -> std::collections::BTreeSet<types::KeyId> {
    let orders = effects.iter().filter_map(|effect| match effect {
        Effect::Make(orders) => Some(orders),
        _ => None,
    });
    orders.flatten().map(|order| order.key).collect()
}

/// KM-02, KM-07: a share is sealed with the entry that says so, and goes with the entry that ends it.
#[tokio::test]
async fn shares_come_and_go_with_their_records() {
    let site = Site::new();
    let mut core = site.begun().await;
    let ordered = settle(&mut core, vec![up("n1"), up("n2")], START + Millis::new(5)).await;
    let keys: Vec<_> = keys_to_make(&ordered).into_iter().collect();
    let shares = keys.iter().map(|key| (*key, VaultSecret::new(vec![5; 32]))).collect();
    let made = Pending { shares, ..Pending::quiet(Event::Made { keys: keys.clone() }) };
    core.commit(vec![made], START + Millis::new(6)).await;
    let store = site.store();
    let held = store.secret_names("key/").await.unwrap();
    assert_eq!(held.len(), keys.len());
    // Nobody confirms: the distribution fails, and every share of it goes.
    let late = START + Settings::default().distribution_timeout + Millis::new(100);
    settle(&mut core, Vec::new(), late).await;
    let left = store.secret_names("key/").await.unwrap();
    let gone = |name: &store::VaultName| !left.contains(name);
    let pair_keys = held.iter().filter(|name| gone(name)).count();
    let mesh = core.state().keys().iter().filter(|(id, _)| keys.contains(id));
    let still: Vec<_> = mesh.filter(|(_, key)| key.slot.key_type() == KeyType::MeshSession).collect();
    assert!(pair_keys > 0 && still.is_empty(), "{still:?}");
}

/// A secret for a key that is no longer wanted is not kept.
#[tokio::test]
async fn a_share_nobody_wants_is_not_sealed() {
    let site = Site::new();
    let mut core = site.begun().await;
    let key = types::KeyId::new(4_711);
    let shares = vec![(key, VaultSecret::new(vec![5; 32]))];
    core.commit(vec![Pending { shares, ..Pending::quiet(Event::Made { keys: vec![key] }) }], START).await;
    assert!(site.store().secret_names("key/").await.unwrap().is_empty());
}

/// The clock goes back by a minute: entries keep their order, and a signal tells of it, once.
#[tokio::test]
async fn a_clock_that_goes_back_is_signalled_and_never_turns_the_log() {
    let site = Site::new();
    let core = site.begun().await;
    let clock = Arc::new(AtomicU64::new((START + Millis::from_secs(100)).as_millis()));
    let source = Arc::clone(&clock);
    let time = Arc::new(move || Timestamp::from_millis(source.load(Ordering::Relaxed)));
    let (handle, _orders, thread) = super::start(core, time).unwrap();
    handle.request(site.request(1, START + Millis::from_secs(100))).await.unwrap();
    clock.store((START + Millis::from_secs(40)).as_millis(), Ordering::Relaxed);
    let receipt = handle.request(site.request(2, START + Millis::from_secs(100))).await.unwrap();
    assert!(receipt.at() >= START + Millis::from_secs(100));
    handle.stop().await;
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap().unwrap();
    let entries = site.store().read(0..1_000).await.unwrap();
    let bodies: Vec<_> =
        entries.iter().map(|entry| evidence::Entry::<kernel::Body>::parse(&entry.bytes).unwrap()).collect();
    assert!(bodies.windows(2).all(|pair| pair[0].at <= pair[1].at));
    let told = bodies
        .iter()
        .filter(|entry| matches!(entry.body.event, Event::Detected { kind: SignalKind::ClockRegressed, .. }));
    assert_eq!(told.count(), 1);
}

/// Many askers at once share appends, and every one of them gets the receipt of its own entry.
#[tokio::test(flavor = "multi_thread")]
async fn every_asker_gets_its_own_receipt() {
    let site = Site::new();
    let core = site.begun().await;
    let (handle, _orders, thread) = super::start(core, Arc::new(|| START + Millis::from_secs(1))).unwrap();
    let mut asked = tokio::task::JoinSet::new();
    for nonce in 0..100 {
        let (handle, event) = (handle.clone(), site.request(nonce, START + Millis::from_secs(1)));
        asked.spawn(async move { (event.clone(), handle.request(event).await.unwrap()) });
    }
    while let Some(done) = asked.join_next().await {
        let (event, receipt) = done.unwrap();
        let entry = evidence::Entry::<kernel::Body>::parse(receipt.entry()).unwrap();
        assert_eq!((entry.body.event, entry.index), (event, receipt.index()));
        let checkpoint = evidence::SignedNote::parse(receipt.checkpoint().as_bytes()).unwrap();
        let checkpoint = evidence::Checkpoint::parse(checkpoint.text()).unwrap();
        assert_eq!(checkpoint.size, receipt.size());
        assert!(receipt.index() < receipt.size());
    }
    handle.stop().await;
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap().unwrap();
}
