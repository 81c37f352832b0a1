//! Pure crates take time and entropy as arguments and touch nothing outside themselves.

use std::fs;
use std::path::Path;

use crate::source;

const PURE: &[&str] = &["types", "evidence", "kernel", "qkd"];

/// What a pure crate must not name, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("tokio", "runs tasks"),
    ("std::fs", "touches files"),
    ("std::net", "touches sockets"),
    ("std::thread", "starts threads"),
    ("std::process", "touches processes"),
    ("std::env", "reads its surroundings"),
    ("Instant::now", "reads a clock"),
    ("SystemTime", "reads a clock"),
    ("getrandom", "draws random numbers"),
    ("rand::", "draws random numbers"),
    ("aws_lc_rs", "belongs to the crypto crate"),
    ("HashMap", "has no order to iterate in"),
    ("HashSet", "has no order to iterate in"),
];

pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for name in PURE {
        for path in source::rust_files(&root.join("crates").join(name).join("src"))? {
            if source::is_test(&path) {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            problems.extend(
                impurities(&text)
                    .map(|(line, word, why)| format!("{shown}:{line}: a pure crate names `{word}`, which {why}")),
            );
        }
    }
    Ok(problems)
}

fn impurities(text: &str) -> impl Iterator<Item = (usize, &'static str, &'static str)> {
    source::shipped_lines(text).into_iter().flat_map(|(line, code)| {
        FORBIDDEN.iter().filter(move |(word, _)| code.contains(word)).map(move |(word, why)| (line, *word, *why))
    })
}

#[cfg(test)]
mod tests {
    use super::impurities;

    #[test]
    fn a_clock_in_shipped_code_is_found_and_one_in_a_test_is_not() {
        let text = "fn f() {\n    Instant::now();\n}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(impurities(text).map(|(line, ..)| line).collect::<Vec<_>>(), [2]);
    }
}
