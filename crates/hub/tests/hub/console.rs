//! The console, as a browser meets it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use adversary::Deployment;
use api::routes;
use hub::Hub;
use hyper::Method;
use kernel::event::{Command, Event};
use types::mesh::{LinkFigures, LinkReport, SignalKind, Subject};
use types::{LinkId, Millis};

use crate::browser::{Browser, Watched, token};

/// QT-13, SM-07a: the link works once; the session is a cookie no script can read, and a key nobody can.
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_link_works_once_and_opens_the_live_page() {
    let deployment = Deployment::with_links(2, true);
    let hub = deployment.start().await;
    let link = token(&deployment, &hub, "op1").await;
    let mut browser = Browser::new();
    let entered = browser.enter(&deployment, &hub, &link).await;
    assert_eq!(entered.status, 204);
    let cookie = &entered.headers["set-cookie"];
    for flag in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    assert_eq!(Browser::new().enter(&deployment, &hub, &link).await.status, 403);

    let mut watched = browser.watch(&deployment, &hub).await;
    assert_eq!(watched.next().await.unwrap()["operator"], "op1");
    let page = watched.whole().await;
    for wanted in ["Quantum links", "n1 – n2", "Life of keys", "Incidents", "Attention", "id=\"node-n1\""] {
        assert!(page.contains(wanted), "{wanted} is missing");
    }
    assert!(!page.contains("<script") && !page.contains(" style="), "inline script or style");

    assert_eq!(browser.ask(&deployment, &hub, Method::POST, routes::CONSOLE_LEAVE).await.status, 204);
    assert_eq!(browser.ask(&deployment, &hub, Method::GET, routes::CONSOLE_EVENTS).await.status, 401);
    let mut last = serde_json::Value::Null;
    while let Some(update) = watched.next().await {
        last = update;
    }
    assert_eq!(last["over"], true, "the live page was not told");
    hub.stop().await;
}

/// U1, SM-07a: a stolen cookie is useless, alone, with a key of the thief's, or with a proof that was seen.
#[tokio::test(flavor = "multi_thread")]
async fn u1_a_stolen_cookie_opens_nothing() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    let browser = Browser::signed_in(&deployment, &hub, "op1").await;
    let cookie = [("cookie", browser.cookie.as_str())];
    for path in [routes::CONSOLE_EVENTS, routes::CONSOLE_LEAVE] {
        let method = if path == routes::CONSOLE_LEAVE { Method::POST } else { Method::GET };
        assert_eq!(deployment.exchange(&hub, method.clone(), path, &cookie, "").await.status, 401);
        let thief = Browser { cookie: browser.cookie.clone(), ..Browser::new() };
        assert_eq!(thief.ask(&deployment, &hub, method, path).await.status, 401);
    }
    // A proof is of one request, at its time, once.
    let (leave, events) = (routes::CONSOLE_LEAVE, routes::CONSOLE_EVENTS);
    let stale = browser.proof_at("POST", leave, hub::system_time() - Millis::from_secs(60));
    for proof in [stale, browser.proof("GET", leave), browser.proof("POST", events)] {
        assert_eq!(browser.ask_with(&deployment, &hub, Method::POST, leave, &proof).await.status, 401);
    }
    let proof = browser.proof("POST", leave);
    assert_eq!(browser.ask_with(&deployment, &hub, Method::POST, leave, &proof).await.status, 204);
    let again = Browser::signed_in(&deployment, &hub, "op1").await;
    assert_eq!(again.ask_with(&deployment, &hub, Method::POST, leave, &proof).await.status, 401);
    hub.stop().await;
}

/// U1: the session outlasts the hub; a proof of before does not.
#[tokio::test(flavor = "multi_thread")]
async fn u1_a_session_outlasts_a_restart_of_the_hub() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    let (browser, other) =
        (Browser::signed_in(&deployment, &hub, "op1").await, Browser::signed_in(&deployment, &hub, "op2").await);
    assert_eq!(other.ask(&deployment, &hub, Method::POST, routes::CONSOLE_LEAVE).await.status, 204);
    let before = browser.proof("GET", routes::CONSOLE_EVENTS);
    hub.stop().await;

    let hub = deployment.start().await;
    let refused = browser.ask_with(&deployment, &hub, Method::GET, routes::CONSOLE_EVENTS, &before).await;
    assert_eq!(refused.status, 401, "a proof of before the restart was taken");
    let mut watched = browser.watch(&deployment, &hub).await;
    assert_eq!(watched.next().await.unwrap()["operator"], "op1");
    assert!(watched.whole().await.contains("Boundary"));
    assert_eq!(other.ask(&deployment, &hub, Method::GET, routes::CONSOLE_EVENTS).await.status, 401);
    drop(watched);
    hub.stop().await;
}

/// Bytes that reach each of `viewers` while `updates` updates come.
async fn bytes_of(viewers: &mut [Watched], updates: usize) -> Vec<usize> {
    let mut bytes = Vec::new();
    for viewer in viewers {
        let before = viewer.bytes;
        for _ in 0..updates {
            viewer.next().await.unwrap();
        }
        bytes.push(viewer.bytes - before);
    }
    bytes
}

fn has_links(update: &serde_json::Value) -> bool {
    update["parts"].as_object().is_some_and(|parts| parts.keys().any(|id| id.starts_with("link-")))
}

/// Reports every link anew, as fifty busy nodes would.
async fn measure(hub: &Hub, links: &[LinkId], round: u32) {
    let report = |link: &LinkId| LinkReport {
        link: link.clone(),
        qber_ppm: 20_000 + round,
        qber_upper_ppm: 25_000 + round,
        secret_bps: 4_000 + round,
        sifted_bps: 9_000,
        pool_bits: 100_000 + u64::from(round),
        blocks: u64::from(round),
        discarded: 0,
        usable: true,
        figures: LinkFigures::default(),
    };
    for some in links.chunks(kernel::channel::LINKS_PER_EVENT) {
        hub.handle().report(Event::Links(some.iter().map(report).collect())).await.unwrap();
    }
}

/// U2: a mesh of fifty nodes that rests costs a viewer next to nothing, and a busy one a small part of the page.
#[tokio::test(flavor = "multi_thread")]
async fn u2_only_what_changed_is_sent_and_an_idle_mesh_sends_next_to_nothing() {
    const UPDATES: usize = 5;
    let deployment = Deployment::with_links(50, true);
    let hub = deployment.start().await;
    let links: Vec<LinkId> = deployment.config.links.iter().map(|link| link.0.clone()).collect();
    measure(&hub, &links, 0).await;
    let browser = Browser::signed_in(&deployment, &hub, "op1").await;
    let mut viewers = Vec::new();
    let mut pages = BTreeSet::new();
    for _ in 0..4 {
        let mut viewer = browser.watch(&deployment, &hub).await;
        pages.insert(viewer.whole().await.len());
        viewers.push(viewer);
    }
    let page = *pages.last().unwrap();
    // What the start leaves to do is done.
    let resting = Instant::now() + Duration::from_secs(60);
    let idle = loop {
        let idle = bytes_of(&mut viewers, UPDATES).await;
        if idle.iter().all(|bytes| *bytes <= UPDATES * 100) {
            break idle;
        }
        assert!(Instant::now() < resting, "a mesh at rest sends {idle:?} bytes in {UPDATES} updates");
    };
    let mut busy = vec![0; viewers.len()];
    for round in 1..=u32::try_from(UPDATES).unwrap() {
        measure(&hub, &links, round).await;
        for (sum, viewer) in busy.iter_mut().zip(&mut viewers) {
            let before = viewer.bytes;
            while !has_links(&viewer.next().await.unwrap()) {}
            *sum += viewer.bytes - before;
        }
    }
    println!("50 nodes, {} links: the page has {page} bytes; {UPDATES} updates of a viewer have", links.len());
    println!("  at rest {idle:?} bytes, with every link measured in each {busy:?} bytes");
    // It was 2.1 MB an update, for each viewer.
    assert!(page < 200_000, "the page is bounded, whatever the mesh: {page} bytes");
    assert!(busy.iter().all(|bytes| *bytes <= UPDATES * 100_000), "{busy:?}");
    drop(viewers);
    hub.stop().await;
}

/// U2: one change is one part, the same for everyone who watches.
#[tokio::test(flavor = "multi_thread")]
async fn u2_a_changed_row_is_sent_alone() {
    let deployment = Deployment::with_links(3, true);
    let hub = deployment.start().await;
    let links: Vec<LinkId> = deployment.config.links.iter().map(|link| link.0.clone()).collect();
    measure(&hub, &links, 0).await;
    let browser = Browser::signed_in(&deployment, &hub, "op1").await;
    let mut viewer = browser.watch(&deployment, &hub).await;
    viewer.whole().await;
    measure(&hub, &links[..1], 1).await;
    let row = format!("link-{}", links[0]);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let update = viewer.next().await.unwrap();
        if let Some(parts) = update["parts"].as_object() {
            assert!(!parts.contains_key("links"), "all links were sent for one");
            if let Some(html) = parts.get(&row) {
                assert!(html.as_str().unwrap().starts_with("<tr id="), "{html}");
                break;
            }
        }
        assert!(Instant::now() < deadline, "the change never came");
    }
    hub.stop().await;
}

/// U4: a node that is cut off is in the line at the top at once, and the line is not a quiet one.
#[tokio::test(flavor = "multi_thread")]
async fn u4_what_waits_for_people_is_at_the_top_of_the_page() {
    let deployment = Deployment::new(3);
    let hub = deployment.start().await;
    let browser = Browser::signed_in(&deployment, &hub, "op1").await;
    let mut viewer = browser.watch(&deployment, &hub).await;
    let page = viewer.whole().await;
    assert!(page.starts_with("<section id=\"attention\""), "the line is not the first thing on the page");
    assert!(page.contains("Nothing waits for anybody") && !page.contains("alarm"), "alarm without a cause");
    for operator in ["op1", "op2"] {
        let command =
            Command::Signal { subject: Subject::Node("n2".parse().unwrap()), kind: SignalKind::NodeCompromise };
        deployment.client(&hub, operator).run(command).await.unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let update = viewer.next().await.unwrap();
        let attention = update["parts"]["attention"].as_str().unwrap_or_default();
        if attention.contains("isolated") || attention.contains("quarantine") {
            assert!(
                attention.contains("alarm") && attention.contains("bad") && attention.contains("n2"),
                "{attention}"
            );
            break;
        }
        assert!(Instant::now() < deadline, "the page never says that a node is cut off");
    }
    hub.stop().await;
}
