//! Who is given keys: the SAEs of the boundary, the KMEs that serve them, and the account of what they were
//! given (KM-08). No key and no name of a key is here.

use types::sae::{ACCOUNT_LEN, HANDOUTS_PER_ACCOUNT, Handout, KmeSpec, RECEIVERS, SaeSpec};
use types::{Hash, NodeId, SaeId, Timestamp};

use crate::draft::Draft;
use crate::effect::Effect;
use crate::record::{Record, Refusal};

/// Most SAEs of a boundary.
const MOST_SAES: usize = 4_096;
/// Most slaves that one SAE is limited to; with the longest names they fit a request.
const MOST_SLAVES: usize = 128;
/// Longest address of a KME, in bytes.
const URL_LEN: usize = 255;
/// Longest certificate of a KME's authority, in bytes of PEM.
const AUTHORITY_LEN: usize = 8_192;

/// Lets a SAE have keys at a node.
pub(crate) fn add(draft: &mut Draft<'_>, spec: &SaeSpec) {
    if let Err(refusal) = check(draft, spec) {
        return draft.refuse(refusal);
    }
    draft.record(Record::SaeAdded { spec: spec.clone() });
    tell(draft);
}

/// Why `spec` cannot be added: nobody shall approve what cannot be carried out.
pub(crate) fn check(draft: &Draft<'_>, spec: &SaeSpec) -> Result<(), Refusal> {
    let state = draft.state;
    if state.node(&spec.node).is_none() {
        return Err(Refusal::NoSuchNode);
    }
    let same = |known: &SaeSpec| known.id == spec.id || known.fingerprint == spec.fingerprint;
    if state.saes().values().any(|known| same(&known.spec)) {
        return Err(Refusal::NameTaken);
    }
    let slaves = spec.slaves.as_deref().unwrap_or_default();
    let sorted = slaves.is_sorted_by(|a, b| a < b);
    if state.saes().len() >= MOST_SAES || slaves.len() > MOST_SLAVES || !sorted || spec.quota_bps == Some(0) {
        return Err(Refusal::OutOfBounds);
    }
    Ok(())
}

/// Knows a SAE by a new certificate from now on, and no longer by the one before.
pub(crate) fn renew(draft: &mut Draft<'_>, id: &SaeId, fingerprint: &Hash) {
    if let Err(refusal) = check_renew(draft, id, fingerprint) {
        return draft.refuse(refusal);
    }
    let Some(known) = draft.state.sae(id).filter(|known| known.spec.fingerprint != *fingerprint) else { return };
    draft.record(Record::SaeAdded { spec: SaeSpec { fingerprint: *fingerprint, ..known.spec.clone() } });
    tell(draft);
}

/// Why a SAE cannot be known by this certificate. Its own is no fault: the command may be repeated.
pub(crate) fn check_renew(draft: &Draft<'_>, id: &SaeId, fingerprint: &Hash) -> Result<(), Refusal> {
    if draft.state.sae(id).is_none() {
        return Err(Refusal::NoSuchSae);
    }
    let taken = |known: &SaeSpec| known.id != *id && known.fingerprint == *fingerprint;
    if draft.state.saes().values().any(|known| taken(&known.spec)) {
        return Err(Refusal::NameTaken);
    }
    Ok(())
}

/// Takes a SAE away. It is given nothing more.
pub(crate) fn remove(draft: &mut Draft<'_>, id: &SaeId) {
    if draft.state.sae(id).is_none() {
        return draft.refuse(Refusal::NoSuchSae);
    }
    draft.record(Record::SaeRemoved { id: id.clone() });
    tell(draft);
}

/// Has every node told of the SAEs there are.
pub(crate) fn tell(draft: &mut Draft<'_>) {
    let nodes: Vec<NodeId> = draft.state.roster().filter(|node| !draft.is_isolated(node)).cloned().collect();
    if !nodes.is_empty() {
        draft.effect(Effect::Saes(nodes));
    }
}

/// A node says where its KME is.
pub(crate) fn kme_is_up(draft: &mut Draft<'_>, node: &NodeId, kme: &KmeSpec) {
    if draft.state.node(node).is_none() || draft.is_isolated(node) {
        return draft.refuse(Refusal::NoSuchNode);
    }
    if kme.url.len() > URL_LEN || !kme.url.starts_with("https://") || kme.authority.len() > AUTHORITY_LEN {
        return draft.refuse(Refusal::OutOfBounds);
    }
    if draft.state.kme(node).is_none_or(|known| known.spec != *kme) {
        draft.record(Record::KmeKnown { node: node.clone(), kme: kme.clone() });
    }
}

/// A node accounts for keys that it gave to SAEs. `number` rises with every account of a node; one that was
/// taken before is acknowledged and not counted again.
pub(crate) fn handed_out(
    draft: &mut Draft<'_>,
    node: &NodeId,
    number: u64,
    handouts: &[Handout],
    gap: Option<Timestamp>,
) {
    if draft.state.node(node).is_none() {
        return draft.refuse(Refusal::NoSuchNode);
    }
    let fits = |handout: &Handout| handout.is_consistent() && handout.slaves.len() <= RECEIVERS;
    let empty = handouts.is_empty() && gap.is_none();
    let len = handouts.iter().map(Handout::encoded_len).fold(0, usize::saturating_add);
    // A node that keeps account as ours do never says more at a time.
    if handouts.len() > HANDOUTS_PER_ACCOUNT || len > ACCOUNT_LEN {
        return draft.refuse(Refusal::TooLarge);
    }
    if empty || !handouts.iter().all(fits) {
        return draft.refuse(Refusal::OutOfBounds);
    }
    if draft.state.accounted(node) >= number {
        draft.record(Record::Refused(Refusal::Replayed));
    } else {
        draft.record(Record::HandedOut { node: node.clone(), number, handouts: handouts.to_vec(), gap });
    }
    draft.effect(Effect::HandoutsKept { node: node.clone(), number });
}
