//! Decide, append durably and sign, per second, beside what the disk and the signatures allow.
//!
//! The limit is measured in the same run on the same file system: SQLite inserts of entries of the
//! same size, one commit a batch (WAL, `synchronous=FULL`), one Ed25519 and one ML-DSA-44 signature a
//! batch. The subject also authenticates nothing (callers do, beside it), decides by policy, chains,
//! hashes and answers. Subject and limit take turns in short rounds and the medians are compared, so
//! that a busy machine hits both alike. Aim: half of the limit from 16 in flight on.
//!
//! The split tells what each stage costs alone, in microseconds an entry at that batch size.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crypto::{Entropy, IdentityKey, LogSigner};
use evidence::merkle::Frontier;
use hub::sequencer::{self, Signers};
use hub::{HubConfig, files, genesis};
use kernel::event::{Command, Event, Request, SignedRequest};
use kernel::{Body, State, step};
use store::StoreHandle;
use types::Hash;

const IN_FLIGHT: &[usize] = &[1, 16, 64, 256, 1_024];
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(800);
/// What reads name; policy is asked for each of them anew where it depends on the time.
const TOPICS: &[&str] = &["status", "nodes", "keys", "links", "incidents", "approvals", "forwards"];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    println!(
        "{:>9} {:>11} {:>11} {:>6}   {:>27}",
        "in flight", "recorded/s", "limit/s", "ratio", "latency p50 / p99 ms"
    );
    for &in_flight in IN_FLIGHT {
        let dir = tempfile::tempdir_in(folder()).expect("folder");
        let subject = Subject::begin(&runtime, dir.path());
        let limit = Limit::begin(dir.path());
        let (mut ours, mut bare, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (rate, mut took) = runtime.block_on(subject.round(in_flight));
            ours.push(rate);
            latencies.append(&mut took);
            bare.push(limit.round(in_flight, subject.entry_len.load(Ordering::Relaxed)));
        }
        let (ours, bare) = (median(&mut ours), median(&mut bare));
        latencies.sort_unstable();
        let at = |part: usize| latencies[(latencies.len() - 1) * part / 100].as_secs_f64() * 1e3;
        println!("{in_flight:9} {ours:11.0} {bare:11.0} {:6.2}   {:18.2} / {:.2}", ours / bare, at(50), at(99));
        subject.split(&runtime, &limit, in_flight);
        runtime.block_on(subject.handle.stop());
    }
}

fn folder() -> std::path::PathBuf {
    std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, Into::into)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A new boundary with one operator, and its sequencer.
struct Subject {
    handle: sequencer::Handle,
    signature: Vec<u8>,
    nonce: Arc<AtomicUsize>,
    entry_len: Arc<AtomicUsize>,
}

impl Subject {
    fn begin(runtime: &tokio::runtime::Runtime, dir: &Path) -> Self {
        let entropy = Arc::new(Entropy::system().expect("entropy"));
        let operator = IdentityKey::generate(&entropy).expect("identity");
        let signature = api::request::sign(&operator, request(0)).expect("signature").signature;
        let handle = runtime.block_on(begin(dir, &operator, &entropy));
        Self { handle, signature, nonce: Arc::default(), entry_len: Arc::default() }
    }

    /// A request that is ready to be stepped; the signature is checked by callers, in parallel.
    fn event(nonce: &AtomicUsize, signature: &[u8]) -> Event {
        let request = request(nonce.fetch_add(1, Ordering::Relaxed) + 1);
        Event::Request(Box::new(SignedRequest { request, signature: signature.to_vec() }))
    }

    /// Recorded per second, and how long each asker waited.
    async fn round(&self, in_flight: usize) -> (f64, Vec<Duration>) {
        let start = Instant::now();
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..in_flight {
            let (handle, signature) = (self.handle.clone(), self.signature.clone());
            let (nonce, entry_len) = (Arc::clone(&self.nonce), Arc::clone(&self.entry_len));
            callers.spawn(async move {
                let mut took = Vec::new();
                while start.elapsed() < ROUND {
                    let asked = Instant::now();
                    let receipt = handle.request(Self::event(&nonce, &signature)).await.expect("receipt");
                    took.push(asked.elapsed());
                    entry_len.fetch_max(receipt.entry().len(), Ordering::Relaxed);
                }
                took
            });
        }
        let took: Vec<Duration> = callers.join_all().await.into_iter().flatten().collect();
        (took.len() as f64 / start.elapsed().as_secs_f64(), took)
    }

    /// What each stage takes alone, in microseconds an entry, in batches of `batch`.
    fn split(&self, runtime: &tokio::runtime::Runtime, limit: &Limit, batch: usize) {
        let mut state: State = runtime.block_on(self.handle.look(|look| look.state.clone())).expect("state");
        let mut stages = Stages::default();
        let count = 4_096_usize.div_ceil(batch).min(64);
        let (mut head, mut tree) = (evidence::Head::EMPTY, Frontier::default());
        for _ in 0..count {
            let events: Vec<Event> = (0..batch).map(|_| Self::event(&self.nonce, &self.signature)).collect();
            let now = hub::system_time();
            let mut bodies = Vec::with_capacity(batch);
            stages.time(0, || {
                for event in events {
                    let records = step(&state, &event, now).records;
                    let body = Body { rules: kernel::RULES, event, records };
                    state.commit(&body, now);
                    bodies.push(body);
                }
            });
            let mut entries = Vec::with_capacity(batch);
            stages.time(1, || {
                for body in bodies {
                    let entry = head.next(now, body);
                    let sealed = entry.seal().expect("entry");
                    head = head.after(entry.at, &sealed);
                    tree.append(sealed.leaf());
                    entries.push(sealed.into_bytes());
                }
            });
            stages.time(2, || limit.sign(tree.root()));
            stages.time(3, || limit.append(&entries));
        }
        let per_entry = stages.0.map(|spent| spent.as_secs_f64() * 1e6 / (count * batch) as f64);
        let [decide, seal, sign, append] = per_entry;
        println!("          decide {decide:.1} + chain and hash {seal:.1} + sign {sign:.1} + append {append:.1} us");
    }
}

#[derive(Default)]
struct Stages([Duration; 4]);

impl Stages {
    fn time<T>(&mut self, stage: usize, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.0[stage] += start.elapsed();
        done
    }
}

fn request(nonce: usize) -> Request {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&nonce.to_be_bytes());
    Request {
        boundary: "bench".parse().expect("name"),
        operator: "op1".parse().expect("name"),
        nonce: Hash::new(bytes),
        at: hub::system_time(),
        grant: None,
        command: Command::Read { what: TOPICS[nonce % TOPICS.len()].to_owned() },
        reason: String::new(),
    }
}

async fn begin(dir: &Path, operator: &IdentityKey, entropy: &Arc<Entropy>) -> sequencer::Handle {
    let path = dir.join("config.toml");
    let identity = hex::encode(operator.public().to_bytes());
    let text = format!(
        "boundary = \"bench\"\nlisten = \"127.0.0.1:0\"\nmesh_listen = \"127.0.0.1:0\"\n\
         [[operators]]\nid = \"op1\"\ngroups = [\"operators\"]\nidentity = \"{identity}\"\n"
    );
    std::fs::write(&path, text).expect("config");
    let config = HubConfig::load(&path).expect("config");
    files::create(&config, entropy).expect("files");
    let signer = LogSigner::load(&config.files.log_key).expect("log keys");
    let signers = Signers::new(signer, &config.boundary).expect("signers");
    let store = StoreHandle::spawn(files::open_store(&config, entropy).expect("store")).expect("thread");
    let mut core = sequencer::open(store, signers).await.expect("boundary");
    genesis::begin(&mut core, &config, entropy, hub::system_time()).await.expect("genesis");
    let (handle, mut orders, _) = sequencer::start(core, Arc::new(hub::system_time)).expect("thread");
    tokio::spawn(async move { while orders.recv().await.is_some() {} });
    handle
}

/// The engine and the signatures alone.
struct Limit {
    conn: rusqlite::Connection,
    signer: LogSigner,
    next: std::cell::Cell<i64>,
}

impl Limit {
    fn begin(dir: &Path) -> Self {
        let conn = rusqlite::Connection::open(dir.join("limit.db")).expect("file");
        conn.pragma_update(None, "journal_mode", "WAL").expect("wal");
        conn.pragma_update(None, "synchronous", "FULL").expect("full");
        conn.execute("CREATE TABLE entry (idx INTEGER PRIMARY KEY, hash BLOB, leaf BLOB, bytes BLOB) STRICT", [])
            .expect("table");
        let signer = LogSigner::generate(&Entropy::system().expect("entropy")).expect("keys");
        Self { conn, signer, next: std::cell::Cell::new(0) }
    }

    fn sign(&self, root: Hash) {
        let mut message = vec![0x5a; 96];
        message[..32].copy_from_slice(root.as_ref());
        self.signer.sign_ed25519(&message).expect("ed25519");
        self.signer.sign_mldsa44(&message).expect("ml-dsa");
    }

    fn append(&self, entries: &[Vec<u8>]) {
        let tx = self.conn.unchecked_transaction().expect("transaction");
        {
            let mut insert = tx.prepare_cached("INSERT INTO entry VALUES (?1, ?2, ?3, ?4)").expect("statement");
            for entry in entries {
                let index = self.next.replace(self.next.get() + 1);
                insert.execute((index, [0_u8; 32], [0_u8; 32], entry)).expect("insert");
            }
        }
        tx.commit().expect("commit");
    }

    fn round(&self, batch: usize, entry_len: usize) -> f64 {
        let entries = vec![vec![0x5a_u8; entry_len]; batch];
        let start = Instant::now();
        let mut batches = 0;
        while start.elapsed() < ROUND {
            self.sign(Hash::ZERO);
            self.append(&entries);
            batches += 1;
        }
        (batches * batch) as f64 / start.elapsed().as_secs_f64()
    }
}
