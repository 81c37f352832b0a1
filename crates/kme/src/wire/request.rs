use std::borrow::Cow;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::config::Limits;
use crate::id::{KeyUuid, SaeId};

const PREFIX: &str = "/api/v1/keys/";
/// Extension with which a master asks for keys of a given path: `{"qecnet_path": "qkd+kem"}`.
const PATH_EXTENSION: &str = "qecnet_path";
/// Most names of extensions that a refusal repeats.
const NAMES: usize = 16;
/// Longest name of an extension that a refusal repeats, in characters.
const NAME: usize = 64;

/// Which of the three methods of clause 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Get status.
    Status,
    /// Get key.
    EncKeys,
    /// Get key with key IDs.
    DecKeys,
}

/// Method and path of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// What is asked for.
    pub command: Command,
    /// The SAE in the path: the slave, for dec_keys the master.
    pub sae: SaeId,
    /// Whether the request is in the body, not in the query.
    pub by_post: bool,
}

impl Route {
    /// The route of a request line, if there is one.
    pub fn of(method: &Method, path: &str) -> Result<Self, Refusal> {
        let (sae, command) =
            path.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/')).ok_or(Refusal::NoSuchMethod)?;
        let command = match command {
            "status" => Command::Status,
            "enc_keys" => Command::EncKeys,
            "dec_keys" => Command::DecKeys,
            _ => return Err(Refusal::NoSuchMethod),
        };
        let by_post = match (method, command) {
            (&Method::GET, _) => false,
            (&Method::POST, Command::EncKeys | Command::DecKeys) => true,
            _ => return Err(Refusal::NoSuchMethod),
        };
        let sae = unescape(sae).ok_or(Refusal::NoSuchMethod)?;
        let sae = sae.parse().map_err(|error| Refusal::Malformed(format!("{error}")))?;
        Ok(Self { command, sae, by_post })
    }
}

/// The weakest path that a master takes keys from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RequiredPath {
    /// Any path.
    #[default]
    Any,
    /// Bits of a quantum channel must have gone into the key on every hop.
    Quantum,
}

/// Key request data format (clause 6.2), checked against the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncRequest {
    /// Number of keys.
    pub number: u32,
    /// Size of each, in bits; a multiple of 8.
    pub size: u32,
    /// Slaves beside the one in the path, each once.
    pub additional: Vec<SaeId>,
    /// The path wanted.
    pub path: RequiredPath,
}

#[allow(non_snake_case)]
#[derive(Default, Deserialize)]
struct RawEnc {
    number: Option<u64>,
    size: Option<u64>,
    additional_slave_SAE_IDs: Option<Vec<String>>,
    extension_mandatory: Option<Vec<Map<String, Value>>>,
    extension_optional: Option<Vec<Map<String, Value>>>,
}

fn parse<'a, T: Default + Deserialize<'a>>(body: &'a [u8], what: &str) -> Result<T, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    let malformed = |error| Refusal::Malformed(format!("the body shall be a {what} in JSON: {error}"));
    // A derived reader would take an array for the members in order.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Refusal::Malformed(format!("the body shall be a {what} in JSON: an object")));
    }
    serde_json::from_slice(body).map_err(malformed)
}

impl EncRequest {
    /// From the body of a POST; an empty one asks for one key of the default size.
    pub fn from_body(body: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        parse::<RawEnc>(body, "key request").and_then(|raw| raw.check(limits))
    }

    /// From the query of a GET, which has `number` and `size` at most.
    pub fn from_query(query: Option<&str>, limits: &Limits) -> Result<Self, Refusal> {
        let mut raw = RawEnc::default();
        for (name, value) in pairs(query) {
            let place = match &*unescape(name).unwrap_or_default() {
                "number" => &mut raw.number,
                "size" => &mut raw.size,
                "additional_slave_SAE_IDs" | "extension_mandatory" | "extension_optional" => {
                    return Err(Refusal::Malformed("use POST for anything beside number and size".to_owned()));
                }
                _ => continue,
            };
            let value = unescape(value).and_then(|text| text.parse().ok());
            let value = value.ok_or_else(|| Refusal::Malformed(format!("{name} shall be a whole number")))?;
            if place.replace(value).is_some() {
                return Err(Refusal::Malformed(format!("{name} is given twice")));
            }
        }
        raw.check(limits)
    }
}

impl RawEnc {
    fn check(self, limits: &Limits) -> Result<EncRequest, Refusal> {
        let number = self.number.unwrap_or(1);
        if number == 0 || number > u64::from(limits.max_key_per_request) {
            return Err(Refusal::NumberOutOfBounds { max: limits.max_key_per_request });
        }
        let size = self.size.unwrap_or(u64::from(limits.key_size));
        if !size.is_multiple_of(8) {
            return Err(Refusal::SizeNotBytes);
        }
        if size < u64::from(limits.min_key_size) || size > u64::from(limits.max_key_size) {
            return Err(Refusal::SizeOutOfBounds { min: limits.min_key_size, max: limits.max_key_size });
        }
        let path = mandatory(self.extension_mandatory.as_deref().unwrap_or_default())?;
        let optional = self.extension_optional.as_deref().unwrap_or_default();
        if limits.refuse_unhandled_optional && optional.iter().any(|extension| !extension.is_empty()) {
            return Err(Refusal::OptionalUnhandled(names(optional.iter().flat_map(Map::keys))));
        }
        let mut additional = Vec::new();
        if self.additional_slave_SAE_IDs.as_ref().is_some_and(Vec::is_empty) {
            return Err(Refusal::Malformed("additional_slave_SAE_IDs shall name a SAE, or be absent".to_owned()));
        }
        for text in self.additional_slave_SAE_IDs.unwrap_or_default() {
            let sae: SaeId = text.parse().map_err(|error| Refusal::Malformed(format!("{error}")))?;
            if !additional.contains(&sae) {
                if additional.len() >= limits.max_sae_id_count as usize {
                    return Err(Refusal::TooManySlaves { max: limits.max_sae_id_count });
                }
                additional.push(sae);
            }
        }
        Ok(EncRequest { number: number as u32, size: size as u32, additional, path })
    }
}

fn mandatory(extensions: &[Map<String, Value>]) -> Result<RequiredPath, Refusal> {
    let mut unknown = extensions.iter().flat_map(Map::keys).filter(|name| *name != PATH_EXTENSION).peekable();
    if unknown.peek().is_some() {
        return Err(Refusal::MandatoryUnsupported(names(unknown)));
    }
    let mut path = RequiredPath::Any;
    for value in extensions.iter().filter_map(|extension| extension.get(PATH_EXTENSION)) {
        match value.as_str() {
            Some("qkd+kem") => path = RequiredPath::Quantum,
            Some("any") => {}
            _ => return Err(Refusal::MandatoryUnmet(vec![PATH_EXTENSION.to_owned()])),
        }
    }
    Ok(path)
}

impl RequiredPath {
    /// The refusal of a master whose wish cannot be met now.
    pub(crate) fn unmet() -> Refusal {
        Refusal::MandatoryUnmet(vec![PATH_EXTENSION.to_owned()])
    }
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    names.take(NAMES).map(|name| name.chars().take(NAME).collect()).collect()
}

/// Key IDs data format (clause 6.4): the keys asked for, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecRequest {
    /// Their identifiers, in the order given.
    pub ids: Vec<KeyUuid>,
}

#[allow(non_snake_case)]
#[derive(Default, Deserialize)]
struct RawDec<'a> {
    #[serde(borrow)]
    key_IDs: Option<Vec<RawKeyId<'a>>>,
}

#[allow(non_snake_case)]
#[derive(Deserialize)]
struct RawKeyId<'a> {
    #[serde(borrow)]
    key_ID: Cow<'a, str>,
}

impl DecRequest {
    /// From the body of a POST.
    pub fn from_body(body: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        let raw: RawDec<'_> = parse(body, "list of key_IDs")?;
        let ids = raw.key_IDs.unwrap_or_default();
        if ids.is_empty() {
            return Err(Refusal::Malformed("key_IDs shall have at least one member".to_owned()));
        }
        Self::check(ids.iter().map(|id| &*id.key_ID), ids.len(), limits)
    }

    /// From the query of a GET, which has exactly one `key_ID`.
    pub fn from_query(query: Option<&str>, limits: &Limits) -> Result<Self, Refusal> {
        let mut found = pairs(query).filter(|(name, _)| *name == "key_ID");
        match (found.next(), found.next()) {
            (Some((_, value)), None) => {
                let text = unescape(value).unwrap_or_default();
                Self::check(std::iter::once(&*text), 1, limits)
            }
            (None, _) => Err(Refusal::Malformed("key_ID shall be given".to_owned())),
            _ => Err(Refusal::Malformed("use POST for more than one key_ID".to_owned())),
        }
    }

    fn check<'a>(texts: impl Iterator<Item = &'a str>, count: usize, limits: &Limits) -> Result<Self, Refusal> {
        if count > limits.max_key_per_request as usize {
            return Err(Refusal::Malformed(format!(
                "key_IDs shall have at most {} members",
                limits.max_key_per_request
            )));
        }
        let ids: Vec<KeyUuid> =
            texts.map(str::parse).collect::<Result<_, _>>().map_err(|error| Refusal::Malformed(format!("{error}")))?;
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Refusal::Malformed("key_IDs shall have each key_ID once".to_owned()));
        }
        Ok(Self { ids })
    }
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// Undoes percent-encoding (RFC 3986 section 2.1); `None` where it is broken or not UTF-8.
fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut decoded = [0];
            hex::decode_to_slice([bytes.next()?, bytes.next()?], &mut decoded).ok()?;
            out.push(decoded[0]);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests;
