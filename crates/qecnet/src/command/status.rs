//! `qecnet status`

use api::view::{Topic, View};

use crate::cli::Status;
use crate::context::{Context, fault, unexpected};
use crate::exit::{Exit, Fault};
use crate::render;

pub(crate) async fn run(context: &Context, status: &Status) -> Result<Exit, Fault> {
    if status.watch {
        return watch(context).await;
    }
    let View::Status(status) = context.read(Topic::Status).await? else { return Err(unexpected()) };
    context.show(&*status, render::status)
}

/// Shows every change until the hub or the reader goes.
async fn watch(context: &Context) -> Result<Exit, Fault> {
    let mut live = context.watch().await?;
    while let Some(status) = live.next().await.map_err(fault)? {
        context.show(&status, render::status)?;
    }
    Ok(Exit::Ok)
}
