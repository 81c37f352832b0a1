use evidence::proof::{ProofFormatError, ProvenError};
use evidence::{InclusionProof, Opaque, TlogProof};
use proptest::prelude::*;

use crate::keys::{Log, verifier};

fn proof(log: &Log, index: u64, size: u64) -> TlogProof {
    TlogProof::new(InclusionProof::new(&log.tree, index, size).unwrap(), log.signed(size))
}

/// QT-09, QT-10: an entry with its proof is proven offline, and nothing else is.
#[test]
fn an_entry_is_proven_offline() {
    let log = Log::with_entries("qecnet.example/north", 13);
    let proof = proof(&log, 6, 13);
    let entry = log.entries[6].bytes();
    let (parsed, signed) = proof.verify_entry::<Opaque, _>(entry, &log.policy(), &verifier).unwrap();
    assert_eq!((parsed.index, signed.checkpoint().size), (6, 13));
    assert!(matches!(proof.verify(log.entries[7].bytes(), &log.policy(), &verifier), Err(ProvenError::Path(_))));
    let elsewhere = TlogProof { index: 7, ..proof.clone() };
    assert!(elsewhere.verify(entry, &log.policy(), &verifier).is_err());
    let south = Log::with_entries("qecnet.example/south", 13);
    assert!(matches!(proof.verify(entry, &south.policy(), &verifier), Err(ProvenError::Checkpoint(_))));
}

/// QT-10: no byte of a proof can change.
#[test]
fn every_altered_byte_of_a_proof_is_found() {
    let log = Log::with_entries("qecnet.example/north", 6);
    let bytes = proof(&log, 2, 6).to_string().into_bytes();
    let entry = log.entries[2].bytes();
    let holds =
        |bytes: &[u8]| TlogProof::parse(bytes).is_ok_and(|proof| proof.verify(entry, &log.policy(), &verifier).is_ok());
    assert!(holds(&bytes));
    for place in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[place] ^= 1;
        assert!(!holds(&altered), "byte {place}");
    }
}

#[test]
fn the_text_is_that_of_the_specification() {
    let log = Log::with_entries("qecnet.example/north", 1);
    let with_extra = TlogProof { extra: Some(b"seen".to_vec()), ..proof(&log, 0, 1) };
    let text = with_extra.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra c2Vlbg==\nindex 0\n\nqecnet.example/north\n1\n"));
    assert_eq!(TlogProof::parse(text.as_bytes()), Ok(with_extra));
    assert_eq!(TlogProof::parse(text.replace("index 0", "index 00").as_bytes()), Err(ProofFormatError::Malformed));
    assert_eq!(
        TlogProof::parse(text.replace("extra c2Vlbg==", "extra c2Vlbg").as_bytes()),
        Err(ProofFormatError::BadLine(1))
    );
    assert_eq!(TlogProof::parse(text.replace("index 0", "place 0").as_bytes()), Err(ProofFormatError::BadLine(2)));
    assert_eq!(TlogProof::parse(text.replace("@v1", "@v2").as_bytes()), Err(ProofFormatError::Malformed));
    assert_eq!(TlogProof::parse(&vec![b'a'; 1 << 20]), Err(ProofFormatError::TooLong));
    let long =
        text.replace("index 0\n", &format!("index 0\n{}", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".repeat(65)));
    assert!(matches!(TlogProof::parse(long.as_bytes()), Err(ProofFormatError::BadLine(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn proofs_round_trip(size in 1u64..40, index: u64, extra in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))) {
        let log = Log::with_entries("qecnet.example/north", size);
        let proof = TlogProof { extra, ..proof(&log, index % size, size) };
        prop_assert_eq!(TlogProof::parse(proof.to_string().as_bytes()), Ok(proof));
    }
}
