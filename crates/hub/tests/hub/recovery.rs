//! What the hub does with damaged, foreign or busy files: it says so, and changes nothing.

use std::io::{Read, Seek, SeekFrom, Write};

use hub::{Hub, StartError};
use kernel::event::Command;

use adversary::Deployment;

async fn begun() -> Deployment {
    let deployment = Deployment::new(1);
    let hub = deployment.start().await;
    let client = deployment.client(&hub, "op1");
    for _ in 0..20 {
        client.run(Command::Read { what: "status".to_owned() }).await.unwrap();
    }
    hub.stop().await;
    // Everything into the one file, as it is after a while.
    let conn = rusqlite::Connection::open(&deployment.config.files.store).unwrap();
    let busy: i64 = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0);
    deployment
}

/// A store altered in the middle of an entry is not started on.
#[tokio::test(flavor = "multi_thread")]
async fn an_altered_entry_stops_the_start_and_is_named() {
    let deployment = begun().await;
    let path = &deployment.config.files.store;
    let mut file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    // The word a read was made for, in the canonical bytes of some entry.
    let at = bytes.windows(6).rposition(|part| part == b"status").unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(b"stAtus").unwrap();
    drop(file);
    // The snapshot covers the entry, and does not hide it.
    let error = Hub::start(deployment.config.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::Recover(_)), "{error}");
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_store_stops_the_start() {
    let deployment = begun().await;
    let path = &deployment.config.files.store;
    let len = std::fs::metadata(path).unwrap().len();
    std::fs::File::options().write(true).open(path).unwrap().set_len(len / 2).unwrap();
    let error = Hub::start(deployment.config.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::Store(_) | StartError::Recover(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_keys_or_another_boundary_are_not_taken() {
    let deployment = begun().await;
    let other = Deployment::new(0);
    let mut config = deployment.config.clone();
    config.files.log_key = other.config.files.log_key.clone();
    let error = Hub::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Recover(_)), "{error}");
    let mut config = deployment.config.clone();
    config.files.master_key = other.config.files.master_key.clone();
    let error = Hub::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Store(_)), "{error}");
    let mut config = deployment.config.clone();
    config.boundary = "elsewhere".parse().unwrap();
    let error = Hub::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Store(_)), "{error}");
    // None of it changed anything.
    deployment.start().await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_or_a_second_hub_is_told() {
    let deployment = begun().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = deployment.config.clone();
    config.listen = taken.local_addr().unwrap();
    let error = Hub::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { field: "listen", .. }), "{error}");
    let hub = deployment.start().await;
    let error = Hub::start(deployment.config.clone()).await.unwrap_err();
    assert!(error.to_string().contains("in use") || error.to_string().contains("another process"), "{error}");
    hub.stop().await;
}
