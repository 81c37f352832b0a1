//! `qecnet nodes`

use api::view::{NodeView, Topic, View};
use kernel::event::Command;

use crate::cli::Nodes;
use crate::context::{Context, no_such, unexpected};
use crate::deployment::Card;
use crate::exit::{Exit, Fault, OrExit};
use crate::render;

pub(crate) async fn run(context: &Context, nodes: Nodes) -> Result<Exit, Fault> {
    match nodes {
        Nodes::List => context.show(&all(context).await?, |nodes| render::nodes(nodes)),
        Nodes::Show { node } => {
            let found = all(context).await?.into_iter().find(|view| view.id == node);
            let found = found.ok_or_else(|| no_such(&format!("node {node}"), "nodes"))?;
            context.show(&found, |node| render::nodes(std::slice::from_ref(node)))
        }
        Nodes::Admit { card } => {
            let card = Card::load(&card).or_exit(Exit::Config, "cannot use the card")?;
            let node = card.node_spec().or_exit(Exit::Config, "cannot use the card")?;
            let done = format!("{} is admitted", node.id);
            context.act(Command::AdmitNode { links: card.links(), node }, &done).await
        }
        Nodes::Isolate { node } => {
            let done = format!("{node} is cut off");
            context.act(Command::IsolateNode { node }, &done).await
        }
        Nodes::Restore { node } => {
            let done = format!("{node} may connect again");
            context.act(Command::RestoreNode { node }, &done).await
        }
    }
}

async fn all(context: &Context) -> Result<Vec<NodeView>, Fault> {
    match context.read(Topic::Nodes).await? {
        View::Nodes(nodes) => Ok(nodes),
        _ => Err(unexpected()),
    }
}
