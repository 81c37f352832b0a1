//! Decide, append durably and sign, per second, beside what the disk and the signatures allow.
//!
//! The limit is measured in the same run on the same file system: SQLite inserts of entries of the
//! same size, one commit a batch (WAL, `synchronous=FULL`), one Ed25519 and one ML-DSA-44 signature a
//! batch. The subject also authenticates nothing (callers do, beside it), decides by policy, chains,
//! hashes and answers. Aim: half of the limit.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::{Entropy, IdentityKey, LogSigner};
use hub::sequencer::{self, Signers};
use hub::{HubConfig, files, genesis};
use kernel::event::{Command, Event, Request, SignedRequest};
use store::StoreHandle;
use types::Hash;

const IN_FLIGHT: &[usize] = &[1, 16, 64, 256, 1_024];
const SPAN: Duration = Duration::from_secs(3);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    println!("in flight   recorded/s      limit/s    ratio   bytes/entry");
    for &in_flight in IN_FLIGHT {
        let dir = tempfile::tempdir().expect("folder");
        let (recorded, entry_len) = runtime.block_on(subject(dir.path(), in_flight));
        let limit = limit(dir.path(), in_flight, entry_len);
        println!("{in_flight:9} {recorded:12.0} {limit:12.0} {:8.2} {entry_len:13}", recorded / limit);
    }
}

/// Requests that are ready to be stepped; the signature is checked by callers, in parallel.
fn requests(operator: &IdentityKey, count: usize) -> Vec<Event> {
    let signature = api::request::sign(operator, request(0)).expect("signature").signature;
    let event =
        |nonce| Event::Request(Box::new(SignedRequest { request: request(nonce), signature: signature.clone() }));
    (1..=count).map(event).collect()
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
        command: Command::Read { what: "status".to_owned() },
    }
}

/// A new boundary with one operator, and its sequencer.
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

async fn subject(dir: &Path, in_flight: usize) -> (f64, usize) {
    let entropy = Arc::new(Entropy::system().expect("entropy"));
    let operator = IdentityKey::generate(&entropy).expect("identity");
    let handle = begin(dir, &operator, &entropy).await;
    let ready = requests(&operator, 200_000);
    let queue = Arc::new(std::sync::Mutex::new(ready.into_iter()));
    let start = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
        let (handle, queue) = (handle.clone(), Arc::clone(&queue));
        callers.spawn(async move {
            let (mut done, mut len) = (0usize, 0);
            while start.elapsed() < SPAN {
                let Some(event) = queue.lock().expect("queue").next() else { break };
                len = handle.request(event).await.expect("receipt").entry().len();
                done += 1;
            }
            (done, len)
        });
    }
    let (mut total, mut entry_len) = (0, 0);
    while let Some(caller) = callers.join_next().await {
        let (done, len) = caller.expect("caller");
        total += done;
        entry_len = entry_len.max(len);
    }
    let rate = total as f64 / start.elapsed().as_secs_f64();
    handle.stop().await;
    (rate, entry_len)
}

fn limit(dir: &Path, batch: usize, entry_len: usize) -> f64 {
    let conn = rusqlite::Connection::open(dir.join("limit.db")).expect("file");
    conn.pragma_update(None, "journal_mode", "WAL").expect("wal");
    conn.pragma_update(None, "synchronous", "FULL").expect("full");
    conn.execute("CREATE TABLE entry (idx INTEGER PRIMARY KEY, hash BLOB, leaf BLOB, bytes BLOB) STRICT", [])
        .expect("table");
    let signer = LogSigner::generate(&Entropy::system().expect("entropy")).expect("keys");
    let entry = vec![0x5a_u8; entry_len];
    let start = Instant::now();
    let mut done = 0_u64;
    while start.elapsed() < SPAN {
        let tx = conn.unchecked_transaction().expect("transaction");
        {
            let mut insert = tx.prepare_cached("INSERT INTO entry VALUES (?1, ?2, ?3, ?4)").expect("statement");
            for _ in 0..batch {
                insert.execute((done as i64, [0_u8; 32], [0_u8; 32], &entry)).expect("insert");
                done += 1;
            }
        }
        signer.sign_ed25519(&entry[..96]).expect("ed25519");
        signer.sign_mldsa44(&entry[..96]).expect("ml-dsa");
        tx.commit().expect("commit");
    }
    done as f64 / start.elapsed().as_secs_f64()
}
