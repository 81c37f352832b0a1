//! Looking at a KME from outside: what `qecnet doctor kme` reports. Takes no key unless told to.

use hyper::Method;

use super::{Client, ClientError};
use crate::id::SaeId;
use crate::wire::Status;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// Whether it is as the standard says.
    pub good: bool,
    /// What was seen, and what to do about it.
    pub detail: String,
}

/// All that was looked at, in order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Examination {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// Whether all is as the standard says.
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.good)
    }

    fn add(&mut self, what: &'static str, good: bool, detail: impl Into<String>) {
        self.findings.push(Finding { what, good, detail: detail.into() });
    }
}

/// Looks at the KME of `client` as a master of `slave`. With `take`, it takes one key, and sees that another SAE than
/// its slave does not get it.
pub async fn examine(client: &Client, slave: &SaeId, take: bool) -> Examination {
    let mut seen = Examination { findings: Vec::new() };
    let status = match client.status(slave).await {
        Ok(status) => status,
        Err(error) => {
            let reached = !matches!(error, ClientError::Unreachable { .. });
            seen.add("reach", reached, if reached { client.address() } else { error.to_string() });
            if reached {
                let tls = !matches!(error, ClientError::Tls { .. });
                seen.add("tls", tls, if tls { group(client) } else { error.to_string() });
                if tls {
                    seen.add("status", false, error.to_string());
                }
            }
            return seen;
        }
    };
    seen.add("reach", true, client.address());
    seen.add("tls", true, group(client));
    let names = format!(
        "KME {} for SAE {}, KME {} for SAE {}",
        status.source_KME_ID, status.master_SAE_ID, status.target_KME_ID, status.slave_SAE_ID
    );
    seen.add("status", status.slave_SAE_ID == slave.as_str(), names);
    limits(&mut seen, &status);
    let detail = format!("{} of {} keys of {} bits", status.stored_key_count, status.max_key_count, status.key_size);
    seen.add("stock", status.stored_key_count > 0, detail);
    refusals(&mut seen, client, slave).await;
    if take {
        one_key(&mut seen, client, slave, status.key_size).await;
    }
    seen
}

fn group(client: &Client) -> String {
    let group = client.group().unwrap_or_else(|| "unknown".to_owned());
    let note = if group.contains("MLKEM") { "" } else { ": classical, a recorded handshake can be broken later" };
    format!("key exchange {group}{note}")
}

fn limits(seen: &mut Examination, status: &Status) {
    let sizes = [status.min_key_size, status.key_size, status.max_key_size];
    let good = sizes.is_sorted() && sizes.iter().all(|size| size % 8 == 0 && *size > 0);
    seen.add("limits", good && status.max_key_per_request > 0, format!("key sizes {sizes:?} bits"));
}

async fn one_key(seen: &mut Examination, client: &Client, slave: &SaeId, size: u32) {
    let taken = match client.enc_keys(slave, 1, size).await {
        Ok(taken) => taken,
        Err(error) => return seen.add("one key", false, error.to_string()),
    };
    let ids: Vec<String> = taken.into_iter().map(|key| key.id).collect();
    seen.add("one key", true, format!("{} of {size} bits; the slave can fetch it", ids.join(", ")));
    // The caller is the master of this key: it must not be given it as a slave.
    match client.dec_keys(slave, &ids).await {
        Ok(_) => seen.add("entitlement", false, "it gives a key to a SAE that is not its slave"),
        Err(ClientError::Refused { status, message }) => {
            seen.add("entitlement", matches!(status, 400 | 401), format!("{status}: {message}"));
        }
        Err(error) => seen.add("entitlement", false, error.to_string()),
    }
}

/// Requests that every KME must refuse, so that no key is taken.
async fn refusals(seen: &mut Examination, client: &Client, slave: &SaeId) {
    const CASES: [(&str, &str, &str, &str); 4] = [
        ("odd size", "enc_keys", r#"{"size":257}"#, "size shall be a multiple of 8"),
        (
            "mandatory extension",
            "enc_keys",
            r#"{"extension_mandatory":[{"qecnet_doctor_unknown":1}]}"#,
            "not all extension_mandatory parameters are supported",
        ),
        (
            "unknown key",
            "dec_keys",
            r#"{"key_IDs":[{"key_ID":"00000000-0000-4000-8000-000000000000"}]}"#,
            "one or more keys specified are not found on KME",
        ),
        ("malformed body", "enc_keys", "{", ""),
    ];
    for (what, path, body, message) in CASES {
        match client.call(Method::POST, &format!("{slave}/{path}"), Some(body.to_owned())).await {
            Ok(_) => seen.add(what, false, "it answers 200 to a request that the standard refuses"),
            Err(ClientError::Refused { status, message: said }) => {
                let good = status == 400 && (message.is_empty() || said == message);
                seen.add(what, good, format!("{status}: {said}"));
            }
            Err(error) => seen.add(what, false, error.to_string()),
        }
    }
}
