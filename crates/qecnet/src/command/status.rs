//! `qecnet status`

use api::view::{Topic, View};

use crate::context::{Context, unexpected};
use crate::exit::{Exit, Fault};
use crate::render;

pub(crate) async fn run(context: &Context) -> Result<Exit, Fault> {
    let View::Status(status) = context.read(Topic::Status).await? else { return Err(unexpected()) };
    context.show(&status, render::status)
}
