//! `qecnet break-glass`

use kernel::event::Command;
use types::mesh::Subject;

use crate::cli::BreakGlass;
use crate::context::Context;
use crate::exit::{Exit, Fault};

pub(crate) async fn run(context: &Context, glass: BreakGlass) -> Result<Exit, Fault> {
    let subject = match glass {
        BreakGlass::Node { node } => Subject::Node(node),
        BreakGlass::Credential { operator } => Subject::Operator(operator),
        BreakGlass::Confirm { incident } => {
            let done = format!("what incident {incident} put under quarantine is cut off for good");
            return context.act(Command::ConfirmBreakGlass { incident }, &done).await;
        }
    };
    let done = format!(
        "{subject} is under quarantine for fifteen minutes; `qecnet incidents list` names the incident that \
         another person confirms by `qecnet break-glass confirm`"
    );
    context.act(Command::BreakGlass { subject }, &done).await
}
