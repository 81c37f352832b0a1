//! `qecnet approvals`: what waits for people. What is shown and signed is read from the bytes the asker
//! signed, here; what the hub says of them only has to agree.

use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;

use anyhow::anyhow;
use api::Reply;
use api::held::{self, Checked, HeldError, What};
use api::view::{ApprovalView, Topic, View};
use kernel::event::Command;
use serde::Serialize;
use types::mesh::{SignalKind, Subject};
use types::{NodeId, RequestId};

use crate::cli::Approvals;
use crate::context::{Context, no_such, unexpected};
use crate::exit::{Exit, Fault};
use crate::{output, render};

/// Longest wait for a hub that was caught lying to take a report about itself.
const REPORT_LIMIT: Duration = Duration::from_secs(10);

/// A held request with what is known of it here.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    view: &'a ApprovalView,
    /// What it does, in words made here; absent where it cannot be checked.
    checked: Option<&'a str>,
    /// Why it is asked for.
    reason: Option<&'a str>,
    /// What was asked for, in full.
    command: Option<&'a Command>,
    /// Why it cannot be checked.
    problem: Option<String>,
}

pub(crate) async fn run(context: &Context, approvals: Approvals) -> Result<Exit, Fault> {
    match approvals {
        Approvals::List => list(context).await,
        Approvals::Show { request } => {
            let (view, checked) = seen(context, request).await?;
            let shown = shown(&view, Ok(&checked));
            context.show(&shown, |_| render::held(&view, &checked))
        }
        Approvals::Approve { request } => {
            let checked = decide(context, request, "approve").await?;
            let digest = checked.digest;
            context.act(Command::Approve { request, digest }, &format!("request {request} is approved")).await
        }
        Approvals::Deny { request } => {
            let checked = decide(context, request, "deny").await?;
            let digest = checked.digest;
            context.act(Command::Deny { request, digest }, &format!("request {request} is denied")).await
        }
    }
}

async fn list(context: &Context) -> Result<Exit, Fault> {
    let all = all(context).await?;
    let mut checked = Vec::new();
    for view in &all {
        let found = held::check(context.client()?.config(), view);
        if let Err(error) = &found
            && error.is_a_lie()
        {
            return Err(refuse(context, view, error).await);
        }
        checked.push(found);
    }
    let rows: Vec<_> = all.iter().zip(&checked).map(|(view, found)| shown(view, found.as_ref())).collect();
    context.show(&rows, |_| render::approvals(all.iter().zip(&checked)))
}

fn shown<'a>(view: &'a ApprovalView, found: Result<&'a Checked, &HeldError>) -> Shown<'a> {
    let request = match &found {
        Ok(Checked { what: What::Command(request), .. }) => Some(request),
        _ => None,
    };
    Shown {
        view,
        checked: found.as_ref().ok().map(|checked| checked.summary.as_str()),
        reason: request.map(|request| request.reason.as_str()),
        command: request.map(|request| &request.command),
        problem: found.err().map(ToString::to_string),
    }
}

/// Shows a held request in full, and asks once more where somebody sits at the terminal.
async fn decide(context: &Context, request: RequestId, word: &str) -> Result<Checked, Fault> {
    let (view, checked) = seen(context, request).await?;
    if context.global.json {
        return Ok(checked);
    }
    output::text(&render::held(&view, &checked))?;
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        output::text(&format!("{word} this? [y/N] "))?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Err(Fault::new(Exit::Refused, anyhow!("nothing was signed")));
        }
    }
    Ok(checked)
}

/// A held request, as its asker signed it.
async fn seen(context: &Context, request: RequestId) -> Result<(ApprovalView, Checked), Fault> {
    let found = all(context).await?.into_iter().find(|held| held.request == request);
    let view = found.ok_or_else(|| no_such(&format!("request {request} that waits"), "approvals"))?;
    match held::check(context.client()?.config(), &view) {
        Ok(checked) => Ok((view, checked)),
        Err(error) => Err(refuse(context, &view, &error).await),
    }
}

/// Refuses what does not hold. A hub that lies is reported: in its own log where it lets that happen, and in any
/// case to whoever sits here.
async fn refuse(context: &Context, view: &ApprovalView, error: &HeldError) -> Fault {
    let request = view.request;
    if !error.is_a_lie() {
        return Fault::new(Exit::Trust, anyhow!("request {request} cannot be checked: {error}"));
    }
    let reported = match tokio::time::timeout(REPORT_LIMIT, report(context)).await {
        Ok(Ok(entry)) => format!("this is reported in entry {entry} of its log"),
        Ok(Err(fault)) => format!("it takes no report ({})", output::sentence(&fault.error)),
        Err(_) => "it takes no report in time".to_owned(),
    };
    let advice = "sign nothing, and tell the other operators by another way";
    Fault::new(Exit::Trust, anyhow!("request {request} is not what the hub says: {error}. {reported}: {advice}"))
}

async fn report(context: &Context) -> Result<u64, Fault> {
    let subject = Subject::Node(NodeId::hub());
    let command = Command::Signal { subject, kind: SignalKind::UnauthorizedAccess };
    match context.run(command).await? {
        Reply::Done(done) => Ok(done.entry),
        Reply::Held(_) => Err(unexpected()),
    }
}

async fn all(context: &Context) -> Result<Vec<ApprovalView>, Fault> {
    match context.read(Topic::Approvals).await? {
        View::Approvals(held) => Ok(held),
        _ => Err(unexpected()),
    }
}
