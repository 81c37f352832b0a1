//! `qecnet keys`

use api::view::{KeyView, Topic, View};
use kernel::event::Command;

use crate::cli::Keys;
use crate::context::{Context, no_such, unexpected};
use crate::exit::{Exit, Fault};
use crate::render;

pub(crate) async fn run(context: &Context, keys: Keys) -> Result<Exit, Fault> {
    match keys {
        Keys::List => context.show(&all(context).await?, |keys| render::keys(keys)),
        Keys::Show { key } => {
            let found = all(context).await?.into_iter().find(|view| view.id == key);
            let found = found.ok_or_else(|| no_such(&format!("key {key} that is not long destroyed"), "keys"))?;
            context.show(&found, |key| render::keys(std::slice::from_ref(key)))
        }
        Keys::Rotate { key_type, emergency } => {
            let which = key_type.map_or_else(|| "keys".to_owned(), |key_type| format!("{key_type} keys"));
            let done = if emergency {
                format!("all {which} are revoked and replaced from reserve")
            } else {
                format!("rotation of all {which} has begun")
            };
            context.act(Command::RotateKeys { key_type, emergency }, &done).await
        }
    }
}

async fn all(context: &Context) -> Result<Vec<KeyView>, Fault> {
    match context.read(Topic::Keys).await? {
        View::Keys(keys) => Ok(keys),
        _ => Err(unexpected()),
    }
}
