//! `qecnet audit`

use std::path::Path;

use api::client::ExportReply;
use tokio::io::AsyncWriteExt;

use crate::cli::Audit;
use crate::context::{Context, fault};
use crate::exit::{Exit, Fault, OrExit};
use crate::output;

pub(crate) async fn run(context: &Context, audit: Audit) -> Result<Exit, Fault> {
    match audit {
        Audit::Export { out } => export(context, &out).await,
        Audit::Pins { out } => {
            let pins = context.deployment.pins().or_exit(Exit::Config, "cannot make the pins")?;
            std::fs::write(&out, pins).or_exit(Exit::Disk, &format!("cannot write {}", out.display()))?;
            said(context, &out, "the pins are in")
        }
    }
}

/// Writes beside the wanted file first, so that an export that breaks off leaves none.
async fn export(context: &Context, out: &Path) -> Result<Exit, Fault> {
    let mut partial = out.as_os_str().to_owned();
    partial.push(".partial");
    let cannot = || format!("cannot write {}", out.display());
    let mut file = tokio::fs::File::create(&partial).await.or_exit(Exit::Disk, &cannot())?;
    let reply = match context.client()?.export(&mut file).await {
        Ok(reply) => reply,
        Err(error) => {
            // The partial file is worthless; that it cannot be removed changes nothing.
            let _ = tokio::fs::remove_file(&partial).await;
            return Err(fault(error));
        }
    };
    match reply {
        ExportReply::Exported(_) => {
            file.shutdown().await.or_exit(Exit::Disk, &cannot())?;
            file.sync_all().await.or_exit(Exit::Disk, &cannot())?;
            tokio::fs::rename(&partial, out).await.or_exit(Exit::Disk, &cannot())?;
            said(context, out, "the log is in")
        }
        ExportReply::Held(held) => {
            let _ = tokio::fs::remove_file(&partial).await;
            context.held(&held)
        }
    }
}

fn said(context: &Context, out: &Path, what: &str) -> Result<Exit, Fault> {
    if context.global.json {
        output::json(&serde_json::json!({ "file": out }))?;
    } else {
        output::text(&format!("{what} {}\n", out.display()))?;
    }
    Ok(Exit::Ok)
}
