//! Who may look at the console: a link that works once, then a cookie that works for an hour. The
//! hub keeps only hashes of both (QT-13: no long-lived credentials).

use std::collections::BTreeMap;
use std::sync::Mutex;

use crypto::{Entropy, EntropyError};
use tokio::sync::watch;
use types::{Hash, Label, Millis, OperatorId, Timestamp};

/// How long a sign-in link may be used.
pub(crate) const LINK_LIFE: Millis = Millis::from_secs(5 * 60);
/// How long a signed-in browser may look.
pub(crate) const SESSION_LIFE: Millis = Millis::from_hours(1);
/// Name of the cookie. The prefix makes browsers insist on `Secure`, `Path=/` and no `Domain`.
pub(crate) const COOKIE: &str = "__Host-qecnet";
/// Most links and most sessions at a time; the oldest gives way.
const MOST: usize = 256;

#[derive(Debug, Clone)]
struct Ticket {
    operator: OperatorId,
    ends: Timestamp,
}

#[derive(Debug, Default)]
struct Tickets(BTreeMap<Hash, Ticket>);

impl Tickets {
    fn put(&mut self, token: Hash, ticket: Ticket, now: Timestamp) {
        self.0.retain(|_, kept| kept.ends > now);
        if self.0.len() >= MOST
            && let Some(oldest) = self.0.iter().min_by_key(|(_, kept)| kept.ends).map(|(token, _)| *token)
        {
            self.0.remove(&oldest);
        }
        self.0.insert(token, ticket);
    }
}

/// Links and sessions of the console.
#[derive(Debug, Default)]
pub(crate) struct SignIn {
    links: Mutex<Tickets>,
    sessions: Mutex<Tickets>,
    cuts: watch::Sender<()>,
}

fn kept_as(token: &str) -> Hash {
    Label::CONSOLE_TOKEN.hash(&[token.as_bytes()])
}

fn lock(tickets: &Mutex<Tickets>) -> std::sync::MutexGuard<'_, Tickets> {
    tickets.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl SignIn {
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
        lock(&self.links).put(kept_as(&token), Ticket { operator: operator.clone(), ends }, now);
        Ok((token, ends))
    }

    /// Uses a one-time token up and returns the value of the cookie to set; `None` for a token that
    /// is not known, was used or has ended.
    ///
    /// # Errors
    /// [`EntropyError`] where there is no healthy entropy.
    pub(crate) fn enter(&self, token: &str, entropy: &Entropy, now: Timestamp) -> Result<Option<String>, EntropyError> {
        // Lookup is by hash of 256 random bits: its timing tells nothing of another token.
        let Some(ticket) = lock(&self.links).0.remove(&kept_as(token)).filter(|ticket| ticket.ends > now) else {
            return Ok(None);
        };
        let session = hex::encode(entropy.array::<32>()?);
        let ticket = Ticket { ends: now + SESSION_LIFE, ..ticket };
        lock(&self.sessions).put(kept_as(&session), ticket, now);
        Ok(Some(session))
    }

    /// Whose session the cookie is, while it lasts.
    pub(crate) fn who(&self, cookie: &str, now: Timestamp) -> Option<OperatorId> {
        lock(&self.sessions).0.get(&kept_as(cookie)).filter(|ticket| ticket.ends > now).map(|t| t.operator.clone())
    }

    /// Ends one session.
    pub(crate) fn leave(&self, cookie: &str) {
        lock(&self.sessions).0.remove(&kept_as(cookie));
        self.cuts.send_replace(());
    }

    /// Changes whenever sessions were ended, so that open pages look again.
    pub(crate) fn cuts(&self) -> watch::Receiver<()> {
        self.cuts.subscribe()
    }

    /// Ends every link and session of an operator.
    pub(crate) fn cut(&self, operator: &OperatorId) {
        lock(&self.links).0.retain(|_, ticket| ticket.operator != *operator);
        lock(&self.sessions).0.retain(|_, ticket| ticket.operator != *operator);
        self.cuts.send_replace(());
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

#[cfg(test)]
mod tests {
    use crypto::Entropy;
    use types::{Millis, OperatorId, Timestamp};

    use super::{LINK_LIFE, MOST, SESSION_LIFE, SignIn, cookie_of};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn op(name: &str) -> OperatorId {
        name.parse().unwrap()
    }

    /// QT-13
    #[test]
    fn a_link_works_once_and_only_in_time() {
        let (sign_in, entropy) = (SignIn::default(), Entropy::system().unwrap());
        let (token, ends) = sign_in.invite(&op("op1"), &entropy, NOW).unwrap();
        assert_eq!(ends, NOW + LINK_LIFE);
        let cookie = sign_in.enter(&token, &entropy, NOW).unwrap().unwrap();
        assert_eq!(sign_in.enter(&token, &entropy, NOW).unwrap(), None);
        assert_eq!(sign_in.who(&cookie, NOW), Some(op("op1")));
        assert_eq!(sign_in.who(&token, NOW), None);
        assert_eq!(sign_in.who(&cookie, NOW + SESSION_LIFE), None);
        let (late, ends) = sign_in.invite(&op("op1"), &entropy, NOW).unwrap();
        assert_eq!(sign_in.enter(&late, &entropy, ends).unwrap(), None);
        sign_in.leave(&cookie);
        assert_eq!(sign_in.who(&cookie, NOW), None);
    }

    /// SM-08d
    #[test]
    fn a_revoked_operator_loses_links_and_sessions() {
        let (sign_in, entropy) = (SignIn::default(), Entropy::system().unwrap());
        let (token, _) = sign_in.invite(&op("op1"), &entropy, NOW).unwrap();
        let (other, _) = sign_in.invite(&op("op2"), &entropy, NOW).unwrap();
        let cookie =
            sign_in.enter(&sign_in.invite(&op("op1"), &entropy, NOW).unwrap().0, &entropy, NOW).unwrap().unwrap();
        sign_in.cut(&op("op1"));
        assert_eq!(sign_in.enter(&token, &entropy, NOW).unwrap(), None);
        assert_eq!(sign_in.who(&cookie, NOW), None);
        assert!(sign_in.enter(&other, &entropy, NOW).unwrap().is_some());
    }

    #[test]
    fn the_number_of_links_is_bounded() {
        let (sign_in, entropy) = (SignIn::default(), Entropy::system().unwrap());
        let (first, _) = sign_in.invite(&op("op1"), &entropy, NOW).unwrap();
        for later in 1..=MOST as u64 {
            sign_in.invite(&op("op1"), &entropy, NOW + Millis::new(later)).unwrap();
        }
        assert_eq!(sign_in.enter(&first, &entropy, NOW).unwrap(), None);
        assert_eq!(super::lock(&sign_in.links).0.len(), MOST);
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        assert_eq!(cookie_of("a=b; __Host-qecnet=xyz; c=d"), Some("xyz"));
        assert_eq!(cookie_of("x__Host-qecnet=xyz"), None);
        assert_eq!(cookie_of("__Host-qecnetx=xyz"), None);
    }
}
