//! Parts that cannot start say why, each with its own code, and leave everything as it was.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::deployment::{Mesh, Ran, assert_holds, qecnet, run};

fn start(part: &str, config: &Path) -> Ran {
    run(&qecnet(), &[part, "run", "--config", config.to_str().unwrap()])
}

/// Runs a part with one word of its configuration replaced, and puts it back.
fn with(part: &str, config: &Path, from: &str, to: &str) -> Ran {
    let text = fs::read_to_string(config).unwrap();
    assert!(text.contains(from), "{}: {text}", config.display());
    fs::write(config, text.replacen(from, to, 1)).unwrap();
    let ran = start(part, config);
    fs::write(config, text).unwrap();
    ran
}

fn value(config: &Path, field: &str) -> String {
    let table: toml::Table = toml::from_str(&fs::read_to_string(config).unwrap()).unwrap();
    table[field].as_str().unwrap().to_owned()
}

fn first_file(folder: &Path) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.remove(0)
}

/// A typing error, a port in use, a file that others may change, a store that was cut short or is under
/// another key: each part names it and ends with its own code. Then everything starts as before, and
/// nothing is lost.
#[test]
fn a_part_that_cannot_start_says_why_and_loses_nothing() {
    let mut mesh = Mesh::start(2, "5s");
    let size = mesh.status().unwrap()["log"]["size"].as_u64().unwrap();
    assert!(mesh.stop().unwrap().success());
    let dir = mesh.dir().to_owned();
    let (hub, node) = (dir.join("hub/config.toml"), dir.join("nodes/n1/config.toml"));
    let fibre = first_file(&dir.join("fibres"));

    // First, while no start that failed has left a write-ahead log from which a cut file is whole again.
    for (part, folder) in [("hub", "hub"), ("node", "nodes/n1")] {
        damaged_files(part, &dir.join(folder));
    }
    for (part, config, word) in [("hub", &hub, "mesh_listen"), ("node", &node, "listen"), ("fibre", &fibre, "control")]
    {
        let typo = format!("{word}x");
        let ran = with(part, config, word, &typo).expect(6);
        assert!(ran.err.contains(&typo), "{part}: {}", ran.err);
        let taken = TcpListener::bind(value(config, word)).unwrap();
        let ran = start(part, config).expect(9);
        assert!(ran.err.contains(&taken.local_addr().unwrap().to_string()), "{part}: {}", ran.err);
    }
    let ran = with("node", &node, "node = \"n1\"", "node = \"hub\"").expect(6);
    assert!(ran.err.contains("`hub`"), "{}", ran.err);
    let ran = start("node", &dir.join("nodes/n9/config.toml")).expect(6);
    assert!(ran.err.contains("n9"), "{}", ran.err);

    mesh.up();
    assert!(mesh.wait_keyed()["log"]["size"].as_u64().unwrap() > size, "the log goes on");
    let (log, pins) = mesh.export("after");
    assert_holds(&log, &pins);
}

fn damaged_files(part: &str, folder: &Path) {
    let config = folder.join("config.toml");
    let (store, kept) = (folder.join("store.db"), folder.join("store.kept"));
    fs::copy(&store, &kept).unwrap();
    let len = fs::metadata(&store).unwrap().len();
    File::options().write(true).open(&store).unwrap().set_len(len / 2).unwrap();
    let ran = start(part, &config).expect(7);
    assert!(ran.err.contains("restore it from a backup"), "{part}: {}", ran.err);
    assert_eq!(fs::metadata(&store).unwrap().len(), len / 2, "{part}: what is left is left alone");
    fs::write(&store, b"this is a letter, and not a store of any kind").unwrap();
    start(part, &config).expect(7);
    fs::rename(&kept, &store).unwrap();

    let master = folder.join("master.key");
    let (good, other) = (fs::read(&master).unwrap(), fs::read(folder.join("identity.key")).unwrap());
    fs::write(&master, &other).unwrap();
    start(part, &config).expect(6);
    let mut wrong = good.clone();
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    fs::write(&master, &wrong).unwrap();
    let ran = start(part, &config);
    assert!([6, 7].contains(&ran.code()), "{part}: {} {}", ran.code(), ran.err);
    fs::write(&master, &good).unwrap();

    let trust = folder.join("trust.toml");
    let good = fs::read_to_string(&trust).unwrap();
    fs::write(&trust, good.replacen("boundary = \"", "boundary = \"not-", 1)).unwrap();
    let ran = start(part, &config).expect(6);
    assert!(ran.err.contains("not-"), "{part}: {}", ran.err);
    fs::write(&trust, good).unwrap();
}
