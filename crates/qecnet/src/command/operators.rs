//! `qecnet operators`

use std::path::Path;

use anyhow::anyhow;
use api::Reply;
use api::view::{OperatorView, Topic, View};
use crypto::Entropy;
use kernel::event::Command;
use types::{Millis, OperatorId};

use crate::cli::Operators;
use crate::context::{Context, unexpected};
use crate::deployment::Card;
use crate::exit::{Exit, Fault, OrExit};
use crate::{output, render};

pub(crate) async fn run(context: &Context, operators: Operators) -> Result<Exit, Fault> {
    match operators {
        Operators::List => {
            let View::Operators(all) = context.read(Topic::Operators).await? else { return Err(unexpected()) };
            context.show(&all, |all: &Vec<OperatorView>| render::operators(all))
        }
        Operators::Card { id, groups } => card(context, &id, &groups),
        Operators::Add { card, life } => take(context, &card, life, false).await,
        Operators::Replace { card, life } => take(context, &card, life, true).await,
        Operators::Renew { id, life } => {
            let done = format!("the key of operator {id} lives for {life} more");
            context.act(Command::RenewOperator { id, life }, &done).await
        }
        Operators::Adopt { id } => adopt(context, &id),
        Operators::Remove { id } => {
            let done = format!("operator {id} acts no more");
            context.act(Command::RemoveOperator { id }, &done).await
        }
    }
}

/// Makes what an operator hands over. The private key never leaves the folder it is made in.
fn card(context: &Context, id: &OperatorId, groups: &[String]) -> Result<Exit, Fault> {
    let deployment = &context.deployment;
    let entropy = Entropy::system().or_exit(Exit::Failed, "cannot draw keys")?;
    let made = if deployment.operator_key(id).exists() && deployment.card(id.as_str()).exists() {
        deployment.create_next(id, groups, &entropy)
    } else {
        deployment.create_operator(id, groups, &entropy).map(|()| deployment.card(id.as_str()))
    };
    let card = made.or_exit(Exit::Config, "cannot make the card")?;
    if context.global.json {
        output::json(&serde_json::json!({ "card": card }))?;
    } else {
        output::text(&format!("the card of operator {id} is {}: hand it over in person\n", card.display()))?;
    }
    Ok(Exit::Ok)
}

/// Has the boundary take the operator of a card, and recognises it here from then on.
async fn take(context: &Context, path: &Path, life: Millis, replace: bool) -> Result<Exit, Fault> {
    let carried = Card::load(path).or_exit(Exit::Config, "cannot use the card")?;
    let card = carried.operator(life).or_exit(Exit::Config, "cannot use the card")?;
    let id = card.id.clone();
    let command = if replace { Command::ReplaceOperator { card } } else { Command::AddOperator { card } };
    match context.run(command).await? {
        Reply::Held(held) => context.held(&held),
        Reply::Done(done) => {
            context.deployment.adopt(&carried).or_exit(Exit::Config, "cannot keep the card")?;
            let told =
                if replace { format!("operator {id} has another key") } else { format!("operator {id} may act") };
            context.done(&done, &told)
        }
    }
}

/// Puts the next key of an operator in use on the machine it was made on.
fn adopt(context: &Context, id: &OperatorId) -> Result<Exit, Fault> {
    let path = context.deployment.next().join(format!("{id}.toml"));
    if !path.exists() {
        let text = format!("no next key of {id} lies here: make one with `qecnet operators card {id}`");
        return Err(Fault::new(Exit::Refused, anyhow!(text)));
    }
    let card = Card::load(&path).or_exit(Exit::Config, "cannot use the card")?;
    context.deployment.adopt(&card).or_exit(Exit::Config, "cannot take the key")?;
    output::text(&format!("operator {id} signs with the next key\n"))?;
    Ok(Exit::Ok)
}
