//! What every operator command needs: the deployment, the operator, the way to the hub.

use api::answer::{Done, HeldView, Outcome};
use api::view::{Topic, View};
use api::{Client, ClientError, ErrorCode, LiveStatus, Reply};
use kernel::event;
use serde::Serialize;

use crate::cli::Global;
use crate::deployment::Deployment;
use crate::exit::{Exit, Fault};
use crate::history::History;
use crate::output;

/// Where and as whom a command acts, and how it prints.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) deployment: Deployment,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        let deployment = Deployment::at(global.dir.clone());
        Self { global, deployment }
    }

    /// The operator's client; connects on first use.
    pub(crate) fn client(&self) -> Result<Client, Fault> {
        let operator = self.global.operator.clone();
        let key = self.deployment.operator_key(&operator);
        let client = Client::from_files(&self.deployment.client_config(), operator, &key).map_err(fault)?;
        Ok(client.with_reason(self.global.reason.clone().unwrap_or_default()))
    }

    /// Asks to see `topic`.
    pub(crate) async fn read(&self, topic: Topic) -> Result<View, Fault> {
        let command = event::Command::Read { what: topic.as_str().to_owned() };
        match self.run(command).await? {
            Reply::Done(done) => match done.outcome {
                Outcome::View(view) => Ok(*view),
                _ => Err(unexpected()),
            },
            Reply::Held(_) => Err(unexpected()),
        }
    }

    /// Watches the boundary.
    pub(crate) async fn watch(&self) -> Result<LiveStatus, Fault> {
        self.believed().await?.watch().await.map_err(fault)
    }

    /// The operator's client, after the hub's log was found to go on from what was seen of it before.
    pub(crate) async fn believed(&self) -> Result<Client, Fault> {
        let client = self.client()?;
        History::of(&self.deployment).check(&client).await?;
        Ok(client)
    }

    /// Has a command carried out, with a grant where it needs one.
    pub(crate) async fn run(&self, command: event::Command) -> Result<Reply, Fault> {
        self.believed().await?.run(command).await.map_err(fault)
    }

    /// Has a command carried out and says so.
    pub(crate) async fn act(&self, command: event::Command, done: &str) -> Result<Exit, Fault> {
        match self.run(command).await? {
            Reply::Done(reply) => self.done(&reply, done),
            Reply::Held(held) => self.held(&held),
        }
    }

    /// Says that a command was carried out.
    pub(crate) fn done(&self, reply: &Done, done: &str) -> Result<Exit, Fault> {
        if self.global.json {
            output::json(reply)?;
        } else {
            output::text(&format!("{done} (entry {})\n", reply.entry))?;
        }
        Ok(Exit::Ok)
    }

    /// Says that a command waits for others, and what they must do.
    pub(crate) fn held(&self, held: &HeldView) -> Result<Exit, Fault> {
        if self.global.json {
            output::json(held)?;
        } else {
            output::text(&format!(
                "{} waits for {} approval(s) from the group `{}` (request {}).\n\
                 Another operator runs `qecnet approvals approve {} --as NAME`; then run this command again.\n",
                held.summary, held.needed, held.group, held.request, held.request
            ))?;
        }
        Ok(Exit::Held)
    }

    /// Prints a view: JSON, or the text `render` makes of it.
    pub(crate) fn show<T: Serialize>(&self, value: &T, render: impl FnOnce(&T) -> String) -> Result<Exit, Fault> {
        if self.global.json {
            output::json(value)?;
        } else {
            output::text(&render(value))?;
        }
        Ok(Exit::Ok)
    }
}

/// The answer was of another kind than the question.
pub(crate) fn unexpected() -> Fault {
    Fault::new(Exit::Failed, anyhow::anyhow!("the hub's answer is of another kind: use one version everywhere"))
}

/// Nothing of that name.
pub(crate) fn no_such(what: &str, list: &str) -> Fault {
    Fault::new(Exit::Refused, anyhow::anyhow!("there is no {what}: see `qecnet {list} list`"))
}

/// The exit code of a client error.
pub(crate) fn fault(error: ClientError) -> Fault {
    let exit = match &error {
        ClientError::Config(_) | ClientError::Identity(_) => Exit::Config,
        ClientError::Unreachable { .. } => Exit::Unreachable,
        ClientError::NotTheHub { .. }
        | ClientError::BadGrant(_)
        | ClientError::BadCheckpoint(_)
        | ClientError::BadHeld
        | ClientError::Contradiction { .. } => Exit::Trust,
        ClientError::Refused(body) => match body.code {
            ErrorCode::Unauthenticated => Exit::Trust,
            ErrorCode::StorageFull => Exit::Disk,
            ErrorCode::Internal | ErrorCode::Unavailable => Exit::Failed,
            _ => Exit::Refused,
        },
        ClientError::Write(_) => Exit::Disk,
        _ => Exit::Failed,
    };
    Fault::new(exit, error)
}
