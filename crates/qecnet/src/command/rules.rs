//! `qecnet rules`

use kernel::event::Command;

use crate::cli::Rules;
use crate::context::Context;
use crate::exit::{Exit, Fault};

pub(crate) async fn run(context: &Context, rules: &Rules) -> Result<Exit, Fault> {
    let version = rules.activate;
    context
        .act(Command::ActivateRules { version }, &format!("rules version {version} decides from the next entry on"))
        .await
}
