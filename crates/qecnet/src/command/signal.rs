//! `qecnet signal`

use kernel::event::Command;
use types::mesh::Subject;

use crate::cli::Signal;
use crate::context::Context;
use crate::exit::{Exit, Fault};

pub(crate) async fn run(context: &Context, signal: Signal) -> Result<Exit, Fault> {
    let done = format!("{} about {} is noted", signal.kind, signal.node);
    let command = Command::Signal { subject: Subject::Node(signal.node), kind: signal.kind };
    context.act(command, &done).await
}
