//! What an operator's machine remembers of the log: the newest checkpoint that the hub showed it. A
//! hub whose log is shorter later, or another, is not obeyed and not believed.

use std::fs;
use std::path::{Path, PathBuf};

use api::{Client, ClientError};
use evidence::SignedCheckpoint;
use evidence::pins::Seen;

use crate::context::fault;
use crate::deployment::{Deployment, whole};
use crate::exit::{Exit, Fault, OrExit};

/// The newest checkpoint seen, and where it is kept.
pub(crate) struct History {
    kept: PathBuf,
    conflict: PathBuf,
}

impl History {
    pub(crate) fn of(deployment: &Deployment) -> Self {
        let folder = deployment.operators();
        Self { kept: folder.join("checkpoint"), conflict: folder.join("checkpoint.conflict") }
    }

    /// Asks the hub for its newest checkpoint, and refuses it where its log does not go on from the
    /// one that was kept. Both are kept then: signed by the same keys, they convict the hub.
    pub(crate) async fn check(&self, client: &Client) -> Result<(), Fault> {
        let kept = self.load(client)?.map(|kept| seen(&kept));
        match client.check_history(kept).await {
            Ok(newest) if kept.is_none_or(|kept| kept.size < newest.checkpoint().size) => self.keep(&newest),
            Ok(_) => Ok(()),
            // A hub before its first entry, or one that forgot it all.
            Err(ClientError::Refused(body)) if kept.is_none() && body.code == api::ErrorCode::NotFound => Ok(()),
            Err(error) => {
                if let ClientError::Contradiction { shown, .. } = &error {
                    replace(&self.conflict, shown).or_exit(Exit::Disk, &cannot(&self.conflict))?;
                }
                Err(self.explain(error))
            }
        }
    }

    /// The checkpoint that was kept.
    fn load(&self, client: &Client) -> Result<Option<SignedCheckpoint>, Fault> {
        let note = match fs::read(&self.kept) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.or_exit(Exit::Config, &format!("cannot read {}", self.kept.display()))?,
        };
        let policy = client.config().policy().or_exit(Exit::Config, "the client's configuration")?;
        let opened = policy.open(&note, &api::client::verify_note);
        opened.map(Some).or_exit(
            Exit::Config,
            &format!("{} is not a checkpoint of this log: put back the one that was there", self.kept.display()),
        )
    }

    fn keep(&self, newest: &SignedCheckpoint) -> Result<(), Fault> {
        replace(&self.kept, &newest.note().to_string()).or_exit(Exit::Disk, &cannot(&self.kept))
    }

    fn explain(&self, error: ClientError) -> Fault {
        let contradicts = matches!(error, ClientError::Contradiction { .. });
        let fault = fault(error);
        if !contradicts {
            return fault;
        }
        let (kept, shown) = (self.kept.display(), self.conflict.display());
        let text = format!(
            "what it showed before is in {kept}, what it shows now in {shown}: give both to an auditor. Only where \
             the hub was restored from a backup, and everyone knows of it, remove {kept} and go on"
        );
        Fault::new(fault.exit, fault.error.context(text))
    }
}

fn seen(checkpoint: &SignedCheckpoint) -> Seen {
    let checkpoint = checkpoint.checkpoint();
    Seen { size: checkpoint.size, root: checkpoint.root }
}

fn cannot(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

/// Puts `text` in the place of the file at `path`: all of it, durably, or nothing.
pub(crate) fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    whole::write_beside(path, text.as_bytes(), 0o644)
}
