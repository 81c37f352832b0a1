//! Parts as processes of their own: started, watched, started again when they die, and stopped
//! together. A part stops when its standard input ends, so that none outlives its supervisor,
//! however the supervisor ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::exit::Exit;

/// First wait before a part that died is started again; doubles while it keeps dying.
const BACK_OFF: Duration = Duration::from_millis(50);
/// Longest such wait.
const BACK_OFF_MOST: Duration = Duration::from_secs(5);
/// A part that ran this long was well: its back-off starts anew.
const WELL: Duration = Duration::from_secs(10);
/// How long a part may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(5);

/// One part to run: what it is called, its arguments and where its log goes.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) log: PathBuf,
}

/// What became of a part.
#[derive(Debug)]
pub(crate) enum Happening {
    Started {
        name: String,
        pid: u32,
    },
    /// It ended and is started again; `why` is the last it said, where it ended by itself.
    Died {
        name: String,
        status: ExitStatus,
        why: Option<String>,
    },
    /// Its address is another's, from the beginning: starting it again would change nothing.
    Blocked {
        name: String,
        why: String,
    },
    CannotStart {
        name: String,
        error: anyhow::Error,
    },
}

/// All parts, until dropped or stopped.
pub(crate) struct Supervisor {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    happenings: mpsc::UnboundedReceiver<Happening>,
}

impl Supervisor {
    /// Starts every part from the program at `program`.
    pub(crate) fn start(program: &Path, parts: Vec<Part>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (tell, happenings) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for part in parts {
            tasks.spawn(watch_over(program.to_path_buf(), part, stopped.clone(), tell.clone()));
        }
        Self { stop, tasks, happenings }
    }

    /// The next thing that happens to a part.
    pub(crate) async fn next(&mut self) -> Option<Happening> {
        self.happenings.recv().await
    }

    /// Stops every part and waits for all of them.
    pub(crate) async fn stop(mut self) {
        // Nobody listening means every part has ended already.
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn watch_over(
    program: PathBuf,
    part: Part,
    mut stopped: watch::Receiver<bool>,
    tell: mpsc::UnboundedSender<Happening>,
) {
    let mut back_off = BACK_OFF;
    let mut was_well = false;
    loop {
        let began = Instant::now();
        match spawn(&program, &part) {
            Ok((mut child, lifeline)) => {
                let _ = tell.send(Happening::Started { name: part.name.clone(), pid: child.id().unwrap_or(0) });
                tokio::select! {
                    status = child.wait() => {
                        if let Ok(status) = status {
                            let (name, why) = (part.name.clone(), status.code().and_then(|_| last_line(&part.log)));
                            was_well |= began.elapsed() >= WELL;
                            if status.code() == Some(Exit::Address as i32) && !was_well {
                                let why = why.unwrap_or_else(|| format!("see {}", part.log.display()));
                                let _ = tell.send(Happening::Blocked { name, why });
                                return told(&mut stopped).await;
                            }
                            let _ = tell.send(Happening::Died { name, status, why });
                        }
                    }
                    () = told(&mut stopped) => {
                        drop(lifeline);
                        if timeout(STOP, child.wait()).await.is_err() {
                            let _ = child.kill().await;
                        }
                        return;
                    }
                }
            }
            Err(error) => {
                let _ = tell.send(Happening::CannotStart { name: part.name.clone(), error });
            }
        }
        if began.elapsed() >= WELL {
            back_off = BACK_OFF;
        }
        tokio::select! {
            () = sleep(back_off) => {}
            () = told(&mut stopped) => return,
        }
        back_off = (back_off * 2).min(BACK_OFF_MOST);
    }
}

/// Ready when the parts shall stop, also because nobody supervises them any more.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// The last line of a log, from its last few thousand bytes.
fn last_line(log: &Path) -> Option<String> {
    const TAIL: u64 = 4_096;
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    tail.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned)
}

fn spawn(program: &Path, part: &Part) -> anyhow::Result<(Child, ChildStdin)> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&part.log)
        .with_context(|| format!("cannot write {}", part.log.display()))?;
    let mut child = Command::new(program)
        .args(&part.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        // Ctrl-C reaches the whole foreground group; the supervisor alone decides who stops when.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", part.name))?;
    let lifeline = child.stdin.take().context("the part has no standard input")?;
    Ok((child, lifeline))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Happening, Part, Supervisor};

    fn part(script: &str, log: &Path) -> Part {
        let arguments = ["-c", script].map(str::to_owned).to_vec();
        Part { name: "p".to_owned(), arguments, log: log.to_owned() }
    }

    /// U6: a part whose port is held when it first starts is not started again, and its own words say why.
    #[tokio::test]
    async fn u6_a_part_whose_port_is_held_is_not_started_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("p.log");
        let mut supervisor =
            Supervisor::start(Path::new("/bin/sh"), vec![part("echo the port is held >&2; exit 9", &log)]);
        assert!(matches!(supervisor.next().await, Some(Happening::Started { .. })));
        let Some(Happening::Blocked { name, why }) = supervisor.next().await else { panic!("it was started again") };
        assert_eq!((name.as_str(), why.as_str()), ("p", "the port is held"));
        supervisor.stop().await;
    }

    /// What ends for another reason is started again, and why it ended is told.
    #[tokio::test]
    async fn a_part_that_fails_is_started_again_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("p.log");
        let mut supervisor = Supervisor::start(Path::new("/bin/sh"), vec![part("echo no luck >&2; exit 1", &log)]);
        for _ in 0..2 {
            assert!(matches!(supervisor.next().await, Some(Happening::Started { .. })));
            let Some(Happening::Died { why, .. }) = supervisor.next().await else { panic!("it did not end") };
            assert_eq!(why.as_deref(), Some("no luck"));
        }
        supervisor.stop().await;
    }
}
