//! `qecnet forward`

use api::view::{Topic, View};
use kernel::event::Command;
use types::mesh::ForwardSpec;

use crate::cli::ForwardCommand;
use crate::context::{Context, unexpected};
use crate::exit::{Exit, Fault};
use crate::render;

pub(crate) async fn run(context: &Context, forward: ForwardCommand) -> Result<Exit, Fault> {
    match forward {
        ForwardCommand::List => {
            let View::Forwards(forwards) = context.read(Topic::Forwards).await? else { return Err(unexpected()) };
            context.show(&forwards, |forwards| render::forwards(forwards))
        }
        ForwardCommand::Add { node, listen, to, connect } => {
            let done = format!("{node} forwards {listen} to {connect} at {to}");
            let spec = ForwardSpec { node, listen: listen.to_string(), to, connect: connect.to_string() };
            context.act(Command::AddForward { spec }, &done).await
        }
        ForwardCommand::Remove { id } => {
            context.act(Command::RemoveForward { id }, &format!("forward {id} is removed")).await
        }
    }
}
