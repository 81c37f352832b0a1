//! Signed requests: authentication, replay, grants, approvals.

use api::view::View;
use api::{ClientError, ErrorCode, Outcome, Reply, routes};
use hyper::Method;
use kernel::event::{Command, NodeSpec, SignedRequest};
use types::mesh::Function;
use types::{Hash, Millis, cbor};

use adversary::{Answered, Deployment};

async fn post(deployment: &Deployment, hub: &hub::Hub, signed: &SignedRequest) -> Answered {
    deployment.exchange(hub, Method::POST, routes::REQUESTS, &[], cbor::to_vec(signed)).await
}

/// A command that takes a grant, and nobody's approval.
fn admit(id: &str) -> Command {
    let node = NodeSpec { id: id.parse().unwrap(), function: Function::Grid, identity: Hash::ZERO };
    Command::AdmitNode { node, links: Vec::new() }
}

fn status() -> Command {
    Command::Read { what: "status".to_owned() }
}

/// SM-07a: only the operator's own key over exactly this request counts, once, and soon.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_counts_once_and_only_as_it_was_signed() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    let good = deployment.signed("op1", status());
    assert_eq!(post(&deployment, &hub, &good).await.status, 200);
    let again = post(&deployment, &hub, &good).await;
    assert_eq!((again.status, again.word().as_str()), (410, "replayed"));

    let mut altered = deployment.signed("op1", status());
    altered.request.command = Command::OpenConsole;
    let mut other_nonce = deployment.signed("op1", status());
    other_nonce.request.nonce = Hash::new([9; 32]);
    let mut other_name = deployment.signed("op1", status());
    other_name.request.operator = "op2".parse().unwrap();
    let mut unknown = deployment.signed("op1", status());
    unknown.request.operator = "op9".parse().unwrap();
    let mut elsewhere = deployment.signed("op1", status());
    elsewhere.request.boundary = "other".parse().unwrap();
    let mut torn = deployment.signed("op1", status());
    torn.signature.truncate(40);
    for bad in [&altered, &other_nonce, &other_name, &unknown, &elsewhere, &torn] {
        let answered = post(&deployment, &hub, bad).await;
        assert_eq!((answered.status, answered.word().as_str()), (401, "unauthenticated"));
        assert_eq!(answered.headers["content-type"], "application/json");
    }
    let mut stale = deployment.signed("op1", status()).request;
    stale.at = stale.at - Millis::from_hours(2);
    let stale = api::request::sign(&deployment.key("op1"), stale).unwrap();
    assert_eq!(post(&deployment, &hub, &stale).await.status, 410);
    for junk in ["", "{}", "\u{ff}\u{ff}"] {
        let answered = deployment.exchange(&hub, Method::POST, routes::REQUESTS, &[], junk).await;
        assert_eq!((answered.status, answered.word().as_str()), (400, "malformed"));
    }
    let mut trailing = cbor::to_vec(&deployment.signed("op1", status()));
    trailing.push(0);
    assert_eq!(deployment.exchange(&hub, Method::POST, routes::REQUESTS, &[], trailing).await.status, 400);
    hub.stop().await;
}

/// QT-09: a critical command runs on a grant that proves itself, and only once.
#[tokio::test(flavor = "multi_thread")]
async fn a_critical_command_runs_on_a_grant_that_is_a_log_proof() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    let command = Command::SetAssisted { on: false };
    let asked = post(&deployment, &hub, &deployment.signed("op1", command.clone())).await;
    assert_eq!(asked.word(), "granted");
    let grant: types::GrantId = asked.json()["grant"].as_str().unwrap().parse().unwrap();

    let present = |operator: &str, command: Command| {
        let mut request = deployment.signed(operator, command).request;
        request.grant = Some(grant);
        api::request::sign(&deployment.key(operator), request).unwrap()
    };
    let stolen = post(&deployment, &hub, &present("op2", command.clone())).await;
    assert_eq!((stolen.status, stolen.word().as_str()), (403, "denied"));
    let bent = post(&deployment, &hub, &present("op1", admit("n9"))).await;
    assert_eq!(bent.status, 403);
    assert_eq!(post(&deployment, &hub, &present("op1", command.clone())).await.word(), "done");
    assert_eq!(post(&deployment, &hub, &present("op1", command.clone())).await.status, 403);

    let client = deployment.client(&hub, "op1");
    assert!(matches!(client.run(admit("n9")).await.unwrap(), Reply::Done(_)));
    let Reply::Done(done) = client.run(status()).await.unwrap() else { panic!("held") };
    let Outcome::View(view) = done.outcome else { panic!("no view") };
    let View::Status(view) = *view else { panic!("no status") };
    assert!(!view.assisted && view.log.size > done.entry);
    hub.stop().await;
}

/// The client trusts the pinned log keys, not the hub: a grant under other keys is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_refuses_a_hub_or_a_log_it_has_not_pinned() {
    let (deployment, other) = (Deployment::new(0), Deployment::new(0));
    let hub = deployment.start().await;
    let mut config = deployment.client_config(hub.http_address());
    config.log_keys = other.created.log_keys.clone();
    let client =
        api::Client::new(config, "op1".parse().unwrap(), deployment.key("op1")).unwrap().with_reason("a drill");
    let error = client.run(Command::SetAssisted { on: false }).await.unwrap_err();
    assert!(matches!(error, ClientError::BadGrant(_)), "{error}");
    assert!(matches!(client.checkpoint().await.unwrap_err(), ClientError::BadCheckpoint(_)));

    let mut config = deployment.client_config(hub.http_address());
    config.tls_pin = other.created.http_pin;
    let client =
        api::Client::new(config, "op1".parse().unwrap(), deployment.key("op1")).unwrap().with_reason("a drill");
    let error = client.run(status()).await.unwrap_err();
    assert!(matches!(error, ClientError::NotTheHub { .. }), "{error}");
    hub.stop().await;
}

/// A refusal says which policy decided, and is an entry itself (QT-10).
#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_recorded_and_told() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    let client = deployment.client(&hub, "nobody");
    let before = client.checkpoint().await.unwrap().checkpoint().size;
    let ClientError::Refused(error) = client.run(status()).await.unwrap_err() else { panic!("not refused") };
    assert_eq!(error.code, ErrorCode::Denied);
    assert!(error.entry.is_some_and(|entry| entry >= before));
    assert!(client.checkpoint().await.unwrap().checkpoint().size > before);
    hub.stop().await;
}
