//! `docs/REQUIREMENTS.md` stays true: every requirement has a row, and every test and file that a
//! row names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::source;

/// Every requirement ID of the source documents.
const IDS: &[&str] = &[
    "SM-01", "SM-02", "SM-03", "SM-04", "SM-05", "SM-06a", "SM-06b", "SM-06c", "SM-06d", "SM-06e", "SM-07a", "SM-07b",
    "SM-07c", "SM-07d", "SM-08a", "SM-08b", "SM-08c", "SM-08d", "SM-08e", "SM-09", "SM-10", "SM-11", "KM-01", "KM-02",
    "KM-03", "KM-04", "KM-05", "KM-06", "KM-07", "KM-08", "KM-09", "KM-10", "KM-11", "KM-12", "KM-13", "KM-14",
    "KM-15", "QT-01", "QT-02", "QT-03", "QT-04", "QT-05", "QT-06", "QT-07", "QT-08", "QT-09", "QT-10", "QT-11",
    "QT-12", "QT-13", "QT-14", "QT-15",
];

pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let path = root.join("docs/REQUIREMENTS.md");
    let table = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let tests = test_names(root)?;
    Ok(problems(&table, &tests, |file| root.join(file).exists()))
}

fn problems(table: &str, tests: &BTreeSet<String>, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [id, _state, code, proofs, ..] = cells.as_slice() else { continue };
        if !IDS.contains(id) {
            continue;
        }
        if !seen.insert((*id).to_owned()) {
            found.push(format!("docs/REQUIREMENTS.md: {id} has two rows"));
        }
        for file in quoted(code).filter(|file| !exists(file)) {
            found.push(format!("docs/REQUIREMENTS.md: {id} names `{file}`, which does not exist"));
        }
        for test in quoted(proofs).filter(|test| !tests.contains(*test)) {
            found.push(format!("docs/REQUIREMENTS.md: {id} names the test `{test}`, which does not exist"));
        }
    }
    found.extend(
        IDS.iter().filter(|id| !seen.contains(**id)).map(|id| format!("docs/REQUIREMENTS.md: {id} has no row")),
    );
    found
}

/// The words in backquotes of a cell.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Names of all test functions of the workspace.
fn test_names(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for dir in ["crates", "xtask"] {
        for path in source::rust_files(&root.join(dir))? {
            let text = fs::read_to_string(&path)?;
            let mut lines = text.lines().map(str::trim_start).peekable();
            while let Some(line) = lines.next() {
                if !line.starts_with("#[test]") && !line.starts_with("#[tokio::test") {
                    continue;
                }
                let declared = lines.by_ref().find_map(|line| line.split_once("fn ").map(|(_, rest)| rest));
                names.extend(declared.and_then(|rest| rest.split('(').next()).map(str::to_owned));
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{IDS, problems};

    #[test]
    fn a_row_that_names_a_missing_test_is_found() {
        let table: String = IDS.iter().map(|id| format!("| {id} | done | `a.rs` | `works` |\n")).collect();
        let tests = BTreeSet::from(["works".to_owned()]);
        assert!(problems(&table, &tests, |_| true).is_empty());
        assert_eq!(problems(&table, &BTreeSet::new(), |_| true).len(), IDS.len());
        assert_eq!(problems("", &tests, |_| true).len(), IDS.len());
    }
}
