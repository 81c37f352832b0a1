//! The console in a real browser.

use std::path::Path;
use std::process::Command;

use crate::deployment::{Mesh, wait};

fn dump(profile: &Path, url: &str) -> String {
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--ignore-certificate-errors", "--window-size=360,800", "--timeout=8000"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(["--dump-dom", url])
        .output()
        .expect("chromium is installed by ./test");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// KM-15 SM-04: the sign-in link works once and shows the live mesh.
#[test]
fn the_console_shows_the_mesh_and_its_link_works_once() {
    let mesh = Mesh::start(3, "2s");
    let profile = tempfile::tempdir().unwrap();
    let link = mesh.read(&["console"])["url"].as_str().unwrap().to_owned();
    let page = wait("the page is there", || {
        let page = dump(profile.path(), &link);
        (!page.is_empty()).then_some(page)
    });
    for wanted in ["n1", "n2", "n3", "grid", "lng", "access", "ONLINE", "qkd+kem", "ACTIVE", "rotation of n1 – n2"] {
        assert!(page.contains(wanted), "`{wanted}` is not on the page:\n{page}");
    }
    let stranger = tempfile::tempdir().unwrap();
    let again = dump(stranger.path(), &link);
    assert!(!again.contains("ONLINE"), "a used link must not open the console");
}
