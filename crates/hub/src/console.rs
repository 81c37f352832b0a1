//! The console: one page, rendered here, live over server-sent events. It only shows; every command
//! is signed by an operator's key, which a browser does not have.

mod diagram;
mod history;
mod links;
mod page;
mod sign_in;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use types::{OperatorId, Timestamp};

use crate::clock::TimeSource;
use crate::http::{Reply, respond};
use crate::sequencer::{Handle, SubmitError};
pub(crate) use history::History;
pub(crate) use sign_in::SignIn;
pub(crate) use sign_in::{cookie_of, set_cookie};

/// The console's script: it replaces the page's content with what the hub sends.
pub(crate) const SCRIPT: &str = include_str!("console/console.js");
/// The console's style sheet.
pub(crate) const STYLE: &str = include_str!("console/console.css");

/// Time between two updates.
const EVERY: Duration = Duration::from_secs(1);
/// Most pages that are live at a time.
const MOST_LIVE: usize = 64;

/// The console.
pub(crate) struct Console {
    pub(crate) sign_in: Arc<SignIn>,
    history: Arc<History>,
    live: Arc<Semaphore>,
}

impl Console {
    pub(crate) fn new(sign_in: Arc<SignIn>, history: Arc<History>) -> Self {
        Self { sign_in, history, live: Arc::new(Semaphore::new(MOST_LIVE)) }
    }

    pub(crate) fn history(&self) -> Arc<History> {
        Arc::clone(&self.history)
    }

    /// A place among those that watch; `None` where too many do.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.live).try_acquire_owned().ok()
    }

    /// The whole page.
    pub(crate) async fn page(&self, handle: &Handle, operator: &OperatorId) -> Result<String, SubmitError> {
        let history = self.history();
        let content = handle.look(move |look| page::content(look, &history).into_string()).await?;
        Ok(page::page(operator, &content).into_string())
    }

    /// A stream of updates, for as long as the session lasts; `None` where too many pages are live.
    pub(crate) fn events(
        &self,
        handle: Handle,
        cookie: String,
        time: TimeSource,
    ) -> Option<mpsc::Receiver<std::io::Result<Bytes>>> {
        let place = self.place()?;
        let (updates, events) = mpsc::channel(1);
        let (sign_in, history) = (Arc::clone(&self.sign_in), self.history());
        tokio::spawn(async move {
            let _place = place;
            let mut cut = sign_in.cuts();
            let mut last = String::new();
            while sign_in.who(&cookie, time()).is_some() {
                let history = Arc::clone(&history);
                let Ok(content) = handle.look(move |look| page::content(look, &history).into_string()).await else {
                    return;
                };
                // An unchanged page is only told to be alive.
                let event = if content == last { ": still\n\n".to_owned() } else { event(&content) };
                if updates.send(Ok(Bytes::from(event))).await.is_err() {
                    return;
                }
                last = content;
                // Either wakes it to look again whether the session lasts.
                let _ = tokio::time::timeout(EVERY, cut.changed()).await;
            }
            // The browser may have gone; then it needs no farewell.
            let _ = updates.send(Ok(Bytes::from_static(b"event: over\ndata: over\n\n"))).await;
        });
        Some(events)
    }
}

fn event(content: &str) -> String {
    let lines: String = content.lines().map(|line| format!("data: {line}\n")).collect();
    format!("{lines}\n")
}

/// What someone without a session sees.
pub(crate) fn signed_out(status: StatusCode) -> Response<Reply> {
    let page = page::signed_out().into_string();
    respond(status, "text/html; charset=utf-8", Reply::Whole(Some(page.into())))
}

/// The date of `at` as `YYYY-MM-DD` (days since 1970 to the Gregorian calendar).
pub(crate) fn day(at: Timestamp) -> String {
    let days = i64::try_from(at.as_millis() / 86_400_000).unwrap_or(0);
    // Counted from 1 March 0000, so that the leap day ends a year; eras have 146,097 days.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year_of_era + carry)
}

/// The time of day of `at`, UTC, as `HH:MM:SS`.
pub(crate) fn time_of_day(at: Timestamp) -> String {
    let seconds = at.as_millis() / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use types::{Millis, Timestamp};

    use super::{day, event, time_of_day};

    #[test]
    fn dates_are_those_of_the_calendar() {
        let after = |days| Timestamp::default() + Millis::from_days(days);
        assert_eq!(day(after(0)), "1970-01-01");
        assert_eq!(day(after(59)), "1970-03-01");
        assert_eq!(day(after(11_016)), "2000-02-29");
        assert_eq!(day(after(11_017)), "2000-03-01");
        assert_eq!(day(after(20_778)), "2026-11-21");
        assert_eq!(time_of_day(Timestamp::from_millis(3_661_999)), "01:01:01");
    }

    /// An update of several lines is one event (WHATWG server-sent events, section 9.2.6).
    #[test]
    fn an_update_is_one_event() {
        assert_eq!(event("a\nb"), "data: a\ndata: b\n\n");
    }
}
