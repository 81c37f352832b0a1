//! `POST /v1/requests`: authenticate, have it stepped and recorded, answer from the receipt.

use bytes::Bytes;
use hyper::{Response, StatusCode, header};
use kernel::event::{Command, Event, SignedRequest};
use kernel::record::{Principal, Record, Refusal};
use types::mesh::{SignalKind, Subject};
use types::{OperatorId, cbor};

use api::view::{FOUNDING, STATUS_LIVE, Topic, View};
use api::{Answer, Done, ErrorBody, ErrorCode, GrantView, HeldView, Outcome, routes};

use super::body::{Reply, failure, json, respond};
use super::router::App;
use crate::sequencer::{CommitError, Receipt, SubmitError};

/// What a read names that is nothing of ours.
fn unknown_topic() -> ErrorBody {
    let words: Vec<_> = Topic::ALL.iter().map(|topic| topic.as_str()).collect();
    ErrorBody::with_message(ErrorCode::NotFound, format!("read one of: {}", words.join(", ")))
}

impl App {
    pub(super) async fn request(&self, body: &Bytes) -> Response<Reply> {
        match self.handle_request(body).await {
            Ok(response) => response,
            Err(error) => failure(error),
        }
    }

    async fn handle_request(&self, body: &Bytes) -> Result<Response<Reply>, ErrorBody> {
        let signed: SignedRequest = cbor::from_slice(body).map_err(|_| ErrorCode::Malformed)?;
        self.authenticate(&signed).await?;
        if !self.gate.lets_ask(&signed.request.operator) {
            return Err(ErrorCode::TooMany.into());
        }
        if let Command::AddOperator { card } | Command::ReplaceOperator { card } = &signed.request.command {
            // An identity that is none could never sign: it is refused before anything is recorded.
            crypto::IdentityPublic::from_bytes(&card.identity).map_err(|_| ErrorCode::Malformed)?;
        }
        let (operator, command) = (signed.request.operator.clone(), signed.request.command.clone());
        if let Command::ActivateRules { version } = command
            && !kernel::rules::is_known(version)
        {
            let text =
                format!("this hub knows rules up to version {}: start one that knows {version} first", kernel::RULES);
            return Err(ErrorBody::with_message(ErrorCode::Malformed, text));
        }
        if let Command::Read { what } = &command
            && what != STATUS_LIVE
            && what != FOUNDING
            && Topic::parse(what).is_none()
        {
            return Err(unknown_topic());
        }
        let receipt = match self.handle.request(Event::Request(Box::new(signed))).await {
            Err(SubmitError::Refused(refusal)) => return Err(self.not_of_now(operator, refusal).await),
            other => other.map_err(|error| told(&error))?,
        };
        if let Some(error) = refused(&receipt, &operator) {
            return Err(error);
        }
        if let Some(held) = self.held(&receipt, &operator, &command).await? {
            return Ok(json(StatusCode::ACCEPTED, &Answer::Held(held)));
        }
        let grant = GrantView::find(receipt.records());
        if let (Some((grant, operator, digest, expires)), false) = (&grant, is_verdict(&command)) {
            let entry = hex::encode(receipt.entry());
            let proof = self.log.prove(receipt).await.ok_or(ErrorCode::Internal)?.to_string();
            let view = GrantView {
                grant: *grant,
                operator: operator.clone(),
                digest: *digest,
                expires: *expires,
                entry,
                proof,
            };
            return Ok(json(StatusCode::OK, &Answer::Granted(view)));
        }
        self.carry_out(&operator, &command, receipt).await
    }

    /// Checks that the request is of now and new, and signed by the operator it names with the key that the log
    /// knows. What fails leaves no entry of its own: an outsider, or who holds an export with every request in
    /// it, must not be able to fill the log.
    async fn authenticate(&self, signed: &SignedRequest) -> Result<(), ErrorBody> {
        let unauthenticated = ErrorBody::new(ErrorCode::Unauthenticated);
        let (boundary, operator) = (signed.request.boundary.clone(), signed.request.operator.clone());
        let (about, nonce, at) = (operator.clone(), signed.request.nonce, signed.request.at);
        let known = self.handle.look(move |look| {
            let here = look.state.id() == Some(&boundary);
            let known = look.state.operator(&about).filter(|operator| here && !operator.revoked)?;
            let access = look.state.access();
            let refusal = if !access.is_fresh(at, look.now.max(look.state.clock())) {
                Some(Refusal::Stale)
            } else {
                access.is_spent(&about, &nonce).then_some(Refusal::Replayed)
            };
            Some((known.identity.clone(), refusal))
        });
        let (identity, refusal) = known.await.map_err(|error| told(&error))?.ok_or(unauthenticated.clone())?;
        // before the signature, which costs more to check than this did
        if let Some(refusal) = refusal {
            return Err(self.not_of_now(operator, refusal).await);
        }
        let Err(error) = api::request::verify(&identity, signed) else { return Ok(()) };
        tracing::warn!(%operator, %error, "a request's signature does not hold");
        self.notices.tell(Subject::Operator(operator), SignalKind::AuthFailure, 200_000).await;
        Err(unauthenticated)
    }

    /// Answers a request that was made before or at another time; one signal an operator in ten seconds.
    async fn not_of_now(&self, operator: OperatorId, refusal: Refusal) -> ErrorBody {
        self.notices.tell(Subject::Operator(operator), SignalKind::Replay, 200_000).await;
        ErrorBody::with_message(api::error::code_of(&refusal), refusal.to_string())
    }

    /// The held request that waits for approvals, whether this request began it or asked again.
    async fn held(
        &self,
        receipt: &Receipt,
        operator: &OperatorId,
        command: &Command,
    ) -> Result<Option<HeldView>, ErrorBody> {
        let moved_on = |record: &Record| matches!(record, Record::Granted { .. } | Record::GrantUsed { .. });
        if receipt.records().iter().any(moved_on) {
            return Ok(None);
        }
        let (asker, operator, command) = (Principal::Operator(operator.clone()), operator.clone(), command.clone());
        let entry = receipt.index();
        let held = self.handle.look(move |look| {
            let digest = api::request::digest(look.state.id()?, &operator, &command);
            let (request, held) = look.state.access().held_for(&asker, &digest)?;
            Some(HeldView {
                entry,
                request,
                digest,
                summary: held.summary.clone(),
                needed: held.needed,
                group: held.group.clone(),
                expires: held.expires,
            })
        });
        held.await.map_err(|error| told(&error))
    }

    /// Answers a command that was permitted and recorded.
    async fn carry_out(
        &self,
        operator: &OperatorId,
        command: &Command,
        receipt: Receipt,
    ) -> Result<Response<Reply>, ErrorBody> {
        let entry = receipt.index();
        let outcome = match command {
            Command::ExportAudit => return Ok(self.export(receipt)),
            Command::Read { what } if what == STATUS_LIVE => return self.live(operator),
            Command::Read { what } if what == FOUNDING => {
                Outcome::Founding(self.log.founding(receipt).await.ok_or(ErrorCode::Internal)?)
            }
            Command::Read { what } => {
                let topic = Topic::parse(what).ok_or_else(unknown_topic)?;
                Outcome::View(Box::new(self.view(topic).await?))
            }
            Command::OpenConsole => {
                let invited = self.console.sign_in.invite(operator, &self.entropy, (self.time)());
                let (token, expires) = invited.map_err(|_| ErrorCode::Unavailable)?;
                Outcome::Console { path: format!("{}#{token}", routes::CONSOLE), expires }
            }
            Command::Approve { request, .. } => {
                Outcome::Approved { request: *request, complete: self.is_complete(*request).await? }
            }
            Command::Deny { request, .. } => Outcome::Denied { request: *request },
            _ => forward_of(&receipt).map_or(Outcome::Recorded, Outcome::Forward),
        };
        Ok(json(StatusCode::OK, &Answer::Done(Done { entry, outcome })))
    }

    async fn is_complete(&self, request: types::RequestId) -> Result<bool, ErrorBody> {
        let complete = self.handle.look(move |look| {
            let held = look.state.access().held().get(&request);
            held.is_none_or(|held| held.approved_by.len() >= held.needed as usize)
        });
        complete.await.map_err(|error| told(&error))
    }

    async fn view(&self, topic: Topic) -> Result<View, ErrorBody> {
        let history = self.console.history();
        let view = self.handle.look(move |look| crate::view::view(topic, look, &history)).await;
        let mut view = view.map_err(|error| told(&error))?.ok_or(ErrorCode::Unavailable)?;
        if let View::Status(status) = &mut view {
            status.public = self.public.clone();
        }
        Ok(view)
    }

    fn export(&self, receipt: Receipt) -> Response<Reply> {
        let entry = receipt.index();
        let mut response = respond(StatusCode::OK, routes::BUNDLE, Reply::Stream(self.log.export(receipt)));
        response.headers_mut().insert(routes::ENTRY_HEADER, header::HeaderValue::from(entry));
        response
    }
}

/// Commands that say yes or no to the request of another.
fn is_verdict(command: &Command) -> bool {
    matches!(command, Command::Approve { .. } | Command::Deny { .. })
}

fn forward_of(receipt: &Receipt) -> Option<types::ForwardId> {
    receipt.records().iter().find_map(|record| match record {
        Record::ForwardAdded { id, .. } => Some(*id),
        _ => None,
    })
}

/// The refusal of the kernel or of policy, if the request met one.
fn refused(receipt: &Receipt, operator: &OperatorId) -> Option<ErrorBody> {
    let asker = Principal::Operator(operator.clone());
    receipt.records().iter().find_map(|record| match record {
        Record::Refused(refusal) => Some(ErrorBody {
            entry: Some(receipt.index()),
            ..ErrorBody::with_message(api::error::code_of(refusal), refusal.to_string())
        }),
        Record::Decided(decision) if decision.principal == asker && !decision.permit => Some(ErrorBody {
            reasons: decision.reasons.clone(),
            entry: Some(receipt.index()),
            ..ErrorBody::with_message(
                ErrorCode::Denied,
                format!("policy does not permit `{}` on {}", decision.action, decision.resource),
            )
        }),
        _ => None,
    })
}

/// What a caller is told when nothing was recorded; the details stay in the hub's own log.
fn told(error: &SubmitError) -> ErrorBody {
    match error {
        SubmitError::Busy => ErrorCode::TooMany,
        SubmitError::Commit(CommitError::Append(store::AppendError::Fault(store::Fault::DiskFull))) => {
            ErrorCode::StorageFull
        }
        SubmitError::TooLarge { .. } => {
            return ErrorBody::with_message(ErrorCode::TooLarge, error.to_string());
        }
        SubmitError::Refused(refusal) => {
            return ErrorBody::with_message(api::error::code_of(refusal), refusal.to_string());
        }
        SubmitError::Commit(_) | SubmitError::Stopped => ErrorCode::Unavailable,
    }
    .into()
}
