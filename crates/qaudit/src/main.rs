//! `qaudit`: verifies, replays and shows an exported audit bundle.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use evidence::bundle::Summary;
use evidence::{Pins, SignedCheckpoint};
use qaudit::{Exit, Failure, Warning, freshness};
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
    /// A signed checkpoint got elsewhere than from the bundle: the log must reach or pass through it.
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    /// Where the bundle holds, note its last root in the pins, so that a later one must go on from it.
    #[arg(long)]
    update_pins: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What holds, as JSON.
#[derive(Serialize)]
struct View<'a, T> {
    result: Exit,
    warnings: Vec<WarningView>,
    #[serde(flatten)]
    found: &'a T,
}

/// A warning, as JSON.
#[derive(Serialize)]
struct WarningView {
    #[serde(flatten)]
    warning: Warning,
    text: String,
}

fn main() -> anyhow::Result<ExitCode> {
    let (answer, exit) = match Cli::parse().command {
        Command::Verify(args) => args.answer(qaudit::verify, |found| found, qaudit::verify::describe)?,
        Command::Replay(args) => args.answer(qaudit::replay, |found| &found.summary, qaudit::replay::describe)?,
        Command::Show { file, at, json } => match open(&file).and_then(|input| qaudit::show(input, at)) {
            Ok(shown) if json => (Ok(serde_json::to_string_pretty(&shown)?), Exit::Holds),
            Ok(shown) => (Ok(qaudit::show::describe(&shown)?), Exit::Holds),
            Err(failure) => refusal(&failure, json)?,
        },
    };
    let told = match answer {
        Ok(text) => writeln!(std::io::stdout(), "{text}"),
        Err(text) => writeln!(std::io::stderr(), "{text}"),
    };
    match told {
        // A reader that went away, as `head` does, changes nothing of what was found.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(exit.into()),
    }
}

/// What goes to standard output, or to standard error, and the exit code.
type Answer = (Result<String, String>, Exit);

impl Checked {
    fn answer<T: Serialize>(
        &self,
        check: impl Fn(BufReader<File>, &Pins) -> Result<T, Failure>,
        summary: impl Fn(&T) -> &Summary,
        describe: impl Fn(&T) -> String,
    ) -> anyhow::Result<Answer> {
        let (found, warnings) = match self.check(check, summary) {
            Ok(found) => found,
            Err(failure) => return refusal(&failure, self.json),
        };
        if self.json {
            let views = warnings.iter().map(|warning| WarningView { warning: *warning, text: warning.to_string() });
            let view = View { result: Exit::Holds, warnings: views.collect(), found: &found };
            return Ok((Ok(serde_json::to_string_pretty(&view)?), Exit::Holds));
        }
        for warning in &warnings {
            writeln!(std::io::stderr(), "WARNING: {warning}")?;
        }
        Ok((Ok(describe(&found)), Exit::Holds))
    }

    /// What the bundle proves, and what to warn of.
    fn check<T>(
        &self,
        check: impl Fn(BufReader<File>, &Pins) -> Result<T, Failure>,
        summary: impl Fn(&T) -> &Summary,
    ) -> Result<(T, Vec<Warning>), Failure> {
        let pins = pins(&self.pins)?;
        let given = self.checkpoint.as_deref().map(|path| checkpoint(path, &pins)).transpose()?;
        let wanted = match &given {
            Some(given) => pins.clone().with_seen(freshness::seen(given)),
            None => pins.clone(),
        };
        let found = check(open(&self.file)?, &wanted)?;
        let warnings = freshness::warnings(&pins, given.as_ref(), summary(&found));
        if self.update_pins {
            let text = freshness::updated(&pins, summary(&found)).to_string();
            replace(&self.pins, &text).map_err(|error| Failure::Update { path: self.pins.clone(), error })?;
        }
        Ok((found, warnings))
    }
}

/// Puts `text` in the place of the file at `path`: all of it, durably, or nothing.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn checkpoint(path: &Path, pins: &Pins) -> Result<SignedCheckpoint, Failure> {
    let mut note = Vec::new();
    let read = open(path)?.take(PINS_LEN).read_to_end(&mut note);
    read.map_err(|error| Failure::File { path: path.to_owned(), error })?;
    freshness::open(&note, pins).map_err(|error| Failure::Checkpoint { path: path.to_owned(), error })
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
