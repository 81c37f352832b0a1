//! Arrows between crates point one way: each crate may name only the crates listed for it.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::source;

/// Crate, and the workspace crates it may depend on. A crate absent here is a crate nobody drew.
const ARROWS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("evidence", &["types"]),
    ("kernel", &["types", "evidence"]),
    ("qkd", &["types"]),
    ("crypto", &["types"]),
    ("guard", &[]),
    ("store", &["types", "evidence", "crypto"]),
    ("session", &["types", "crypto", "guard"]),
    ("link", &["types", "qkd", "crypto", "session", "store", "kme"]),
    ("kme", &["types", "crypto", "store", "guard"]),
    ("api", &["types", "evidence", "kernel", "crypto", "session"]),
    ("node", &["types", "kernel", "crypto", "store", "session", "qkd", "link", "kme"]),
    ("hub", &["types", "evidence", "kernel", "crypto", "store", "session", "api", "qkd", "link", "guard"]),
    ("sim", &["types", "evidence", "kernel"]),
    ("qaudit", &["types", "evidence", "kernel", "crypto"]),
    // for tests: nobody ships it, so no arrow leads to it
    ("adversary", &["types", "evidence", "kernel", "crypto", "session", "api", "kme", "hub", "node"]),
    (
        "qecnet",
        &["types", "evidence", "kernel", "crypto", "store", "session", "api", "qkd", "link", "kme", "hub", "node"],
    ),
];

pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    let names: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for (name, dir) in source::crates(root)? {
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            problems.push(format!("crates/{name}: not drawn in xtask/src/arrows.rs and ARCHITECTURE.md"));
            continue;
        };
        let manifest = dir.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        for used in shipped_dependencies(&text) {
            if names.contains(&used) && !allowed.contains(&used) {
                problems.push(format!("crates/{name}: the arrow {name} → {used} is not drawn"));
            }
        }
    }
    Ok(problems)
}

/// Names under `[dependencies]`.
pub(crate) fn shipped_dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    manifest
        .lines()
        .scan(false, |inside, line| {
            if line.starts_with('[') {
                *inside = line.trim() == "[dependencies]";
            }
            Some((*inside, line))
        })
        .filter(|(inside, line)| *inside && !line.starts_with('['))
        .filter_map(|(_, line)| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::shipped_dependencies;

    #[test]
    fn only_shipped_dependencies_are_read() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\ntypes.workspace = true\nserde = \"1\"\n\n[dev-dependencies]\nhub.workspace = true\n";
        assert_eq!(shipped_dependencies(manifest).collect::<Vec<_>>(), ["types", "serde"]);
    }
}
