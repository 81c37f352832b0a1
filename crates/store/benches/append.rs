//! Durable appends per second at several batch sizes, beside the bare engine in the same run.
//!
//! `cargo bench --profile dev -p store`. The bare engine is a loop of inserts of the same rows and one commit
//! per batch, on the same settings and in the same directory: what SQLite can do at best. The two alternate
//! in short rounds and the medians are compared, so that a busy device hits both alike.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::{Entropy, MasterKey, Secret32};
use evidence::Opaque;
use rusqlite::Connection;
use store::{Batch, Entry, Head, Store, StoreHandle};
use types::Timestamp;

const SIZES: [usize; 5] = [1, 16, 64, 256, 1_024];
const RECORD: usize = 320;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(250);

/// Entries of 320 bytes, chained and hashed beforehand.
fn entries(count: usize) -> Vec<Entry> {
    let mut head = evidence::Head::EMPTY;
    let mut entries = Vec::with_capacity(count);
    for number in 0..count {
        let mut body = vec![0x59, 0, 0];
        let overhead = head.next(Timestamp::from_millis(1), Opaque::new(vec![0x80]).unwrap()).seal().unwrap();
        let len = RECORD - (overhead.bytes().len() - 1) - 3;
        body[1..].copy_from_slice(&(len as u16).to_be_bytes());
        body.resize(3 + len, number as u8);
        let entry = head.next(Timestamp::from_millis(1), Opaque::new(body).unwrap());
        let sealed = entry.seal().unwrap();
        assert_eq!(sealed.bytes().len(), RECORD);
        head = head.after(entry.at, &sealed);
        entries.push(sealed.into());
    }
    entries
}

/// Calls `batch` for one round and returns records per second.
fn round(size: usize, mut batch: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut batches = 0;
    while start.elapsed() < ROUND {
        batch();
        batches += 1;
    }
    (batches * size) as f64 / start.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn bare(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE entry (idx INTEGER PRIMARY KEY, hash BLOB, leaf BLOB, bytes BLOB);",
    )
    .unwrap();
    conn
}

fn bare_batch(conn: &mut Connection, next: &mut i64, batch: &[Entry]) {
    let tx = conn.transaction().unwrap();
    {
        let mut insert = tx.prepare_cached("INSERT INTO entry VALUES (?1, ?2, ?3, ?4)").unwrap();
        for entry in batch {
            insert.execute((*next, entry.hash.as_bytes(), entry.leaf.as_bytes(), &entry.bytes)).unwrap();
            *next += 1;
        }
    }
    tx.commit().unwrap();
}

fn store(path: &Path) -> Store {
    let entropy = Arc::new(Entropy::system().unwrap());
    Store::create(path, &"bench".parse().unwrap(), MasterKey::from_bytes(&[1; 32]), entropy).unwrap()
}

/// The store's own call, batches made by the caller.
fn batches(dir: &Path, entries: &[Entry]) {
    println!("{:>6} {:>14} {:>14} {:>7}", "batch", "store rec/s", "engine rec/s", "ratio");
    for size in SIZES {
        let mut ours = store(&dir.join(format!("store{size}.db")));
        let mut conn = bare(&dir.join(format!("bare{size}.db")));
        let (mut head, mut next) = (Head::EMPTY, 0);
        let (mut our_rates, mut bare_rates) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            our_rates.push(round(size, || {
                let batch: Batch = entries[..size].iter().cloned().collect();
                head = ours.append(head, batch).unwrap();
            }));
            bare_rates.push(round(size, || bare_batch(&mut conn, &mut next, &entries[..size])));
        }
        let (ours, bare) = (median(our_rates), median(bare_rates));
        println!("{size:>6} {ours:>14.0} {bare:>14.0} {:>7.2}", ours / bare);
    }
}

/// Single records from many callers through the front, which groups them.
fn callers(dir: &Path, entries: &[Entry]) {
    println!(
        "{:>6} {:>14} {:>14} {:>7}  (one cell each, grouped by the front)",
        "callers", "writes/s", "alone", "ratio"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut alone = 0.0;
    for callers in SIZES {
        let handle = StoreHandle::spawn(store(&dir.join(format!("front{callers}.db")))).unwrap();
        let rate = runtime.block_on(async {
            let start = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for (caller, entry) in entries.iter().enumerate().take(callers) {
                let (handle, mut value) = (handle.clone(), entry.bytes.clone());
                let name = store::CellName::new(format!("cell/{caller}")).unwrap();
                tasks.spawn(async move {
                    let mut done = 0_u64;
                    while start.elapsed() < 4 * ROUND {
                        // The engine writes nothing, and so flushes nothing, for a value that stays the same.
                        value[..8].copy_from_slice(&done.to_be_bytes());
                        handle.put_cells(vec![(name.clone(), value.clone())]).await.unwrap();
                        done += 1;
                    }
                    done
                });
            }
            let done: u64 = tasks.join_all().await.into_iter().sum();
            done as f64 / start.elapsed().as_secs_f64()
        });
        alone = if callers == 1 { rate } else { alone };
        println!("{callers:>6} {rate:>14.0} {alone:>14.0} {:>7.2}", rate / alone);
        runtime.block_on(handle.close()).unwrap();
    }
}

fn main() {
    let dir =
        tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or_else(|| std::env::temp_dir().into())).unwrap();
    let entries = entries(1_024);
    batches(dir.path(), &entries);
    callers(dir.path(), &entries);
}
