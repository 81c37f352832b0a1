//! `docs/REQUIREMENTS.md` stays true: every requirement has a row, and every test and file that a
//! row names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::level::Tests;

/// Every requirement ID of the source documents.
const IDS: &[&str] = &[
    "SM-01", "SM-02", "SM-03", "SM-04", "SM-05", "SM-06a", "SM-06b", "SM-06c", "SM-06d", "SM-06e", "SM-07a", "SM-07b",
    "SM-07c", "SM-07d", "SM-08a", "SM-08b", "SM-08c", "SM-08d", "SM-08e", "SM-09", "SM-10", "SM-11", "KM-01", "KM-02",
    "KM-03", "KM-04", "KM-05", "KM-06", "KM-07", "KM-08", "KM-09", "KM-10", "KM-11", "KM-12", "KM-13", "KM-14",
    "KM-15", "QT-01", "QT-02", "QT-03", "QT-04", "QT-05", "QT-06", "QT-07", "QT-08", "QT-09", "QT-10", "QT-11",
    "QT-12", "QT-13", "QT-14", "QT-15",
];

pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let tests = Tests::read(root)?;
    Ok(problems(&table(root)?, &tests, |file| root.join(file).exists()))
}

/// Each requirement with its state and the tests that prove it, those on the real path marked.
pub(crate) fn levels(root: &Path) -> anyhow::Result<String> {
    let (table, tests) = (table(root)?, Tests::read(root)?);
    let mut shown = String::new();
    for row in rows(&table) {
        shown.push_str(&format!("{} {}\n", row.id, row.state));
        for test in row.tests() {
            let level = if tests.real.contains(test) { "real path" } else { "in parts" };
            shown.push_str(&format!("    {level:<10}{test}\n"));
        }
    }
    Ok(shown)
}

fn table(root: &Path) -> anyhow::Result<String> {
    let path = root.join("docs/REQUIREMENTS.md");
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// A row of the table.
struct Row<'t> {
    id: &'t str,
    state: &'t str,
    code: &'t str,
    proofs: &'t str,
    missing: &'t str,
}

impl<'t> Row<'t> {
    fn tests(&self) -> impl Iterator<Item = &'t str> {
        quoted(self.proofs)
    }
}

fn rows(table: &str) -> impl Iterator<Item = Row<'_>> {
    table.lines().filter(|line| line.starts_with("| ")).filter_map(|row| {
        let row = row.strip_prefix('|')?.strip_suffix('|')?;
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [id, state, code, proofs, missing] = *cells.as_slice() else { return None };
        IDS.contains(&id).then_some(Row { id, state, code, proofs, missing })
    })
}

fn problems(table: &str, tests: &Tests, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for row in rows(table) {
        if !seen.insert(row.id) {
            found.push(format!("{} has two rows", row.id));
        }
        found.extend(
            quoted(row.code)
                .filter(|file| !exists(file))
                .map(|file| format!("{} names `{file}`, which does not exist", row.id)),
        );
        let unknown = row.tests().filter(|test| !tests.all.contains(*test));
        found.extend(unknown.map(|test| format!("{} names the test `{test}`, which does not exist", row.id)));
        found.extend(overstated(&row, tests));
    }
    found.extend(IDS.iter().filter(|id| !seen.contains(**id)).map(|id| format!("{id} has no row")));
    found.into_iter().map(|problem| format!("docs/REQUIREMENTS.md: {problem}")).collect()
}

/// What a row says of itself beyond what its tests show.
fn overstated(row: &Row<'_>, tests: &Tests) -> Option<String> {
    match row.state {
        "done" if !row.tests().any(|test| tests.real.contains(test)) => {
            Some(format!("{} is `done` and no test of it runs what ships; name one or make it `part`", row.id))
        }
        "done" => None,
        "part" | "open" if row.missing.is_empty() => Some(format!("{} does not say what is missing", row.id)),
        "part" | "open" => None,
        other => Some(format!("{} is `{other}`: say `done`, `part` or `open`", row.id)),
    }
}

/// The words in backquotes of a cell.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::{IDS, problems};
    use crate::level::Tests;

    fn table(state: &str, missing: &str) -> String {
        IDS.iter().map(|id| format!("| {id} | {state} | `a.rs` | `works` | {missing} |\n")).collect()
    }

    fn tests(real: bool) -> Tests {
        let mut tests = Tests::default();
        tests.all.insert("works".to_owned());
        tests.real.extend(real.then(|| "works".to_owned()));
        tests
    }

    #[test]
    fn a_row_that_names_a_missing_test_is_found() {
        assert!(problems(&table("done", ""), &tests(true), |_| true).is_empty());
        assert_eq!(problems(&table("part", "much"), &Tests::default(), |_| true).len(), IDS.len());
        assert_eq!(problems("", &tests(true), |_| true).len(), IDS.len());
    }

    #[test]
    fn h12_a_row_is_done_only_with_a_test_of_what_ships() {
        assert_eq!(problems(&table("done", ""), &tests(false), |_| true).len(), IDS.len());
        assert!(problems(&table("part", "the running mesh"), &tests(false), |_| true).is_empty());
        assert_eq!(problems(&table("part", ""), &tests(true), |_| true).len(), IDS.len());
        assert_eq!(problems(&table("nearly", "a bit"), &tests(true), |_| true).len(), IDS.len());
    }
}
