//! An operator in hostile hands: the key is real, what it signs is chosen freely.

use std::net::SocketAddr;

use api::{Client, ClientConfig, routes};
use bytes::Bytes;
use crypto::{Entropy, IdentityKey};
use hyper::Method;
use kernel::event::{Command, Request, SignedRequest};
use types::{Hash, OperatorId, Timestamp, cbor};

use crate::{Answered, Outsider};

/// An operator that signs and sends what it likes.
#[derive(Debug)]
pub struct HostileOperator {
    id: OperatorId,
    key: IdentityKey,
    config: ClientConfig,
    entropy: Entropy,
    from: Outsider,
}

impl HostileOperator {
    /// The operator `id` with its `key`, calling the hub that `config` names.
    pub fn new(id: OperatorId, key: IdentityKey, config: ClientConfig) -> Self {
        Self { id, key, config, entropy: Entropy::system().unwrap(), from: Outsider::default() }
    }

    /// As whom it signs.
    pub fn id(&self) -> &OperatorId {
        &self.id
    }

    /// Calls from an address of its choice.
    pub fn from(mut self, outsider: Outsider) -> Self {
        self.from = outsider;
        self
    }

    /// A request signed now, with a fresh nonce.
    pub fn sign(&self, command: Command) -> SignedRequest {
        self.sign_at(command, hub::system_time(), Hash::new(self.entropy.array::<32>().unwrap()))
    }

    /// A request with any time and nonce.
    pub fn sign_at(&self, command: Command, at: Timestamp, nonce: Hash) -> SignedRequest {
        self.sign_request(Request {
            boundary: self.config.boundary.clone(),
            operator: self.id.clone(),
            nonce,
            at,
            grant: None,
            command,
            reason: "a drill".to_owned(),
        })
    }

    /// Any request, signed.
    pub fn sign_request(&self, request: Request) -> SignedRequest {
        api::request::sign(&self.key, request).unwrap()
    }

    /// Sends a signed request, of its own or anyone's.
    ///
    /// # Errors
    /// What broke the connection.
    pub async fn send(&self, signed: &SignedRequest) -> std::io::Result<Answered> {
        self.exchange(Method::POST, routes::REQUESTS, &[], cbor::to_vec(signed)).await
    }

    /// Signs `command` and sends it.
    ///
    /// # Errors
    /// What broke the connection.
    pub async fn ask(&self, command: Command) -> std::io::Result<Answered> {
        self.send(&self.sign(command)).await
    }

    /// Any HTTP request, on a connection of its own.
    ///
    /// # Errors
    /// What broke the connection.
    pub async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> std::io::Result<Answered> {
        let address: SocketAddr = self.config.address.parse().unwrap();
        let stream = self.from.tls(address, self.config.tls_pin).await?;
        Answered::exchange(stream, method, path, headers, body.into()).await
    }

    /// The product's own client, with this operator's key.
    pub fn client(self) -> Client {
        Client::new(self.config, self.id, self.key).unwrap()
    }
}
