//! Signed requests: what an operator signs, and how anyone checks it.

use crypto::identity::{ParseIdentityError, SignError, VerifyError};
use crypto::{IdentityKey, IdentityPublic, IdentitySignature};
use kernel::event::{Command, Request, SignedRequest};
use types::{BoundaryId, Hash, Label, OperatorId, cbor};

/// Digest of a command as this operator asks for it in this boundary, to which grants and approvals
/// are bound.
pub fn digest(boundary: &BoundaryId, operator: &OperatorId, command: &Command) -> Hash {
    kernel::access::command_digest(boundary, operator, command)
}

/// Signs `request` with both halves of `key`, over its canonical bytes under [`Label::REQUEST`].
///
/// # Errors
/// [`SignError`] where the library fails.
pub fn sign(key: &IdentityKey, request: Request) -> Result<SignedRequest, SignError> {
    let signature = key.sign(Label::REQUEST, &[&cbor::to_vec(&request)])?.to_bytes();
    Ok(SignedRequest { request, signature })
}

/// A request's signature does not hold.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The key or the signature is malformed.
    #[error(transparent)]
    Parse(#[from] ParseIdentityError),
    /// A half does not hold.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// Checks the signature of `signed` under `identity`, the canonical bytes of a public identity.
///
/// # Errors
/// [`SignatureError`] says what is wrong.
pub fn verify(identity: &[u8], signed: &SignedRequest) -> Result<(), SignatureError> {
    let public = IdentityPublic::from_bytes(identity)?;
    let signature = IdentitySignature::from_bytes(&signed.signature)?;
    Ok(public.verify(Label::REQUEST, &[&cbor::to_vec(&signed.request)], &signature)?)
}

#[cfg(test)]
mod tests {
    use crypto::{Entropy, IdentityKey};
    use kernel::event::{Command, Request};
    use types::{Hash, Timestamp};

    use super::{sign, verify};

    /// SM-07a: the signature binds every field of the request to the key.
    #[test]
    fn a_request_changed_after_signing_does_not_verify() {
        let entropy = Entropy::system().unwrap();
        let key = IdentityKey::generate(&entropy).unwrap();
        let other = IdentityKey::generate(&entropy).unwrap();
        let request = Request {
            boundary: "site".parse().unwrap(),
            operator: "op1".parse().unwrap(),
            nonce: Hash::new([7; 32]),
            at: Timestamp::from_millis(1_000),
            grant: None,
            command: Command::SetAssisted { on: true },
            reason: "a drill".to_owned(),
        };
        let signed = sign(&key, request).unwrap();
        let identity = key.public().to_bytes();
        verify(&identity, &signed).unwrap();
        assert!(verify(&other.public().to_bytes(), &signed).is_err());
        let mut altered = signed.clone();
        altered.request.command = Command::SetAssisted { on: false };
        assert!(verify(&identity, &altered).is_err());
        let mut altered = signed.clone();
        altered.request.nonce = Hash::new([8; 32]);
        assert!(verify(&identity, &altered).is_err());
        let mut altered = signed.clone();
        altered.request.reason = "no drill".to_owned();
        assert!(verify(&identity, &altered).is_err());
        let mut altered = signed;
        altered.signature.pop();
        assert!(verify(&identity, &altered).is_err());
    }
}
