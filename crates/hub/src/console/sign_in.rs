//! Who may look at the console: a link that works once, then a session of an hour, which is a cookie and a key that
//! never leaves the browser. The hub keeps hashes of links and cookies only (QT-13: no long-lived credentials), those
//! of sessions in its store, so that they outlast the hub's restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crypto::{Entropy, EntropyError};
use minicbor::{Decode, Encode};
use store::{CellName, Changes, ReadError, StoreHandle};
use tokio::sync::watch;
use types::{Hash, Label, Millis, OperatorId, Timestamp, cbor};

use super::proof::{BrowserKey, Given, Proof};

/// How long a sign-in link may be used.
pub(crate) const LINK_LIFE: Millis = Millis::from_secs(5 * 60);
/// How long a signed-in browser may look.
pub(crate) const SESSION_LIFE: Millis = Millis::from_hours(1);
/// Name of the cookie. The prefix makes browsers insist on `Secure`, `Path=/` and no `Domain`.
pub(crate) const COOKIE: &str = "__Host-qecnet";
/// Most links and most sessions at a time; the oldest gives way.
const MOST: usize = 256;
/// Where sessions are in the store.
const CELLS: &str = "console/";

/// A link that was not used yet.
#[derive(Debug, Clone)]
struct Ticket {
    operator: OperatorId,
    ends: Timestamp,
}

/// A browser that signed in, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Kept {
    #[n(0)]
    operator: OperatorId,
    #[n(1)]
    ends: Timestamp,
    /// Its public key, an uncompressed point of P-256.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    key: Vec<u8>,
}

#[derive(Debug)]
struct Session {
    operator: OperatorId,
    ends: Timestamp,
    key: BrowserKey,
    given: Given,
}

impl Session {
    fn kept(&self) -> Vec<u8> {
        let key = self.key.as_bytes().to_vec();
        cbor::to_vec(&Kept { operator: self.operator.clone(), ends: self.ends, key })
    }
}

/// Makes room for one more: what has ended goes, and the oldest where all places are taken. Returns what went.
fn make_room<T>(kept: &mut BTreeMap<Hash, T>, ends: impl Fn(&T) -> Timestamp, now: Timestamp) -> Vec<Hash> {
    let mut gone: Vec<Hash> = kept.iter().filter(|(_, one)| ends(one) <= now).map(|(token, _)| *token).collect();
    gone.iter().for_each(|token| drop(kept.remove(token)));
    if kept.len() >= MOST
        && let Some(oldest) = kept.iter().min_by_key(|(_, one)| ends(one)).map(|(token, _)| *token)
    {
        kept.remove(&oldest);
        gone.push(oldest);
    }
    gone
}

/// Links and sessions of the console.
pub(crate) struct SignIn {
    links: Mutex<BTreeMap<Hash, Ticket>>,
    sessions: Mutex<BTreeMap<Hash, Session>>,
    cuts: watch::Sender<()>,
    store: StoreHandle,
    /// When the hub started: proofs of before are not remembered.
    since: Timestamp,
}

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedIn {
    pub(crate) operator: OperatorId,
    token: Hash,
}

fn kept_as(token: &str) -> Hash {
    Label::CONSOLE_TOKEN.hash(&[token.as_bytes()])
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cell(token: &Hash) -> Option<CellName> {
    CellName::new(format!("{CELLS}{token}")).ok()
}

impl SignIn {
    /// With the sessions that the store has kept.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn open(store: StoreHandle, now: Timestamp) -> Result<Self, ReadError> {
        let mut sessions = BTreeMap::new();
        for (name, bytes) in store.cells(CELLS).await? {
            let token = name.as_str().strip_prefix(CELLS).and_then(|token| token.parse::<Hash>().ok());
            let kept = cbor::from_slice::<Kept>(&bytes).ok().filter(|kept| kept.ends > now);
            // What cannot be read lets nobody in, which is as it must be.
            let Some((token, kept, key)) = token.zip(kept).and_then(|(token, kept)| {
                let key = BrowserKey::new(&kept.key)?;
                Some((token, kept, key))
            }) else {
                continue;
            };
            let session = Session { operator: kept.operator, ends: kept.ends, key, given: Given::default() };
            sessions.insert(token, session);
        }
        let (links, cuts) = (Mutex::default(), watch::Sender::default());
        Ok(Self { links, sessions: Mutex::new(sessions), cuts, store, since: now })
    }

    /// A new one-time token for `operator`: 256 bits in hex. Returned once, never kept.
    ///
    /// # Errors
    /// [`EntropyError`] where there is no healthy entropy.
    pub(crate) fn invite(
        &self,
        operator: &OperatorId,
        entropy: &Entropy,
        now: Timestamp,
    ) -> Result<(String, Timestamp), EntropyError> {
        let token = hex::encode(entropy.array::<32>()?);
        let ends = now + LINK_LIFE;
        let mut links = lock(&self.links);
        make_room(&mut links, |link| link.ends, now);
        links.insert(kept_as(&token), Ticket { operator: operator.clone(), ends });
        Ok((token, ends))
    }

    /// Uses a one-time token up for the browser that holds `key`, and returns the value of the cookie to set; `None`
    /// for a token that is not known, was used or has ended.
    ///
    /// # Errors
    /// [`EntropyError`] where there is no healthy entropy.
    pub(crate) async fn enter(
        &self,
        token: &str,
        key: BrowserKey,
        entropy: &Entropy,
        now: Timestamp,
    ) -> Result<Option<String>, EntropyError> {
        // Lookup is by hash of 256 random bits: its timing tells nothing of another token.
        let Some(ticket) = lock(&self.links).remove(&kept_as(token)).filter(|ticket| ticket.ends > now) else {
            return Ok(None);
        };
        let cookie = hex::encode(entropy.array::<32>()?);
        let token = kept_as(&cookie);
        let session = Session { operator: ticket.operator, ends: now + SESSION_LIFE, key, given: Given::default() };
        let mut changes = Changes::default();
        if let Some(name) = cell(&token) {
            changes.put_cell(name, session.kept());
        }
        {
            let mut sessions = lock(&self.sessions);
            let gone = make_room(&mut sessions, |session| session.ends, now);
            gone.iter().filter_map(cell).for_each(|name| changes.remove_cell(name));
            sessions.insert(token, session);
        }
        self.keep(changes).await;
        Ok(Some(cookie))
    }

    /// Whose request it is: the cookie names the session, and `proof` is of its key, for this method and path, and
    /// was not given before.
    pub(crate) fn prove(
        &self,
        cookie: &str,
        proof: &Proof,
        method: &str,
        path: &str,
        now: Timestamp,
    ) -> Option<SignedIn> {
        let token = kept_as(cookie);
        let mut sessions = lock(&self.sessions);
        let session = sessions.get_mut(&token).filter(|session| session.ends > now)?;
        let proven = proof.holds(&session.key, method, path) && session.given.take(proof, now, self.since);
        proven.then(|| SignedIn { operator: session.operator.clone(), token })
    }

    /// Whether the session still lasts.
    pub(crate) fn lasts(&self, session: &SignedIn, now: Timestamp) -> bool {
        lock(&self.sessions).get(&session.token).is_some_and(|session| session.ends > now)
    }

    /// Ends one session.
    pub(crate) async fn leave(&self, session: &SignedIn) {
        lock(&self.sessions).remove(&session.token);
        self.cuts.send_replace(());
        self.forget(vec![session.token]).await;
    }

    /// Changes whenever sessions were ended, so that open pages look again.
    pub(crate) fn cuts(&self) -> watch::Receiver<()> {
        self.cuts.subscribe()
    }

    /// Ends every link and session of an operator; in the store too, by a task of its own.
    pub(crate) fn cut(self: &Arc<Self>, operator: &OperatorId) {
        lock(&self.links).retain(|_, link| link.operator != *operator);
        let mut gone = Vec::new();
        lock(&self.sessions).retain(|token, session| {
            let stays = session.operator != *operator;
            if !stays {
                gone.push(*token);
            }
            stays
        });
        self.cuts.send_replace(());
        let this = Arc::clone(self);
        tokio::spawn(async move { this.forget(gone).await });
    }

    async fn forget(&self, sessions: Vec<Hash>) {
        let mut changes = Changes::default();
        sessions.iter().filter_map(cell).for_each(|name| changes.remove_cell(name));
        self.keep(changes).await;
    }

    /// A session that the store does not take lasts until the hub's restart; one that it does not forget ends by
    /// itself, within the hour, and needs the browser's key until then.
    async fn keep(&self, changes: Changes) {
        if !changes.cells.is_empty()
            && let Err(error) = self.store.apply(changes).await
        {
            tracing::warn!(%error, "the store does not keep in step with the console's sessions");
        }
    }
}

/// The cookie's value in a `Cookie` header.
pub(crate) fn cookie_of(header: &str) -> Option<&str> {
    header.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// The `Set-Cookie` header for a session.
pub(crate) fn set_cookie(session: &str) -> String {
    format!("{COOKIE}={session}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Strict", SESSION_LIFE.get() / 1_000)
}

/// The `Set-Cookie` header that takes the cookie back.
pub(crate) fn clear_cookie() -> String {
    format!("{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict")
}

#[cfg(test)]
mod tests;
