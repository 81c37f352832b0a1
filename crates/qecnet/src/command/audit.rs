//! `qecnet audit`

use std::path::Path;

use anyhow::anyhow;
use api::client::ExportReply;
use evidence::{Founder, Pins};
use tokio::io::AsyncWriteExt;

use crate::cli::Audit;
use crate::context::{Context, fault};
use crate::deployment::{Card, whole};
use crate::exit::{Exit, Fault, OrExit};
use crate::{history, output};

pub(crate) async fn run(context: &Context, audit: Audit) -> Result<Exit, Fault> {
    match audit {
        Audit::Export { out } => export(context, &out).await,
        Audit::Pins { out } => {
            let pins = pins(context).await?;
            let cannot = format!("cannot write {}", out.display());
            history::replace(&out, &pins.to_string()).or_exit(Exit::Disk, &cannot)?;
            said(context, &out, "the pins are in")
        }
    }
}

/// What an auditor pins: the log's keys from what the operator holds, how it began from the hub with its
/// proof, each founder as the card says, and the newest checkpoint. What was pinned here before stays.
async fn pins(context: &Context) -> Result<Pins, Fault> {
    let client = context.believed().await?;
    let founding = client.founding().await.map_err(fault)?;
    let policy = client.config().policy().or_exit(Exit::Config, "cannot make the pins")?;
    let pins = founding.pins(client.config().boundary.clone(), policy);
    check_cards(context, pins.founders())?;
    let kept = context.deployment.operators().join("log.pins");
    if let Ok(before) = std::fs::read_to_string(&kept) {
        let before: Pins = before.parse().or_exit(Exit::Config, &format!("{} is damaged", kept.display()))?;
        if before.genesis() != pins.genesis() {
            let text = format!("the log begins otherwise than when {} was made: do not trust the hub", kept.display());
            return Err(Fault::new(Exit::Trust, anyhow!(text)));
        }
    }
    history::replace(&kept, &pins.to_string()).or_exit(Exit::Disk, &format!("cannot write {}", kept.display()))?;
    Ok(pins)
}

/// Holds the founders the hub names against the cards that people carried here.
fn check_cards(context: &Context, founders: &[Founder]) -> Result<(), Fault> {
    let folder = context.deployment.cards();
    let cards = if folder.exists() { Card::all(&folder).or_exit(Exit::Config, "the cards")? } else { Vec::new() };
    for founder in founders {
        let card = cards.iter().find_map(|card| match (card, founder) {
            (Card::Operator { name, identity, .. }, Founder::Operator(of, _)) if name == of => Some(identity),
            (Card::Node { name, identity, .. }, Founder::Node(of, _)) if name == of => Some(identity),
            _ => None,
        });
        match card {
            Some(identity) if identity.fingerprint() != *founder.identity() => {
                let text =
                    format!("the log's first entry gives {founder} another identity than its card: do not trust it");
                return Err(Fault::new(Exit::Trust, anyhow!(text)));
            }
            Some(_) => {}
            None => tracing::warn!(%founder, "has no card here: compare its fingerprint in the pins with its owner"),
        }
    }
    Ok(())
}

/// Writes beside the wanted file first, so that an export that breaks off leaves none.
async fn export(context: &Context, out: &Path) -> Result<Exit, Fault> {
    let partial = whole::beside(out);
    let cannot = || format!("cannot write {}", out.display());
    let mut file = tokio::fs::File::create(&partial).await.or_exit(Exit::Disk, &cannot())?;
    let reply = match context.believed().await?.export(&mut file).await {
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
            whole::take_name(&partial, out).or_exit(Exit::Disk, &cannot())?;
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
