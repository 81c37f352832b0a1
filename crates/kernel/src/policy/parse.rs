//! Reading a policy set: everything that can be wrong with one is found here.

use std::collections::BTreeMap;

use cedar_policy as cedar;
use types::Millis;

use super::index::Index;
use super::memo::Memo;
use super::obligations::{DEFAULT_TTL, MAX_APPROVALS, MAX_TTL, MIN_TTL, Obligations};
use super::request::Names;
use super::{PolicySet, SCHEMA};

/// Longest name of a policy, in bytes.
const ID_LEN: usize = 64;

/// Longest name of a group, in bytes.
const GROUP_LEN: usize = 64;

/// Why a text is not a policy set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not Cedar.
    #[error("the policies cannot be read: {0}")]
    Syntax(String),
    /// The built-in schema cannot be read.
    #[error("the built-in schema cannot be read: {0}")]
    Schema(String),
    /// The policies do not fit the schema.
    #[error("the policies do not fit the schema: {0}")]
    Invalid(String),
    /// A policy has no name, or one that is not of the form of a name.
    #[error("a policy needs a name, as in `@id(\"duty-restore\")`: 1 to 64 of a-z, 0-9 and -, not `{0}`")]
    BadId(String),
    /// Two policies have one name.
    #[error("two policies are named `{0}`: give each its own name")]
    SameId(String),
    /// Templates are not taken: a policy says what it means as it stands.
    #[error("policies with `?principal` or `?resource` are not taken: write the name out")]
    Template,
    /// An annotation has no meaning here.
    #[error("policy `{id}` has an annotation without a meaning here: `@{annotation}`")]
    UnknownAnnotation {
        /// The policy.
        id: String,
        /// The annotation.
        annotation: String,
    },
    /// An annotation's value is not of its form.
    #[error("policy `{id}`: `@{annotation}` {wanted}")]
    BadAnnotation {
        /// The policy.
        id: String,
        /// The annotation.
        annotation: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// A request does not have the shape the schema wants.
    #[error("the request does not fit the schema: {0}")]
    BadRequest(String),
}

pub(super) fn parse(text: &str) -> Result<PolicySet, PolicyError> {
    let text = canonical(text);
    let parsed: cedar::PolicySet =
        text.parse().map_err(|error: cedar::ParseErrors| PolicyError::Syntax(all_of(error.iter())))?;
    if parsed.num_of_templates() > 0 {
        return Err(PolicyError::Template);
    }
    let (schema, _warnings) =
        cedar::Schema::from_cedarschema_str(SCHEMA).map_err(|error| PolicyError::Schema(error.to_string()))?;
    let names = Names::new(schema.clone())?;

    let mut whole = cedar::PolicySet::new();
    let mut index = Index::default();
    let mut obligations = BTreeMap::new();
    for policy in parsed.policies() {
        let id = name_of(policy)?;
        if obligations.insert(id.clone(), obligations_of(&id, policy)?).is_some() {
            return Err(PolicyError::SameId(id));
        }
        let named = policy.new_id(cedar::PolicyId::new(&id));
        index.insert(&named).map_err(|_| PolicyError::SameId(id.clone()))?;
        whole.add(named).map_err(|_| PolicyError::SameId(id))?;
    }
    validate(schema, &whole)?;
    Ok(PolicySet { hash: super::hash_of(&text), text, whole, index, names, obligations, memo: Memo::default() })
}

fn canonical(text: &str) -> String {
    let mut text = text.replace("\r\n", "\n");
    text.truncate(text.trim_end_matches('\n').len());
    text.push('\n');
    text
}

fn validate(schema: cedar::Schema, whole: &cedar::PolicySet) -> Result<(), PolicyError> {
    let result = cedar::Validator::new(schema).validate(whole, cedar::ValidationMode::Strict);
    // A warning is a policy that does not do what it seems to: it can never apply, or it mixes scripts.
    if result.validation_passed_without_warnings() {
        return Ok(());
    }
    let errors = result.validation_errors().map(ToString::to_string);
    let warnings = result.validation_warnings().map(ToString::to_string);
    Err(PolicyError::Invalid(all_of(errors.chain(warnings))))
}

fn all_of<T: ToString>(parts: impl Iterator<Item = T>) -> String {
    let mut parts: Vec<String> = parts.map(|part| part.to_string()).collect();
    // Policies are evaluated in no fixed order; people and tests want one.
    parts.sort();
    parts.join("; ")
}

fn name_of(policy: &cedar::Policy) -> Result<String, PolicyError> {
    let id = policy.annotation("id").unwrap_or_default();
    // `:` must stay out of names: it marks the reason of a policy that failed.
    let well_formed = id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if well_formed && (1..=ID_LEN).contains(&id.len()) {
        Ok(id.to_owned())
    } else {
        Err(PolicyError::BadId(id.chars().take(ID_LEN).collect()))
    }
}

fn obligations_of(id: &str, policy: &cedar::Policy) -> Result<Obligations, PolicyError> {
    let bad = |annotation, wanted| PolicyError::BadAnnotation { id: id.to_owned(), annotation, wanted };
    let mut found = Obligations::default();
    let mut ttl = None;
    for (annotation, value) in policy.annotations().filter(|(annotation, _)| *annotation != "id") {
        if policy.effect() == cedar::Effect::Forbid {
            return Err(PolicyError::UnknownAnnotation { id: id.to_owned(), annotation: annotation.to_owned() });
        }
        match annotation {
            "grant" if value == "required" => found.grant = true,
            "grant" => return Err(bad("grant", "is \"required\" or absent")),
            "ttl" => ttl = Some(parse_ttl(value).ok_or_else(|| bad("ttl", "is a time of 1s to 15m, as in \"60s\""))?),
            "approvals" => {
                found.approvals = parse_approvals(value).ok_or_else(|| bad("approvals", "is a number from 1 to 9"))?;
            }
            "approvers" if is_group(value) => {
                found.approvers.insert(value.to_owned());
            }
            "approvers" => return Err(bad("approvers", "is the name of one group: 1 to 64 of a-z, 0-9, - and _")),
            other => {
                return Err(PolicyError::UnknownAnnotation { id: id.to_owned(), annotation: other.to_owned() });
            }
        }
    }
    if (found.approvals > 0) == found.approvers.is_empty() {
        return Err(bad("approvals", "and `@approvers` go together: say how many and of which group"));
    }
    found.grant |= found.approvals > 0;
    match (ttl, found.grant) {
        (Some(_), false) => return Err(bad("ttl", "is the life of a grant: add `@grant(\"required\")`")),
        (Some(ttl), true) => found.ttl = ttl,
        (None, true) => found.ttl = DEFAULT_TTL,
        (None, false) => {}
    }
    Ok(found)
}

fn parse_ttl(value: &str) -> Option<Millis> {
    value.parse().ok().filter(|ttl| (MIN_TTL..=MAX_TTL).contains(ttl))
}

fn parse_approvals(value: &str) -> Option<u32> {
    // One way to write a number: no sign, no leading zero.
    value.parse().ok().filter(|number: &u32| (1..=MAX_APPROVALS).contains(number) && number.to_string() == value)
}

fn is_group(value: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=GROUP_LEN).contains(&value.len()) && value.bytes().all(is_allowed)
}
