//! `qecnet init`

use api::ClientConfig;
use crypto::Entropy;

use crate::cli::InitPart;
use crate::context::Context;
use crate::deployment::{NewHub, NewNode};
use crate::exit::{Exit, Fault, OrExit};
use crate::output;

pub(crate) fn run(context: &Context, part: InitPart) -> Result<Exit, Fault> {
    let deployment = &context.deployment;
    let entropy = Entropy::system().or_exit(Exit::Failed, "cannot draw keys")?;
    let cards = deployment.cards();
    let said = match part {
        InitPart::Hub { boundary, listen, mesh_listen, public_listen, refresh } => {
            if deployment.client_config().exists() {
                return Err(exists("a hub", context));
            }
            let new = NewHub { boundary, listen, mesh_listen, public_listen, refresh };
            deployment.create_hub(&new, &entropy).or_exit(Exit::Config, "cannot make the hub")?;
            format!("the hub is made; its card is {}", cards.join("hub.toml").display())
        }
        InitPart::Node { id, function, listen, boundary, hub, kme, links, allow_connect } => {
            if deployment.node(&id).exists() && deployment.card(id.as_str()).exists() {
                return Err(exists(&format!("node {id}"), context));
            }
            let new = NewNode { id, function, boundary, listen, hub, links, kme, allow_connect };
            deployment.create_node(&new, &entropy).or_exit(Exit::Config, "cannot make the node")?;
            format!("node {} is made; its card is {}", new.id, cards.join(format!("{}.toml", new.id)).display())
        }
        InitPart::Operator { id, groups } => {
            if deployment.operator_key(&id).exists() && deployment.card(id.as_str()).exists() {
                return Err(exists(&format!("operator {id}"), context));
            }
            deployment.create_operator(&id, &groups, &entropy).or_exit(Exit::Config, "cannot make the operator")?;
            format!("operator {id} is made; the card is {}", cards.join(format!("{id}.toml")).display())
        }
        InitPart::Trust { boundary } => {
            let boundary = match ClientConfig::load(&deployment.client_config()) {
                Ok(client) => client.boundary,
                Err(_) => boundary,
            };
            deployment.apply_cards(&boundary).or_exit(Exit::Config, "cannot make the trust files")?;
            format!("every trust file here follows the cards in {}", cards.display())
        }
    };
    if context.global.json {
        output::json(&serde_json::json!({ "cards": cards }))?;
    } else {
        output::text(&format!("{said}\n"))?;
    }
    Ok(Exit::Ok)
}

fn exists(what: &str, context: &Context) -> Fault {
    let text = format!("{what} exists in {}: nothing was changed", context.deployment.dir().display());
    Fault::new(Exit::Refused, anyhow::anyhow!(text))
}
