//! A hub that lies to an approver (U3).

use std::sync::{Arc, Mutex};

use adversary::{Deployment, LyingHub, Told};
use api::view::{ApprovalView, View};
use api::{Answer, Done, Outcome};
use kernel::access::{of_command, of_held_response};
use kernel::event::{Command, NodeSpec, SignedRequest};
use kernel::record::{Principal, Response};
use types::mesh::{Function, Subject};
use types::{Hash, IncidentId, NodeId, RequestId, Timestamp, cbor};

use crate::folder::Folder;

fn restore() -> Command {
    Command::RestoreNode { node: "n1".parse().unwrap() }
}

/// What the hub would rather have approved.
fn admit() -> Command {
    let node = NodeSpec { id: "evil".parse().unwrap(), function: Function::Grid, identity: Hash::new([6; 32]) };
    Command::AdmitNode { node, links: vec![] }
}

fn bytes(signed: &SignedRequest) -> Option<String> {
    Some(hex::encode(cbor::to_vec(signed)))
}

/// The held request as an honest hub shows it.
fn honest(signed: &SignedRequest) -> ApprovalView {
    let request = &signed.request;
    ApprovalView {
        request: RequestId::new(1),
        by: Principal::Operator(request.operator.clone()),
        summary: of_command(&request.command),
        digest: api::request::digest(&request.boundary, &request.operator, &request.command),
        needed: 1,
        group: "duty".to_owned(),
        approved: vec![],
        expires: Timestamp::from_millis(u64::MAX / 4),
        open: true,
        asked: bytes(signed),
        response: None,
        policies: vec!["duty-restore".to_owned()],
        approvers: vec!["op2".parse().unwrap()],
    }
}

/// A hub that shows one held request, and what it was told by operators.
struct Room {
    deployment: Deployment,
    hub: LyingHub,
    shown: Arc<Mutex<Option<ApprovalView>>>,
    heard: Arc<Mutex<Vec<Command>>>,
    takes_reports: Arc<Mutex<bool>>,
}

impl Room {
    async fn new() -> (Self, Folder) {
        let deployment = Deployment::new(1);
        let mut hub = LyingHub::start(&deployment).await;
        let (shown, heard) = (Arc::<Mutex<Option<ApprovalView>>>::default(), Arc::<Mutex<Vec<Command>>>::default());
        let takes_reports = Arc::new(Mutex::new(true));
        let (show, hear, takes) = (Arc::clone(&shown), Arc::clone(&heard), Arc::clone(&takes_reports));
        let answer = move |method: &hyper::Method, _: &str, body: &bytes::Bytes| {
            if method != hyper::Method::POST {
                // it shows no checkpoint, as a hub before its first entry
                return Told::json(404, &serde_json::json!({"code": "not-found", "message": "nothing yet"}));
            }
            let signed: SignedRequest = cbor::from_slice(body).unwrap();
            let command = signed.request.command;
            let outcome = match &command {
                Command::Read { .. } => {
                    Outcome::View(Box::new(View::Approvals(show.lock().unwrap().iter().cloned().collect())))
                }
                _ => Outcome::Recorded,
            };
            let refuses = matches!(command, Command::Signal { .. }) && !*takes.lock().unwrap();
            if !matches!(command, Command::Read { .. }) {
                hear.lock().unwrap().push(command);
            }
            if refuses {
                return Told::json(503, &serde_json::json!({"code": "unavailable", "message": "not now"}));
            }
            Told::json(200, &serde_json::to_value(Answer::Done(Done { entry: 7, outcome })).unwrap())
        };
        let address = hub.answer(&deployment, answer).await;
        let folder = Folder::new(&deployment, address);
        (Self { deployment, hub, shown, heard, takes_reports }, folder)
    }

    fn show(&self, view: ApprovalView) {
        *self.shown.lock().unwrap() = Some(view);
        self.heard.lock().unwrap().clear();
    }

    fn heard(&self) -> Vec<Command> {
        self.heard.lock().unwrap().clone()
    }
}

/// Everything a hub can swap in what an approver is shown.
fn lies(deployment: &Deployment) -> Vec<(&'static str, ApprovalView)> {
    let (asked, wanted) = (deployment.signed("op1", restore()), deployment.signed("op1", admit()));
    let of_another = deployment.signed("plain", restore());
    let shown = honest(&asked);
    let unsigned = SignedRequest { request: wanted.request.clone(), signature: asked.signature.clone() };
    let unreasoned = {
        let mut altered = asked.clone();
        altered.request.reason = "approved by the minister".to_owned();
        altered
    };
    let impersonated = {
        let mut altered = of_another.clone();
        altered.request.operator = "op1".parse().unwrap();
        altered
    };
    let response = Response::IsolateNode("n1".parse::<NodeId>().unwrap());
    let (incident, look) = (IncidentId::new(1), Response::Watch("n1".parse().unwrap()));
    let engine = ApprovalView {
        by: Principal::Engine,
        digest: kernel::response_digest(incident, &response),
        summary: of_held_response(incident, &look),
        asked: None,
        response: Some((incident, response)),
        ..shown.clone()
    };
    vec![
        ("other bytes, signed by the asker", ApprovalView { asked: bytes(&wanted), ..shown.clone() }),
        ("another digest to sign", ApprovalView { digest: honest(&wanted).digest, ..shown.clone() }),
        ("other words", ApprovalView { summary: "read status".to_owned(), ..shown.clone() }),
        ("another command, unsigned, all of it fitting", honest(&unsigned)),
        ("another reason", honest(&unreasoned)),
        ("another asker", ApprovalView { by: Principal::Operator("plain".parse().unwrap()), ..shown.clone() }),
        ("another's request in the asker's name", honest(&impersonated)),
        ("an operator's request as the engine's", ApprovalView { by: Principal::Engine, ..shown.clone() }),
        ("the engine's response in other words", engine.clone()),
        ("another response than the words", ApprovalView { response: Some((incident, look)), ..engine }),
        ("no bytes at all", ApprovalView { asked: None, ..shown.clone() }),
        ("bytes that are no request", ApprovalView { asked: Some("00".to_owned()), ..shown }),
    ]
}

/// U3: whatever a hub swaps, the approver's tool signs nothing, ends with code 10 and reports it.
#[tokio::test(flavor = "multi_thread")]
async fn u3_a_hub_that_swaps_what_is_approved_is_refused_and_reported() {
    let (room, folder) = Room::new().await;
    for (lie, view) in lies(&room.deployment) {
        for word in ["approve", "deny", "show"] {
            room.show(view.clone());
            let ran = folder.run("op2", &["approvals", word, "1"]);
            assert_eq!(ran.code, Some(10), "{lie}: {ran:?}");
            assert!(ran.err.contains("entry 7") && ran.err.contains("sign nothing"), "{lie}: {}", ran.err);
            let heard = room.heard();
            assert!(
                matches!(&heard[..], [Command::Signal { subject: Subject::Node(hub), .. }] if hub.is_hub()),
                "{lie}: {heard:?}"
            );
        }
        room.show(view);
        folder.run("op2", &["approvals", "list"]).expect(10);
    }
    drop(room.hub);
}

/// U3: a hub that takes no report about itself is still refused, and whoever sits there is told.
#[tokio::test(flavor = "multi_thread")]
async fn u3_a_lie_is_told_where_the_hub_takes_no_report() {
    let (room, folder) = Room::new().await;
    *room.takes_reports.lock().unwrap() = false;
    room.show(lies(&room.deployment).remove(0).1);
    let ran = folder.run("op2", &["approvals", "approve", "1"]).expect(10);
    assert!(ran.err.contains("takes no report") && ran.err.contains("tell the other operators"), "{}", ran.err);
    assert!(room.heard().iter().all(|command| !matches!(command, Command::Approve { .. })));
}

/// U3: what is shown and signed is what the asker signed: who, what, why, by which policy, who else may.
#[tokio::test(flavor = "multi_thread")]
async fn u3_what_is_approved_is_what_was_signed() {
    let (room, folder) = Room::new().await;
    let view = honest(&room.deployment.signed("op1", restore()));
    room.show(view.clone());
    let shown = folder.run("op2", &["approvals", "show", "1"]).expect(0).out;
    for part in ["operator op1", "restore node n1", "a drill", "duty-restore", "op2 may still"] {
        assert!(shown.contains(part), "`{part}` is not in: {shown}");
    }
    assert!(shown.contains(&view.digest.to_string()));
    folder.run("op2", &["approvals", "approve", "1"]).expect(0);
    assert_eq!(room.heard(), [Command::Approve { request: view.request, digest: view.digest }]);
    let listed = folder.run("op2", &["approvals", "list", "--json"]).expect(0).json();
    assert_eq!((&listed[0]["checked"], &listed[0]["reason"]), (&"restore node n1".into(), &"a drill".into()));
}

/// U3: whose card is not here is nobody whose word counts; the hub's is not asked instead.
#[tokio::test(flavor = "multi_thread")]
async fn u3_an_asker_without_a_card_is_not_taken_from_the_hub() {
    let (room, folder) = Room::new().await;
    let path = folder.file("operators/client.toml");
    let mut client = api::ClientConfig::load(&path).unwrap();
    client.operators.retain(|known| known.name.as_str() != "op1");
    std::fs::write(&path, client.to_toml()).unwrap();
    room.show(honest(&room.deployment.signed("op1", restore())));
    let ran = folder.run("op2", &["approvals", "approve", "1"]).expect(10);
    assert!(ran.err.contains("card of operator op1"), "{}", ran.err);
    assert!(room.heard().is_empty(), "nothing is signed, and nobody is accused");
    let listed = folder.run("op2", &["approvals", "list"]).expect(0).out;
    assert!(listed.contains("cannot be checked"), "{listed}");
}
