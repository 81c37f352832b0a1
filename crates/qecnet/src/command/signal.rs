//! `qecnet signal`

use kernel::event::Command;
use types::mesh::Subject;

use crate::cli::Signal;
use crate::context::Context;
use crate::exit::{Exit, Fault};

pub(crate) async fn run(context: &Context, signal: Signal) -> Result<Exit, Fault> {
    if !(0.0..=1.0).contains(&signal.confidence) {
        return Err(Fault::new(Exit::Usage, anyhow::anyhow!("`--confidence` is a number from 0 to 1")));
    }
    let confidence_ppm = (signal.confidence * 1_000_000.0).round() as u32;
    let done = format!("{} about {} is noted", signal.kind, signal.node);
    let command = Command::Signal { subject: Subject::Node(signal.node), kind: signal.kind, confidence_ppm };
    context.act(command, &done).await
}
