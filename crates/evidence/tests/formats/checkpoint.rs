use evidence::checkpoint::CheckpointError;
use evidence::note::{NoteError, SIGNATURES, VerifierKeyError};
use evidence::{Algorithm, Checkpoint, CheckpointPolicy, NoteSigner, SignedNote, VerifierKey};
use proptest::prelude::*;
use types::{Hash, Timestamp};

use crate::keys::{Log, Signer, verifier};

/// Key, note and checkpoint of the c2sp.org/signed-note and tlog-checkpoint documents.
const SPEC_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const SPEC_NOTE: &str = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
const SPEC_CHECKPOINT: &str = "example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
";

/// QT-06: the published key verifies the published note.
#[test]
fn the_published_note_verifies() {
    let key: VerifierKey = SPEC_KEY.parse().unwrap();
    assert_eq!((key.to_string().as_str(), key.id().to_string().as_str()), (SPEC_KEY, "530d903a"));
    let note = SignedNote::parse(SPEC_NOTE.as_bytes()).unwrap();
    assert_eq!(note.to_string(), SPEC_NOTE);
    let line = &note.lines()[0];
    assert_eq!((&line.name, line.key_id), (key.name(), key.id()));
    assert!(verifier(&key, note.text().as_bytes(), &line.payload));
}

#[test]
fn the_published_checkpoint_parses() {
    let note = SignedNote::parse(SPEC_CHECKPOINT.as_bytes()).unwrap();
    assert_eq!(note.to_string(), SPEC_CHECKPOINT);
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!(note.lines()[1].payload[..8], 1_679_315_147u64.to_be_bytes());
}

/// QT-06: the layout of the ML-DSA-44 message, byte by byte (c2sp.org/tlog-cosignature).
#[test]
fn the_quantum_safe_message_is_the_documented_one() {
    let key = Signer::new("w/1", Algorithm::MlDsa44, 1).key().clone();
    let checkpoint = Checkpoint { origin: "log".parse().unwrap(), size: 258, root: Hash::new([0xab; 32]) };
    let mut expected = b"subtree/v1\n\0\x03w/1".to_vec();
    expected.extend([0, 0, 0, 0, 0, 0, 0, 7]);
    expected.extend(b"\x03log");
    expected.extend([0; 8]);
    expected.extend([0, 0, 0, 0, 0, 0, 1, 2]);
    expected.extend([0xab; 32]);
    assert_eq!(checkpoint.message(&key, 7), expected);
    let key = Signer::new("w/1", Algorithm::Ed25519Cosignature, 1).key().clone();
    assert_eq!(checkpoint.message(&key, 7), format!("cosignature/v1\ntime 7\n{checkpoint}").into_bytes());
}

/// QT-06: both signatures are demanded; each alone is not enough, nor is another log's.
#[test]
fn both_signatures_are_demanded() {
    let log = Log::with_entries("qecnet.example/north", 3);
    let policy = log.policy();
    let whole = log.signed(3);
    let signed = policy.open(whole.to_string().as_bytes(), &verifier).unwrap();
    assert_eq!((signed.checkpoint(), signed.at()), (&log.checkpoint(3), Timestamp::from_millis(1_700_000_099_000)));

    for (kept, missing) in [(0, Algorithm::MlDsa44), (1, Algorithm::Ed25519)] {
        let half = SignedNote::new(whole.text().to_owned(), vec![whole.lines()[kept].clone()]).unwrap();
        assert_eq!(policy.check(half, &verifier), Err(CheckpointError::Missing { algorithm: missing }));
    }
    let other = Log::with_entries("qecnet.example/south", 3);
    assert!(matches!(policy.check(other.signed(3), &verifier), Err(CheckpointError::WrongOrigin { .. })));
    let keys = vec![log.classical.key().clone()];
    assert!(CheckpointPolicy::new(log.origin.clone(), keys).is_err());
    let keys = vec![other.classical.key().clone(), other.quantum_safe.key().clone()];
    assert!(CheckpointPolicy::new(log.origin.clone(), keys).is_err());
}

/// QT-06: lines of unknown keys are ignored, sixteen of them too; a known key that fails rejects.
#[test]
fn unknown_keys_are_ignored_and_known_ones_must_hold() {
    let log = Log::with_entries("qecnet.example/north", 3);
    let witnesses: Vec<_> =
        (0..14).map(|n| Signer::new(&format!("w{n}.example"), Algorithm::MlDsa44, 10 + n)).collect();
    let time = Timestamp::from_millis(1_700_000_100_000);
    let signers: Vec<&dyn NoteSigner> = witnesses.iter().map(|signer| signer as &dyn NoteSigner).collect();
    let cosigned = log.checkpoint(3).sign(time, &signers).unwrap();
    let note = log.signed(3).with_lines(cosigned.lines().iter().cloned()).unwrap();
    assert_eq!(note.lines().len(), 16);
    let bytes = note.to_string().into_bytes();
    assert!(log.policy().open(&bytes, &verifier).is_ok());
    assert!(matches!(log.policy().open_exact(&bytes, &verifier), Err(CheckpointError::UnknownKey { .. })));

    let knows = log.policy().with_witness(witnesses[0].key().clone()).unwrap();
    assert!(knows.open(&bytes, &verifier).is_ok());
    let mut lines = note.lines().to_vec();
    *lines[2].payload.last_mut().unwrap() ^= 1;
    let forged = SignedNote::new(note.text().to_owned(), lines).unwrap();
    assert!(log.policy().check(forged.clone(), &verifier).is_ok());
    assert!(matches!(knows.check(forged, &verifier), Err(CheckpointError::BadSignature { .. })));
    assert!(knows.with_witness(witnesses[0].key().clone()).is_err());
}

/// QT-10: no byte of a checkpoint can change.
#[test]
fn every_altered_byte_of_a_checkpoint_is_found() {
    let log = Log::with_entries("qecnet.example/north", 3);
    let bytes = log.signed(3).to_string().into_bytes();
    let policy = log.policy();
    assert!(policy.open_exact(&bytes, &verifier).is_ok());
    for place in 0..bytes.len() {
        for change in [0x01, 0x20, 0x80] {
            let mut altered = bytes.clone();
            altered[place] ^= change;
            assert!(policy.open_exact(&altered, &verifier).is_err(), "byte {place} ^ {change:#x}");
            assert!(policy.open(&altered, &verifier).is_err(), "byte {place} ^ {change:#x}");
        }
    }
}

#[test]
fn other_forms_of_a_checkpoint_are_refused() {
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    assert!(Checkpoint::parse(&format!("a\n1\n{root}\n")).is_ok());
    let loose = root.replace("2I=", "2J=");
    for bad in [
        format!("a\n01\n{root}\n"),
        format!("a\n+1\n{root}\n"),
        format!("a\n1\n{root}"),
        format!("a\n1\n{root}\nextension\n"),
        format!("a\n1\n{root}\n\n"),
        format!("a b\n1\n{root}\n"),
        format!("\n1\n{root}\n"),
        format!("a\n-1\n{root}\n"),
        format!("a\n18446744073709551616\n{root}\n"),
        format!("a\n1\n{loose}\n"),
        format!("a\n1\n{}\n", root.trim_end_matches('=')),
    ] {
        assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn other_forms_of_a_note_are_refused() {
    let parse = |text: &str| SignedNote::parse(text.as_bytes());
    let line = "— a AAAAAAA=";
    assert!(parse(&format!("x\n\n{line}\n")).is_ok());
    for bad in [
        format!("x\n\n{line}"),
        format!("x\n{line}\n"),
        "x\n\n".to_owned(),
        format!("\n\n{line}\n"),
        format!("x\t\n\n{line}\n"),
        format!("x\r\n\n{line}\n"),
        "x\n\n— a AAAAAA==\n".to_owned(),
        "x\n\n— a AAAAAAB=\n".to_owned(),
        "x\n\n- a AAAAAAA=\n".to_owned(),
        "x\n\n— a+b AAAAAAA=\n".to_owned(),
        "x\n\n—  a AAAAAAA=\n".to_owned(),
        "x\n\n— a AAAAAAA= \n".to_owned(),
        format!("x\n\n{}", format!("{line}\n").repeat(SIGNATURES + 1)),
    ] {
        assert!(parse(&bad).is_err(), "{bad:?}");
    }
    assert_eq!(SignedNote::parse(&[0xff, b'\n', b'\n']), Err(NoteError::NotText));
    assert_eq!(SignedNote::parse(&vec![b'a'; evidence::note::NOTE_LEN + 1]), Err(NoteError::TooLong));
}

#[test]
fn other_forms_of_a_key_are_refused() {
    let parse = |text: String| text.parse::<VerifierKey>();
    assert!(matches!(parse(SPEC_KEY.replace("530d903a", "530d903b")), Err(VerifierKeyError::WrongId { .. })));
    assert!(matches!(parse(SPEC_KEY.replace("+Ae", "+Be")), Err(VerifierKeyError::UnknownType(0x05))));
    assert!(matches!(
        parse(SPEC_KEY.replace("+Ae", "+Be").replace("+Be", "+Bu")),
        Err(VerifierKeyError::Length { .. })
    ));
    for bad in
        [SPEC_KEY.replace("530d903a", "530D903A"), SPEC_KEY.replace("+530", "+0530"), SPEC_KEY.replace("foo", "f o")]
    {
        assert!(parse(bad).is_err());
    }
    assert_eq!(parse("a+b".to_owned()), Err(VerifierKeyError::Malformed));
}

proptest! {
    #[test]
    fn checkpoints_round_trip(origin in "[a-z0-9./~é-]{1,60}", size: u64, root: [u8; 32]) {
        let checkpoint = Checkpoint { origin: origin.parse().unwrap(), size, root: Hash::new(root) };
        prop_assert_eq!(Checkpoint::parse(&checkpoint.to_string()), Ok(checkpoint));
    }

    /// Whatever parses is written back as it was.
    #[test]
    fn a_parsed_note_is_its_bytes(text in "[a-z\n—+ =]{0,80}") {
        if let Ok(note) = SignedNote::parse(text.as_bytes()) {
            prop_assert_eq!(note.to_string(), text);
        }
    }
}
