//! The console: one page, drawn here once for all who watch, and live. It only shows; every command is signed by an
//! operator's key, which a browser does not have.

mod desk;
mod diagram;
mod history;
mod links;
mod page;
mod proof;
mod scene;
mod section;
mod sign_in;

use std::sync::Arc;

use bytes::Bytes;
use hyper::{Response, StatusCode};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use types::Timestamp;

use self::desk::Desk;
use crate::clock::TimeSource;
use crate::http::{Reply, respond};
use crate::sequencer::Handle;
pub(crate) use history::History;
pub(crate) use proof::{BrowserKey, HEADER as PROOF_HEADER, Proof};
pub(crate) use scene::{Scene, Scenes};
pub(crate) use sign_in::{SignIn, SignedIn};
pub(crate) use sign_in::{clear_cookie, cookie_of, set_cookie};

/// The console's script.
pub(crate) const SCRIPT: &str = include_str!("console/console.js");
/// The library that patches the page with what changed (idiomorph 0.8.0, Zero-Clause BSD).
pub(crate) const MORPH: &str = include_str!("console/vendor/idiomorph-0.8.0.min.js");
/// The console's style sheet.
pub(crate) const STYLE: &str = include_str!("console/console.css");

/// Most pages that are live at a time.
const MOST_LIVE: usize = 64;

/// The console.
pub(crate) struct Console {
    pub(crate) sign_in: Arc<SignIn>,
    history: Arc<History>,
    live: Arc<Semaphore>,
    desk: Arc<Desk>,
}

impl Console {
    pub(crate) fn new(sign_in: Arc<SignIn>, history: Arc<History>) -> Self {
        let desk = Arc::new(Desk::new(Arc::clone(&history)));
        Self { sign_in, history, live: Arc::new(Semaphore::new(MOST_LIVE)), desk }
    }

    pub(crate) fn history(&self) -> Arc<History> {
        Arc::clone(&self.history)
    }

    /// A place among those that watch; `None` where too many do.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.live).try_acquire_owned().ok()
    }

    /// Draws the page while anybody watches, until the hub stops.
    pub(crate) fn draw(&self, handle: Handle) -> impl Future<Output = ()> + Send + 'static {
        let desk = Arc::clone(&self.desk);
        async move { desk.run(&handle).await }
    }

    /// A stream of updates, for as long as the session lasts; `None` where too many pages are live.
    pub(crate) fn events(
        &self,
        handle: Handle,
        session: SignedIn,
        time: TimeSource,
    ) -> Option<mpsc::Receiver<std::io::Result<Bytes>>> {
        let place = self.place()?;
        let (lines, stream) = mpsc::channel(1);
        let (sign_in, desk) = (Arc::clone(&self.sign_in), Arc::clone(&self.desk));
        tokio::spawn(async move {
            let _place = place;
            let viewer = Viewer { handle, session, time, sign_in, desk };
            viewer.show(&lines).await;
        });
        Some(stream)
    }
}

/// One page that is live.
struct Viewer {
    handle: Handle,
    session: SignedIn,
    time: TimeSource,
    sign_in: Arc<SignIn>,
    desk: Arc<Desk>,
}

impl Viewer {
    /// Sends who it is, the whole page and what changes, until the session or the viewer goes.
    async fn show(&self, lines: &mpsc::Sender<std::io::Result<Bytes>>) {
        let mut cut = self.sign_in.cuts();
        let who = serde_json::json!({ "operator": self.session.operator });
        if lines.send(Ok(format!("{who}\n").into())).await.is_err() {
            return;
        }
        while let Some((whole, mut updates)) = self.desk.watch(&self.handle).await {
            let mut next = Ok(whole);
            loop {
                match next {
                    Ok(update) if self.may_see(&update.scene) => {
                        if lines.send(Ok(update.line)).await.is_err() {
                            return;
                        }
                    }
                    // It took too long: it is shown the whole page again.
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return,
                    Ok(_) => {
                        // The browser may have gone; then it needs no farewell.
                        let _ = lines.send(Ok(Bytes::from_static(b"{\"over\":true}\n"))).await;
                        return;
                    }
                }
                next = loop {
                    tokio::select! {
                        update = updates.recv() => break update,
                        // Sessions were ended; perhaps this one.
                        changed = cut.changed() => if changed.is_err() || !self.lasts() {
                            let _ = lines.send(Ok(Bytes::from_static(b"{\"over\":true}\n"))).await;
                            return;
                        },
                        () = lines.closed() => return,
                    }
                };
            }
        }
    }

    fn lasts(&self) -> bool {
        self.sign_in.lasts(&self.session, (self.time)())
    }

    fn may_see(&self, scene: &Scene) -> bool {
        self.lasts() && scene.is_for(&self.session.operator)
    }
}

/// The page, before it is known whose.
pub(crate) fn shell() -> Response<Reply> {
    respond(StatusCode::OK, "text/html; charset=utf-8", Reply::Whole(Some(page::shell().into_string().into())))
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

    use super::{day, time_of_day};

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
}
