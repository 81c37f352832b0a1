//! `qaudit`: verifies, replays and shows an exported audit bundle.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use evidence::Pins;
use qaudit::{Exit, Failure};
use serde::Serialize;

/// Longest pins file that is read, in bytes.
const PINS_LEN: u64 = 1 << 20;

/// Checks an exported audit bundle with nothing but the file and pinned keys.
///
/// Exit codes: 0 it holds, 1 tampered (the first bad entry is named), 2 a file cannot be read,
/// 3 incomplete.
#[derive(Parser)]
#[command(name = "qaudit", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check that the log is as its keys signed it: every byte, link, root and signature.
    Verify(Checked),
    /// Verify, then take every step again: decisions, state and operators' signatures.
    Replay(Checked),
    /// Show one entry and the state as of it, without checking signatures.
    Show {
        /// The bundle that `qecnet audit export` wrote.
        file: PathBuf,
        /// Index of the entry, from 0.
        #[arg(long)]
        at: u64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct Checked {
    /// The bundle that `qecnet audit export` wrote.
    file: PathBuf,
    /// The pins, as `qecnet audit pins` wrote them; get them from someone you trust.
    #[arg(long)]
    pins: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What holds, as JSON.
#[derive(Serialize)]
struct View<'a, T> {
    result: Exit,
    #[serde(flatten)]
    found: &'a T,
}

fn main() -> anyhow::Result<ExitCode> {
    let (answer, exit) = match Cli::parse().command {
        Command::Verify(args) => args.answer(qaudit::verify, qaudit::verify::describe)?,
        Command::Replay(args) => args.answer(qaudit::replay, qaudit::replay::describe)?,
        Command::Show { file, at, json } => match open(&file).and_then(|input| qaudit::show(input, at)) {
            Ok(shown) if json => (Ok(serde_json::to_string_pretty(&shown)?), Exit::Holds),
            Ok(shown) => (Ok(qaudit::show::describe(&shown)?), Exit::Holds),
            Err(failure) => refusal(&failure, json)?,
        },
    };
    match answer {
        Ok(text) => writeln!(std::io::stdout(), "{text}")?,
        Err(text) => writeln!(std::io::stderr(), "{text}")?,
    }
    Ok(exit.into())
}

/// What goes to standard output, or to standard error, and the exit code.
type Answer = (Result<String, String>, Exit);

impl Checked {
    fn answer<T: Serialize>(
        &self,
        check: impl Fn(BufReader<File>, &Pins) -> Result<T, Failure>,
        describe: impl Fn(&T) -> String,
    ) -> anyhow::Result<Answer> {
        let found = pins(&self.pins).and_then(|pins| check(open(&self.file)?, &pins));
        Ok(match found {
            Ok(found) if self.json => {
                (Ok(serde_json::to_string_pretty(&View { result: Exit::Holds, found: &found })?), Exit::Holds)
            }
            Ok(found) => (Ok(describe(&found)), Exit::Holds),
            Err(failure) => refusal(&failure, self.json)?,
        })
    }
}

fn refusal(failure: &Failure, json: bool) -> anyhow::Result<Answer> {
    let text = if json { Ok(serde_json::to_string_pretty(&failure.to_json())?) } else { Err(failure.to_string()) };
    Ok((text, failure.exit()))
}

fn open(path: &Path) -> Result<BufReader<File>, Failure> {
    let file = File::open(path).map_err(|error| Failure::File { path: path.to_owned(), error })?;
    Ok(BufReader::new(file))
}

fn pins(path: &Path) -> Result<Pins, Failure> {
    let mut text = String::new();
    let read = open(path)?.take(PINS_LEN).read_to_string(&mut text);
    read.map_err(|error| Failure::File { path: path.to_owned(), error })?;
    text.parse().map_err(|error| Failure::Pins { path: path.to_owned(), error })
}
