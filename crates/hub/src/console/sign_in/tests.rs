use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::{Entropy, MasterKey, Secret32};
use store::{Store, StoreHandle};
use types::{Label, Millis, OperatorId, Timestamp};

use super::{BrowserKey, LINK_LIFE, MOST, Proof, SESSION_LIFE, SignIn, cookie_of, lock};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

struct Place {
    sign_in: Arc<SignIn>,
    store: StoreHandle,
    entropy: Arc<Entropy>,
    _dir: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let (dir, entropy) = (tempfile::tempdir().unwrap(), Arc::new(Entropy::system().unwrap()));
        let master = MasterKey::generate(&entropy).unwrap();
        let path = dir.path().join("store.db");
        let store = Store::create(&path, &"site".parse().unwrap(), master, Arc::clone(&entropy)).unwrap();
        let store = StoreHandle::spawn(store).unwrap();
        let sign_in = Arc::new(SignIn::open(store.clone(), NOW).await.unwrap());
        Self { sign_in, store, entropy, _dir: dir }
    }

    /// The hub starts again.
    async fn again(&self, at: Timestamp) -> SignIn {
        SignIn::open(self.store.clone(), at).await.unwrap()
    }

    fn invite(&self, name: &str, at: Timestamp) -> String {
        self.sign_in.invite(&op(name), &self.entropy, at).unwrap().0
    }

    async fn enter(&self, token: &str, browser: &Browser, at: Timestamp) -> Option<String> {
        self.sign_in.enter(token, browser.public(), &self.entropy, at).await.unwrap()
    }
}

/// The key of a browser.
struct Browser(EcdsaKeyPair);

impl Browser {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn public(&self) -> BrowserKey {
        BrowserKey::new(self.0.public_key().as_ref()).unwrap()
    }

    fn proof(&self, method: &str, path: &str, at: Timestamp, nonce: u8) -> Proof {
        let (label, at, nonce) = (Label::CONSOLE_PROOF.as_str(), at.as_millis(), hex::encode([nonce; 16]));
        let message = format!("{label}\n{method}\n{path}\n{at}\n{nonce}");
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        Proof::parse(&format!("{at}.{nonce}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))).unwrap()
    }
}

fn op(name: &str) -> OperatorId {
    name.parse().unwrap()
}

/// Whose a request for `/x` is.
fn who(sign_in: &SignIn, cookie: &str, browser: &Browser, at: Timestamp, nonce: u8) -> Option<OperatorId> {
    let proof = browser.proof("GET", "/x", at, nonce);
    sign_in.prove(cookie, &proof, "GET", "/x", at).map(|signed_in| signed_in.operator)
}

/// QT-13
#[tokio::test]
async fn a_link_works_once_and_only_in_time() {
    let (place, browser) = (Place::new().await, Browser::new());
    let token = place.invite("op1", NOW);
    let cookie = place.enter(&token, &browser, NOW).await.unwrap();
    assert_eq!(place.enter(&token, &browser, NOW).await, None);
    assert_eq!(who(&place.sign_in, &cookie, &browser, NOW, 1), Some(op("op1")));
    assert_eq!(who(&place.sign_in, &token, &browser, NOW, 2), None);
    assert_eq!(who(&place.sign_in, &cookie, &browser, NOW + SESSION_LIFE, 3), None);
    let late = place.invite("op1", NOW);
    assert_eq!(place.enter(&late, &browser, NOW + LINK_LIFE).await, None);
}

/// SM-07a: a cookie without the key of its browser opens nothing, and a proof is for one request.
#[tokio::test]
async fn u1_a_stolen_cookie_is_useless() {
    let (place, browser, thief) = (Place::new().await, Browser::new(), Browser::new());
    let cookie = place.enter(&place.invite("op1", NOW), &browser, NOW).await.unwrap();
    assert_eq!(who(&place.sign_in, &cookie, &thief, NOW, 1), None);
    let proof = browser.proof("GET", "/x", NOW, 2);
    assert!(place.sign_in.prove(&cookie, &proof, "POST", "/x", NOW).is_none());
    assert!(place.sign_in.prove(&cookie, &proof, "GET", "/y", NOW).is_none());
    assert!(place.sign_in.prove(&cookie, &proof, "GET", "/x", NOW).is_some());
    assert!(place.sign_in.prove(&cookie, &proof, "GET", "/x", NOW).is_none(), "a proof was taken twice");
}

/// U1: a session outlasts the hub, and a proof of before does not.
#[tokio::test]
async fn u1_a_session_outlasts_the_hub() {
    let (place, browser) = (Place::new().await, Browser::new());
    let [cookie, left] = [1, 2].map(|_| place.invite("op1", NOW));
    let cookie = place.enter(&cookie, &browser, NOW).await.unwrap();
    let left = place.enter(&left, &browser, NOW).await.unwrap();
    let session = place.sign_in.prove(&left, &browser.proof("GET", "/x", NOW, 1), "GET", "/x", NOW).unwrap();
    place.sign_in.leave(&session).await;
    let before = browser.proof("GET", "/x", NOW, 2);
    assert!(place.sign_in.prove(&cookie, &before, "GET", "/x", NOW).is_some());

    let later = NOW + Millis::from_secs(2);
    let again = place.again(later).await;
    assert!(again.prove(&cookie, &before, "GET", "/x", later).is_none(), "a proof was taken twice");
    assert_eq!(who(&again, &cookie, &browser, later, 3), Some(op("op1")));
    assert_eq!(who(&again, &left, &browser, later, 4), None, "what was left came back");
    let over = place.again(NOW + SESSION_LIFE).await;
    assert_eq!(who(&over, &cookie, &browser, NOW + SESSION_LIFE, 5), None);
}

/// SM-08d
#[tokio::test]
async fn a_revoked_operator_loses_links_and_sessions() {
    let (place, browser) = (Place::new().await, Browser::new());
    let (token, other) = (place.invite("op1", NOW), place.invite("op2", NOW));
    let cookie = place.enter(&place.invite("op1", NOW), &browser, NOW).await.unwrap();
    place.sign_in.cut(&op("op1"));
    assert_eq!(place.enter(&token, &browser, NOW).await, None);
    assert_eq!(who(&place.sign_in, &cookie, &browser, NOW, 1), None);
    assert!(place.enter(&other, &browser, NOW).await.is_some());
    // The store forgets it by a task of its own.
    let again = loop {
        let again = place.again(NOW).await;
        if lock(&again.sessions).len() == 1 {
            break again;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(who(&again, &cookie, &browser, NOW, 2), None);
}

#[tokio::test]
async fn the_number_of_links_is_bounded() {
    let (place, browser) = (Place::new().await, Browser::new());
    let first = place.invite("op1", NOW);
    for later in 1..=MOST as u64 {
        place.invite("op1", NOW + Millis::new(later));
    }
    assert_eq!(place.enter(&first, &browser, NOW).await, None);
    assert_eq!(lock(&place.sign_in.links).len(), MOST);
}

#[test]
fn the_cookie_is_found_among_others() {
    assert_eq!(cookie_of("a=b; __Host-qecnet=xyz; c=d"), Some("xyz"));
    assert_eq!(cookie_of("x__Host-qecnet=xyz"), None);
    assert_eq!(cookie_of("__Host-qecnetx=xyz"), None);
}
