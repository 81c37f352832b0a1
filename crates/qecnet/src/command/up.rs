//! `qecnet up`: a whole mesh on this machine, every part a process of its own.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use api::LiveStatus;
use api::view::StatusView;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use types::mesh::{KeyState, KeyType, NodeState};

use crate::cli::Up;
use crate::command::console;
use crate::context::Context;
use crate::exit::{Exit, Fault, OrExit};
use crate::output;
use crate::places::{self, Place};
use crate::render;
use crate::supervise::{Happening, Supervisor};

/// Between two attempts to watch a hub that is not there yet.
const AGAIN: Duration = Duration::from_secs(1);

pub(crate) async fn run(context: &Context, up: &Up) -> Result<Exit, Fault> {
    if context.deployment.is_new() {
        places::are_free(&[Place::of_argument(up.listen, "--listen")]).await?;
    }
    let fresh = context.deployment.prepare(up)?;
    let places = context.deployment.places().or_exit(Exit::Config, "the deployment cannot start")?;
    places::are_free(&places).await?;
    let program = std::env::current_exe().or_exit(Exit::Failed, "cannot find this program")?;
    let mut live = Live::new(context.global.json);
    live.say(&if fresh {
        format!("made a new deployment in {}", context.deployment.dir().display())
    } else {
        format!("resuming the deployment in {}", context.deployment.dir().display())
    })?;
    let mut supervisor = Supervisor::start(&program, context.deployment.parts()?);
    let mut interrupt = signal(SignalKind::interrupt()).or_exit(Exit::Failed, "cannot wait for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).or_exit(Exit::Failed, "cannot wait for a stop")?;
    let mut status: Option<LiveStatus> = None;
    let mut again = Instant::now() + AGAIN;
    loop {
        tokio::select! {
            happening = supervisor.next() => match happening {
                Some(Happening::Blocked { name, why }) => {
                    supervisor.stop().await;
                    return Err(Fault::new(Exit::Address, anyhow::anyhow!("{name} cannot start: {why}")));
                }
                Some(happening) => live.happened(&happening)?,
                None => break,
            },
            next = next(&mut status), if status.is_some() => match next {
                Some(now) => live.show(context, &now).await?,
                None => status = None,
            },
            () = sleep_until(again), if status.is_none() => {
                status = context.watch().await.ok();
                if status.is_none() {
                    live.draw("waiting for the hub …\n")?;
                }
                again = Instant::now() + AGAIN;
            }
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    drop(status);
    live.say("stopping")?;
    supervisor.stop().await;
    live.say("stopped; start again with the same --dir to resume")?;
    Ok(Exit::Ok)
}

/// The next change; `None` where the hub has gone.
async fn next(status: &mut Option<LiveStatus>) -> Option<StatusView> {
    status.as_mut()?.next().await.ok().flatten()
}

/// What is on the screen: on a terminal a block that is drawn anew, elsewhere a line a change.
struct Live {
    json: bool,
    terminal: bool,
    drawn_lines: usize,
    pids: BTreeMap<String, u32>,
    signed_in: bool,
    last_line: String,
}

impl Live {
    fn new(json: bool) -> Self {
        Self {
            json,
            terminal: std::io::stdout().is_terminal() && !json,
            drawn_lines: 0,
            pids: BTreeMap::new(),
            signed_in: false,
            last_line: String::new(),
        }
    }

    fn say(&mut self, line: &str) -> std::io::Result<()> {
        if self.json {
            return output::json(&serde_json::json!({ "say": line }));
        }
        self.erase()?;
        output::text(&format!("{line}\n"))
    }

    fn happened(&mut self, happening: &Happening) -> Result<(), Fault> {
        match happening {
            Happening::Started { name, pid } => {
                self.pids.insert(name.clone(), *pid);
                if self.json {
                    output::json(&serde_json::json!({ "started": name, "pid": pid }))?;
                } else if !self.terminal {
                    self.say(&format!("started {name} (process {pid})"))?;
                }
            }
            Happening::Died { name, status, why } => {
                let why = why.as_deref().unwrap_or("its log says why");
                self.say(&format!("{name} ended ({status}); starting it again: {why}"))?;
            }
            Happening::Blocked { name, why } => self.say(&format!("{name} cannot start: {why}"))?,
            Happening::CannotStart { name, error } => {
                self.say(&format!("{name} cannot start: {}", output::sentence(error)))?;
            }
        }
        Ok(())
    }

    /// Shows how the mesh stands.
    async fn show(&mut self, context: &Context, status: &StatusView) -> Result<(), Fault> {
        if !self.signed_in {
            let link = console::sign_in_link(context).await?;
            self.say(&format!("console  {link}   (works once; `qecnet console` makes another)"))?;
            self.signed_in = true;
        }
        if self.json {
            output::json(status)?;
        } else if self.terminal {
            self.draw(&format!("{}\nCtrl-C stops everything.\n", render::status(status)))?;
        } else {
            let line = summary(status);
            if line != self.last_line {
                self.say(&line)?;
                self.last_line = line;
            }
        }
        Ok(())
    }

    fn draw(&mut self, block: &str) -> std::io::Result<()> {
        if !self.terminal {
            return Ok(());
        }
        self.erase()?;
        self.drawn_lines = block.lines().count();
        output::text(block)
    }

    fn erase(&mut self) -> std::io::Result<()> {
        if self.drawn_lines > 0 {
            // Cursor up, then erase to the end of the screen (ECMA-48 CUU and ED).
            let mut out = std::io::stdout().lock();
            write!(out, "\x1b[{}A\x1b[0J", self.drawn_lines)?;
            self.drawn_lines = 0;
        }
        Ok(())
    }
}

fn summary(status: &StatusView) -> String {
    let online = status.nodes.iter().filter(|node| node.state == NodeState::Online).count();
    let measured = status.links.iter().filter(|link| link.qber.is_some()).count();
    let count = |state| status.keys.by_state.get(&state).copied().unwrap_or(0);
    let attention = render::attention::what(&status.attention).map(|what| format!("; ATTENTION: {what}"));
    format!(
        "{online}/{} nodes online, {measured}/{} links measured, {} keys active, {} in reserve or under way, \
         {} pair keys, {} open incidents{}",
        status.nodes.len(),
        status.links.len(),
        count(KeyState::Active) + count(KeyState::Rotating),
        count(KeyState::Distributed) + count(KeyState::Generated),
        status.keys.by_type.get(&KeyType::MeshSession).copied().unwrap_or(0),
        status.incidents.open,
        attention.unwrap_or_default()
    )
}
