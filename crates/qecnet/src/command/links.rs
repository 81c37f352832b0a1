//! `qecnet links`

use api::view::{LinkView, Topic, View};
use types::LinkId;

use crate::cli::Links;
use crate::context::{Context, no_such, unexpected};
use crate::exit::{Exit, Fault};
use crate::render;

pub(crate) async fn run(context: &Context, links: Links) -> Result<Exit, Fault> {
    match links {
        Links::List => context.show(&all(context).await?, |links| render::links(links)),
        Links::Show { a, b } => {
            let name = format!("link between {a} and {b}");
            let wanted = LinkId::new(a, b).ok_or_else(|| no_such(&name, "links"))?;
            let found =
                all(context).await?.into_iter().find(|view| view.brief.a == *wanted.a() && view.brief.b == *wanted.b());
            let found = found.ok_or_else(|| no_such(&name, "links"))?;
            context.show(&found, render::link)
        }
    }
}

async fn all(context: &Context) -> Result<Vec<LinkView>, Fault> {
    match context.read(Topic::Links).await? {
        View::Links(links) => Ok(links),
        _ => Err(unexpected()),
    }
}
