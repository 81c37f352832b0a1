//! Parts as processes of their own: started, watched, started again when they die, and stopped
//! together. A part stops when its standard input ends, so that none outlives its supervisor,
//! however the supervisor ends.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

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
    Started { name: String, pid: u32 },
    Died { name: String, status: ExitStatus },
    CannotStart { name: String, error: anyhow::Error },
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
    loop {
        let began = Instant::now();
        match spawn(&program, &part) {
            Ok((mut child, lifeline)) => {
                let _ = tell.send(Happening::Started { name: part.name.clone(), pid: child.id().unwrap_or(0) });
                tokio::select! {
                    status = child.wait() => {
                        if let Ok(status) = status {
                            let _ = tell.send(Happening::Died { name: part.name.clone(), status });
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
