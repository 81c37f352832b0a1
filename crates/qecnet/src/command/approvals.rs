//! `qecnet approvals`

use api::view::{ApprovalView, Topic, View};
use kernel::event::Command;
use types::{Hash, RequestId};

use crate::cli::Approvals;
use crate::context::{Context, no_such, unexpected};
use crate::exit::{Exit, Fault};
use crate::render;

pub(crate) async fn run(context: &Context, approvals: Approvals) -> Result<Exit, Fault> {
    match approvals {
        Approvals::List => context.show(&all(context).await?, |held| render::approvals(held)),
        Approvals::Approve { request } => {
            let digest = digest(context, request).await?;
            context.act(Command::Approve { request, digest }, &format!("request {request} is approved")).await
        }
        Approvals::Deny { request } => {
            let digest = digest(context, request).await?;
            context.act(Command::Deny { request, digest }, &format!("request {request} is denied")).await
        }
    }
}

/// The digest of a held request: an approval names what it approves, not only its number.
async fn digest(context: &Context, request: RequestId) -> Result<Hash, Fault> {
    let found = all(context).await?.into_iter().find(|held| held.request == request);
    found.map(|held| held.digest).ok_or_else(|| no_such(&format!("request {request} that waits"), "approvals"))
}

async fn all(context: &Context) -> Result<Vec<ApprovalView>, Fault> {
    match context.read(Topic::Approvals).await? {
        View::Approvals(held) => Ok(held),
        _ => Err(unexpected()),
    }
}
