//! Architecture checks: `cargo xtask tidy`. Each invariant of `ARCHITECTURE.md` that a program can
//! check is checked here, so that it holds without anyone remembering it.

mod arrows;
mod level;
mod purity;
mod requirements;
mod shape;
mod source;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

fn main() -> ExitCode {
    match run() {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            for problem in &problems {
                eprintln!("{problem}");
            }
            eprintln!("tidy: {} problem(s)", problems.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<Vec<String>> {
    let root = workspace_root()?;
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => tidy(&root),
        Some("levels") => {
            io::stdout().write_all(requirements::levels(&root)?.as_bytes())?;
            Ok(Vec::new())
        }
        _ => bail!("name a task: `cargo xtask tidy` checks, `cargo xtask levels` shows what proves each requirement"),
    }
}

fn tidy(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    problems.extend(arrows::check(root)?);
    problems.extend(purity::check(root)?);
    problems.extend(shape::check(root)?);
    problems.extend(requirements::check(root)?);
    Ok(problems)
}

fn workspace_root() -> anyhow::Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(Path::to_path_buf).context("xtask must live in a folder of the workspace")
}
