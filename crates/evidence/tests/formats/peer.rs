//! What we write, read by an implementation that is not ours.

use evidence::{Algorithm, ConsistencyProof, InclusionProof, NoteSigner};
use metamorphic_log::checkpoint::Checkpoint as PeerCheckpoint;
use metamorphic_log::note::{SignedNote as PeerNote, VerifierKey as PeerKey, sign_cosignature_mldsa44};
use types::{Hash, Timestamp};

use crate::keys::{Log, Signer, verifier};

fn raw(path: &[Hash]) -> Vec<Vec<u8>> {
    path.iter().map(|hash| hash.as_bytes().to_vec()).collect()
}

/// QT-06, QT-10: types 01, 04 and 06 verify there, and it refuses what was altered.
#[test]
fn an_independent_verifier_accepts_our_checkpoints() {
    let log = Log::with_entries("qecnet.example/north", 11);
    let witness = Signer::new("witness.example", Algorithm::Ed25519Cosignature, 7);
    let note = log
        .checkpoint(11)
        .sign(Timestamp::from_millis(1_700_000_000_000), &[&log.classical, &log.quantum_safe, &witness])
        .unwrap();
    let keys: Vec<PeerKey> = [log.classical.key(), log.quantum_safe.key(), witness.key()]
        .map(|key| PeerKey::parse(&key.to_string()).unwrap())
        .to_vec();
    let text = note.to_string();
    let parsed = PeerNote::parse(&text).unwrap();
    assert_eq!(parsed.verify(&keys).unwrap().len(), 3);
    for key in &keys {
        let peer = PeerCheckpoint::from_signed_note(&text, std::slice::from_ref(key)).unwrap();
        assert_eq!((peer.size(), peer.root_hash()), (11, log.root(11).as_bytes()));
        let altered = text.replacen("\n11\n", "\n12\n", 1);
        assert!(PeerCheckpoint::from_signed_note(&altered, std::slice::from_ref(key)).is_err());
    }
}

/// QT-10: our proofs verify there.
#[test]
fn an_independent_verifier_accepts_our_proofs() {
    let log = Log::with_entries("qecnet.example/north", 21);
    let key = PeerKey::parse(&log.quantum_safe.key().to_string()).unwrap();
    let peer =
        |size| PeerCheckpoint::from_signed_note(&log.signed(size).to_string(), std::slice::from_ref(&key)).unwrap();
    for size in [1, 2, 7, 8, 13, 21] {
        for index in 0..size {
            let proof = InclusionProof::new(&log.tree, index, size).unwrap();
            let leaf = log.entries[index as usize].leaf();
            peer(size).verify_inclusion(index, leaf.as_ref(), &raw(&proof.path)).unwrap();
        }
        let proof = ConsistencyProof::new(&log.tree, size, 21).unwrap();
        peer(size).verify_consistency(&peer(21), &raw(&proof.path)).unwrap();
    }
}

/// QT-06: the other way round, a cosignature made there holds here.
#[test]
fn a_cosignature_of_an_independent_signer_holds_here() {
    let log = Log::with_entries("qecnet.example/north", 5);
    let witness = Signer::new("witness.example", Algorithm::MlDsa44, 9);
    let body = log.checkpoint(5).to_string();
    let line = sign_cosignature_mldsa44(&body, "witness.example", &[9; 32], 1_700_000_200).unwrap();
    let note = format!("{}{}", log.signed(5), line.marshal_line());
    let note = if note.ends_with('\n') { note } else { note + "\n" };
    let policy = log.policy().with_witness(witness.key().clone()).unwrap();
    assert!(policy.open_exact(note.as_bytes(), &verifier).is_ok());
}
