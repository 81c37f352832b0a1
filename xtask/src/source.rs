//! Finding source files, and the part of each that ships.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Every Rust file below `dir`, sorted.
pub(crate) fn rust_files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether the file holds only tests or benches.
pub(crate) fn is_test(path: &Path) -> bool {
    path.components().any(|part| ["tests", "benches", "fuzz"].iter().any(|dir| part.as_os_str() == *dir))
        || path.file_stem().is_some_and(|stem| stem == "tests")
}

/// The lines that ship, numbered from 1: comments are cut, and everything from the first
/// `#[cfg(test)]` of a `mod` on is left out.
pub(crate) fn shipped_lines(text: &str) -> Vec<(usize, &str)> {
    let mut lines = Vec::new();
    let mut previous_gate = false;
    for (index, line) in text.lines().enumerate() {
        let bare = line.trim_start();
        if previous_gate && bare.starts_with("mod ") && bare.ends_with('{') {
            break;
        }
        previous_gate = bare.starts_with("#[cfg(test)]");
        if bare.starts_with("//") {
            continue;
        }
        lines.push((index + 1, line.split("// ").next().unwrap_or(line)));
    }
    lines
}

/// The members of the workspace: name and folder, sorted.
pub(crate) fn crates(root: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let path = entry?.path();
        if path.join("Cargo.toml").exists()
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
        {
            found.push((name.to_owned(), path.clone()));
        }
    }
    found.sort();
    Ok(found)
}
