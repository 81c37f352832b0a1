//! A browser as the console's script makes it: a key of its own, a cookie, and lines as they come.

use adversary::{Answered, Deployment};
use api::{Outcome, Reply, routes};
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hub::Hub;
use hyper::Method;
use kernel::event::Command;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use types::{Label, Timestamp};

pub(crate) struct Browser {
    pub(crate) key: EcdsaKeyPair,
    pub(crate) cookie: String,
}

impl Browser {
    /// One that was never signed in.
    pub(crate) fn new() -> Self {
        Self { key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), cookie: String::new() }
    }

    /// One that signed in as `operator`.
    pub(crate) async fn signed_in(deployment: &Deployment, hub: &Hub, operator: &str) -> Self {
        let mut browser = Self::new();
        let entered = browser.enter(deployment, hub, &token(deployment, hub, operator).await).await;
        assert_eq!(entered.status, 204, "{}", String::from_utf8_lossy(&entered.body));
        browser
    }

    /// Uses a sign-in token up.
    pub(crate) async fn enter(&mut self, deployment: &Deployment, hub: &Hub, token: &str) -> Answered {
        let key = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        let body = serde_json::json!({ "token": token, "key": key }).to_string();
        let proof = self.proof("POST", routes::CONSOLE_ENTER);
        let headers = [("qecnet-proof", proof.as_str())];
        let entered = deployment.exchange(hub, Method::POST, routes::CONSOLE_ENTER, &headers, body).await;
        if let Some(cookie) = entered.headers.get("set-cookie") {
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
        entered
    }

    pub(crate) fn proof(&self, method: &str, path: &str) -> String {
        self.proof_at(method, path, hub::system_time())
    }

    pub(crate) fn proof_at(&self, method: &str, path: &str, at: Timestamp) -> String {
        let (label, at) = (Label::CONSOLE_PROOF.as_str(), at.as_millis());
        let mut nonce = [0; 16];
        fill(&mut nonce).unwrap();
        let nonce = hex::encode(nonce);
        let message = format!("{label}\n{method}\n{path}\n{at}\n{nonce}");
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{at}.{nonce}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// One request with cookie and proof.
    pub(crate) async fn ask(&self, deployment: &Deployment, hub: &Hub, method: Method, path: &str) -> Answered {
        let proof = self.proof(method.as_str(), path);
        self.ask_with(deployment, hub, method, path, &proof).await
    }

    pub(crate) async fn ask_with(
        &self,
        deployment: &Deployment,
        hub: &Hub,
        method: Method,
        path: &str,
        proof: &str,
    ) -> Answered {
        let headers = [("cookie", self.cookie.as_str()), ("qecnet-proof", proof)];
        deployment.exchange(hub, method, path, &headers, "").await
    }

    /// Opens the stream of updates.
    pub(crate) async fn watch(&self, deployment: &Deployment, hub: &Hub) -> Watched {
        let mut stream = deployment.connect(hub).await;
        let proof = self.proof("GET", routes::CONSOLE_EVENTS);
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: x\r\ncookie: {}\r\nqecnet-proof: {proof}\r\n\r\n",
            routes::CONSOLE_EVENTS,
            self.cookie
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        Watched { stream: BufReader::new(stream), bytes: 0 }
    }
}

/// A new sign-in token.
pub(crate) async fn token(deployment: &Deployment, hub: &Hub, operator: &str) -> String {
    let Reply::Done(done) = deployment.client(hub, operator).run(Command::OpenConsole).await.unwrap() else {
        panic!("held")
    };
    let Outcome::Console { path, .. } = done.outcome else { panic!("no link") };
    let (page, token) = path.split_once('#').unwrap();
    assert_eq!(page, routes::CONSOLE);
    token.to_owned()
}

/// A stream of updates.
pub(crate) struct Watched {
    stream: BufReader<TlsStream<TcpStream>>,
    /// Bytes read so far.
    pub(crate) bytes: usize,
}

impl Watched {
    /// The next update; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<serde_json::Value> {
        loop {
            let mut line = Vec::new();
            let read = self.stream.read_until(b'\n', &mut line).await.unwrap_or(0);
            self.bytes += read;
            if read == 0 {
                return None;
            }
            // The rest is of HTTP: headers, and lengths of chunks.
            if line.first() == Some(&b'{') {
                return Some(serde_json::from_slice(&line).unwrap());
            }
        }
    }

    /// The next update that has the whole page in it.
    pub(crate) async fn whole(&mut self) -> String {
        loop {
            if let Some(whole) = self.next().await.unwrap()["whole"].as_str() {
                return whole.to_owned();
            }
        }
    }
}
