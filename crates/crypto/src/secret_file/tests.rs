use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::{FileKind, MAX_LEN, SecretFileError, create, read, read_exact, replace};

const KIND: FileKind = FileKind::MASTER_KEY;

#[test]
fn a_file_is_private_and_its_directory_clean() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    create(&path, KIND, &[1; 100]).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    replace(&path, KIND, &[2; 32]).unwrap();
    assert_eq!(*read_exact::<32>(&path, KIND).unwrap(), [2; 32]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn an_existing_file_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    create(&path, KIND, &[1; 32]).unwrap();
    assert!(matches!(create(&path, KIND, &[2; 32]), Err(SecretFileError::Exists { .. })));
    assert_eq!(*read_exact::<32>(&path, KIND).unwrap(), [1; 32]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_others_may_touch_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    create(&path, KIND, &[1; 32]).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o602] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let refused = read(&path, KIND).unwrap_err();
        assert!(matches!(refused, SecretFileError::TooOpen { mode: found, .. } if found == mode), "{refused}");
    }
}

#[test]
fn each_wrong_file_has_its_own_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    assert!(matches!(read(&path, KIND), Err(SecretFileError::Missing { .. })));
    create(&path, KIND, &[1; 32]).unwrap();
    assert!(matches!(read(&path, FileKind::LOG_KEY), Err(SecretFileError::WrongKind { .. })));
    assert!(matches!(read_exact::<33>(&path, KIND), Err(SecretFileError::Damaged { .. })));
    let unreachable = dir.path().join("none/secret");
    assert!(matches!(create(&unreachable, KIND, &[1]), Err(SecretFileError::Io { .. })));
    let huge = vec![0; MAX_LEN + 1];
    assert!(matches!(create(&dir.path().join("huge"), KIND, &huge), Err(SecretFileError::Io { .. })));
    assert!(matches!(read(dir.path(), KIND), Err(SecretFileError::TooOpen { .. } | SecretFileError::Damaged { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_kept_comes_back_and_damage_is_seen(
        secret in proptest::collection::vec(any::<u8>(), 0..200), cut in 1..50_usize,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        create(&path, KIND, &secret).unwrap();
        prop_assert_eq!(&**read(&path, KIND).unwrap(), &secret);

        let text = fs::read(&path).unwrap();
        let kept = text.len().saturating_sub(cut);
        fs::write(&path, &text[..kept]).unwrap();
        // a cut at the end of a line leaves a shorter secret, which only its length can tell
        let at_line_end = kept > 0 && text[kept - 1] == b'\n';
        prop_assert!(at_line_end || read(&path, KIND).is_err());
    }
}
