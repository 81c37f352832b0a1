//! `qecnet assist`

use kernel::event::Command;

use crate::cli::Assist;
use crate::context::Context;
use crate::exit::{Exit, Fault};

pub(crate) async fn run(context: &Context, assist: &Assist) -> Result<Exit, Fault> {
    let on = assist.mode == "on";
    let done = if on { "responses wait for approval now" } else { "responses are autonomous now" };
    context.act(Command::SetAssisted { on }, done).await
}
