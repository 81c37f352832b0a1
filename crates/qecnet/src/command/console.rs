//! `qecnet console`

use api::Reply;
use api::answer::Outcome;
use kernel::event::Command;

use crate::context::{Context, unexpected};
use crate::exit::{Exit, Fault};
use crate::output;

pub(crate) async fn run(context: &Context) -> Result<Exit, Fault> {
    let link = sign_in_link(context).await?;
    if context.global.json {
        output::json(&serde_json::json!({ "url": link }))?;
    } else {
        output::text(&format!("{link}\n"))?;
    }
    Ok(Exit::Ok)
}

/// A new one-time sign-in link.
pub(crate) async fn sign_in_link(context: &Context) -> Result<String, Fault> {
    let client = context.believed().await?;
    let reply = client.run(Command::OpenConsole).await.map_err(crate::context::fault)?;
    match reply {
        Reply::Done(done) => match done.outcome {
            Outcome::Console { path, .. } => Ok(format!("https://{}{path}", client.config().address)),
            _ => Err(unexpected()),
        },
        Reply::Held(_) => Err(unexpected()),
    }
}
