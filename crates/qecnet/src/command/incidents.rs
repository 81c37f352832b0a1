//! `qecnet incidents`

use api::view::{IncidentView, Topic, View};
use kernel::event::Command;

use crate::cli::Incidents;
use crate::context::{Context, no_such, unexpected};
use crate::exit::{Exit, Fault};
use crate::render;

pub(crate) async fn run(context: &Context, incidents: Incidents) -> Result<Exit, Fault> {
    match incidents {
        Incidents::List => context.show(&all(context).await?, |incidents| render::incidents(incidents)),
        Incidents::Show { incident } => {
            let found = all(context).await?.into_iter().find(|view| view.id == incident);
            let found = found.ok_or_else(|| no_such(&format!("incident {incident}"), "incidents"))?;
            context.show(&found, render::incident)
        }
        Incidents::Review { incident, note } => {
            let done = format!("incident {incident} is reviewed");
            context.act(Command::ReviewIncident { incident, note }, &done).await
        }
    }
}

async fn all(context: &Context) -> Result<Vec<IncidentView>, Fault> {
    match context.read(Topic::Incidents).await? {
        View::Incidents(incidents) => Ok(incidents),
        _ => Err(unexpected()),
    }
}
