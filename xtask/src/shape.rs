//! The shape of files: short, plainly named, finished.

use std::fs;
use std::path::Path;

use crate::source;

const MOST_LINES: usize = 1_000;
const BAD_NAMES: &[&str] = &["mod", "utils", "util", "common", "shared", "helpers", "misc"];
const UNFINISHED: &[&str] = &["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX"];

pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for dir in ["crates", "xtask"] {
        for path in source::rust_files(&root.join(dir))? {
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            let text = fs::read_to_string(&path)?;
            let lines = text.lines().count();
            if lines > MOST_LINES {
                problems.push(format!("{shown}: {lines} lines; split it below {MOST_LINES}"));
            }
            if path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| BAD_NAMES.contains(&stem)) {
                problems.push(format!("{shown}: name the file after what is in it"));
            }
            if shown == "xtask/src/shape.rs" {
                continue;
            }
            for (line, code) in source::shipped_lines(&text) {
                for word in UNFINISHED.iter().filter(|word| code.contains(**word)) {
                    problems.push(format!("{shown}:{line}: `{word}` is not finished work"));
                }
            }
        }
    }
    Ok(problems)
}
