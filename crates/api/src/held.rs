//! What is approved is what is seen: a held request is read from the bytes its asker signed, never from
//! what the hub says of them.

use kernel::access::{command_digest, of_command, of_held_response};
use kernel::event::{Request, SignedRequest};
use kernel::record::{Principal, Response};
use types::{Hash, IncidentId, OperatorId, cbor};

use crate::config::ClientConfig;
use crate::request;
use crate::view::ApprovalView;

/// A held request that is what its asker signed, or what the engine's incident calls for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Digest of it, computed here: the one to approve or deny.
    pub digest: Hash,
    /// What it does, in words made here.
    pub summary: String,
    /// Who asks for what.
    pub what: What,
}

/// Who asks for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An operator, for a command.
    Command(Box<Request>),
    /// The engine, for a response to an incident.
    Response(IncidentId, Response),
}

/// What a hub shows to be approved is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeldError {
    /// The bytes are not a signed request in its one form.
    #[error("the hub shows no signed request")]
    Form,
    /// The request is for another boundary.
    #[error("the hub shows a request for another boundary")]
    OtherBoundary,
    /// The request is another person's.
    #[error("the hub says that {said} asks, and the request is of {found}")]
    OtherAsker {
        /// Who asks, says the hub.
        said: String,
        /// Who signed, as the request has it.
        found: OperatorId,
    },
    /// There is no identity here to check the signature with.
    #[error(
        "there is no card of operator {0} here: get it from that person by hand, put it into `cards/` and run \
         `qecnet init trust`"
    )]
    NoCard(OperatorId),
    /// The signature does not hold.
    #[error("the request that the hub shows was not signed by operator {0}")]
    Signature(OperatorId),
    /// The digest is of something else.
    #[error("the hub has another digest than the request it shows")]
    Digest,
    /// The words say something else.
    #[error("the hub says `{said}`, and the request is `{found}`")]
    Summary {
        /// What it does, says the hub.
        said: String,
        /// What it does.
        found: String,
    },
}

impl HeldError {
    /// Whether the hub lied, rather than something missing here.
    pub fn is_a_lie(&self) -> bool {
        !matches!(self, Self::NoCard(_))
    }
}

/// Reads what `view` holds from its bytes, with nothing but the operators known in `config`.
///
/// # Errors
/// [`HeldError`] where anything the hub says of it is not so.
pub fn check(config: &ClientConfig, view: &ApprovalView) -> Result<Checked, HeldError> {
    let (digest, summary, what) = match (&view.asked, &view.response, &view.by) {
        (Some(asked), None, by) => {
            let request = signed_by_its_asker(config, asked, by)?;
            let digest = command_digest(&config.boundary, &request.operator, &request.command);
            (digest, of_command(&request.command), What::Command(Box::new(request)))
        }
        (None, Some((incident, response)), Principal::Engine) => {
            let digest = kernel::response_digest(*incident, response);
            (digest, of_held_response(*incident, response), What::Response(*incident, response.clone()))
        }
        _ => return Err(HeldError::Form),
    };
    if digest != view.digest {
        return Err(HeldError::Digest);
    }
    if summary != view.summary {
        return Err(HeldError::Summary { said: printable(&view.summary), found: summary });
    }
    Ok(Checked { digest, summary, what })
}

fn signed_by_its_asker(config: &ClientConfig, asked: &str, by: &Principal) -> Result<Request, HeldError> {
    let bytes = hex::decode(asked).map_err(|_| HeldError::Form)?;
    let signed: SignedRequest = cbor::from_slice(&bytes).map_err(|_| HeldError::Form)?;
    let asker = &signed.request.operator;
    match by {
        Principal::Operator(said) if said == asker => {}
        Principal::Operator(said) => {
            return Err(HeldError::OtherAsker { said: said.to_string(), found: asker.clone() });
        }
        Principal::Engine | Principal::Node(_) => {
            return Err(HeldError::OtherAsker { said: "the engine".to_owned(), found: asker.clone() });
        }
    }
    let identity = config.identity_of(asker).ok_or_else(|| HeldError::NoCard(asker.clone()))?;
    request::verify(&identity.to_bytes(), &signed).map_err(|_| HeldError::Signature(asker.clone()))?;
    if signed.request.boundary != config.boundary {
        return Err(HeldError::OtherBoundary);
    }
    Ok(signed.request)
}

/// What came from the hub, for a terminal: nothing in it moves the cursor.
fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(200).collect()
}
