//! `qecnet sae`

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use api::Reply;
use api::view::{NodeView, SaeView, Topic, View};
use crypto::Entropy;
use kernel::event::Command;
use kme::sae::{self, Credential};
use serde::Serialize;
use types::sae::{KmeSpec, SaeSpec};
use types::{Hash, Millis, NodeId, SaeId, Timestamp};

use crate::cli::{AddSae, RenewSae, SaeCommand};
use crate::context::{Context, no_such, unexpected};
use crate::deployment::whole;
use crate::exit::{Exit, Fault, OrExit};
use crate::{output, render};

pub(crate) async fn run(context: &Context, command: SaeCommand) -> Result<Exit, Fault> {
    match command {
        SaeCommand::List => {
            let View::Saes(saes) = context.read(Topic::Saes).await? else { return Err(unexpected()) };
            context.show(&saes, |saes: &Vec<SaeView>| render::saes(saes))
        }
        SaeCommand::Add(new) => add(context, new).await,
        SaeCommand::Renew(renewal) => renew(context, renewal).await,
        SaeCommand::Remove { id } => {
            let done = format!("{id} is given no more keys");
            context.act(Command::RemoveSae { id }, &done).await
        }
    }
}

/// What was added, and where its files are.
#[derive(Serialize)]
struct Added<'a> {
    entry: u64,
    sae: &'a SaeSpec,
    url: &'a str,
    certificate: String,
    key: Option<String>,
    cacert: String,
}

async fn add(context: &Context, new: AddSae) -> Result<Exit, Fault> {
    let kme = kme_of(context, &new.node).await?;
    let folder = new.out.clone().unwrap_or_else(|| context.deployment.saes());
    let (credential, fingerprint) = credential(&new.id, new.certificate.as_deref(), new.life, &folder, &kme)?;
    let mut slaves = new.slaves;
    if let Some(slaves) = &mut slaves {
        slaves.sort();
        slaves.dedup();
    }
    let (id, node, quota_bps, groups) = (new.id, new.node, new.quota_bps, new.groups);
    let spec = SaeSpec { id, node, fingerprint, slaves, quota_bps, groups };
    let done = match context.run(Command::AddSae { spec: spec.clone() }).await? {
        Reply::Done(done) => done,
        Reply::Held(held) => return context.held(&held),
    };
    let own = new.certificate.is_none();
    if context.global.json {
        output::json(&Added {
            entry: done.entry,
            sae: &spec,
            url: &kme.url,
            certificate: credential.certificate.display().to_string(),
            key: own.then(|| credential.key.display().to_string()),
            cacert: credential.authority.display().to_string(),
        })?;
    } else {
        output::text(&told(&spec, &kme, &credential, own, done.entry))?;
    }
    Ok(Exit::Ok)
}

fn told(spec: &SaeSpec, kme: &KmeSpec, credential: &Credential, own: bool, entry: u64) -> String {
    let (certificate, authority) = (credential.certificate.display(), credential.authority.display());
    let key = if own { credential.key.display().to_string() } else { "KEY".to_owned() };
    let slave = spec.slaves.as_ref().and_then(|slaves| slaves.first()).map_or("SLAVE", |slave| slave.as_str());
    format!(
        "{} is given keys at {} (entry {entry})\n\
         certificate  {certificate}\n\
         key          {key}\n\
         KME's own    {authority}\n\n\
         curl --cacert {authority} --cert {certificate} --key {key} {}/api/v1/keys/{slave}/status\n",
        spec.id, spec.node, kme.url
    )
}

/// Makes a new key and certificate beside those in use, and gives them their names once the boundary knows
/// the certificate: whatever stops the command, repeating it goes on from there.
async fn renew(context: &Context, renewal: RenewSae) -> Result<Exit, Fault> {
    let View::Saes(saes) = context.read(Topic::Saes).await? else { return Err(unexpected()) };
    let known = saes.into_iter().find(|one| one.spec.id == renewal.id);
    let known = known.ok_or_else(|| no_such(&format!("application {}", renewal.id), "sae"))?;
    let kme = kme_of(context, &known.spec.node).await?;
    let folder = renewal.out.unwrap_or_else(|| context.deployment.saes());
    let next = folder.join("next");
    let (made, fingerprint) = credential(&renewal.id, renewal.certificate.as_deref(), renewal.life, &next, &kme)?;
    let done = match context.run(Command::RenewSae { id: renewal.id.clone(), fingerprint }).await? {
        Reply::Done(done) => done,
        Reply::Held(held) => return context.held(&held),
    };
    if renewal.certificate.is_none() {
        // The certificate last: where it is, the key that fits it is.
        for file in [&made.key, &made.authority, &made.certificate] {
            let Some(name) = file.file_name().filter(|_| file.exists()) else { continue };
            whole::take_name(file, &folder.join(name)).or_exit(Exit::Disk, "cannot take the new files")?;
        }
    }
    context.done(&done, &format!("{} is known by its new certificate alone", renewal.id))
}

/// The files of a SAE, made where there are none: the command may be repeated, as after an approval.
fn credential(
    id: &SaeId,
    certificate: Option<&Path>,
    life: Millis,
    folder: &Path,
    kme: &KmeSpec,
) -> Result<(Credential, Hash), Fault> {
    let made = if let Some(certificate) = certificate {
        sae::keep(folder, id, &kme.authority, certificate)
    } else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp::from_millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        let entropy = Entropy::system().or_exit(Exit::Failed, "cannot draw keys")?;
        sae::create(folder, id, &kme.authority, &entropy, (now, life))
    };
    made.or_exit(Exit::Disk, "cannot make the files of the application")
}

async fn kme_of(context: &Context, node: &NodeId) -> Result<KmeSpec, Fault> {
    let View::Nodes(nodes) = context.read(Topic::Nodes).await? else { return Err(unexpected()) };
    let found: Option<NodeView> = nodes.into_iter().find(|view| view.id == *node);
    let found = found.ok_or_else(|| no_such(&format!("node {node}"), "nodes"))?;
    found.kme.ok_or_else(|| {
        let text = format!("{node} gives no keys to applications: add `[kme]` with `listen` to its configuration");
        Fault::new(Exit::Refused, anyhow!(text))
    })
}
