//! The console, as a browser meets it.

use api::{Outcome, Reply, routes};
use hyper::Method;
use kernel::event::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use adversary::Deployment;

/// QT-13, SM-07a: the link works once; the session is a cookie no script can read.
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_link_works_once_and_opens_the_live_page() {
    let deployment = Deployment::with_links(2, true);
    let hub = deployment.start().await;
    let Reply::Done(done) = deployment.client(&hub, "op1").run(Command::OpenConsole).await.unwrap() else {
        panic!("held")
    };
    let Outcome::Console { path, .. } = done.outcome else { panic!("no link") };
    let entered = deployment.exchange(&hub, Method::GET, &path, &[], "").await;
    assert_eq!((entered.status, entered.headers["location"].as_str()), (303, routes::CONSOLE));
    let cookie = entered.headers["set-cookie"].clone();
    for flag in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    assert_eq!(deployment.exchange(&hub, Method::GET, &path, &[], "").await.status, 403);

    let cookie = cookie.split(';').next().unwrap().to_owned();
    let page = deployment.exchange(&hub, Method::GET, routes::CONSOLE, &[("cookie", &cookie)], "").await;
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert_eq!(page.status, 200);
    for wanted in ["signed in as op1", "Quantum links", "n1 – n2", "Life of keys", "Incidents", "<main id=\"content\""]
    {
        assert!(text.contains(wanted), "{wanted} is missing");
    }
    assert!(!text.contains("<script>") && !text.contains(" style="), "inline script or style");

    let mut events = deployment.connect(&hub).await;
    let request = format!("GET {} HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\n\r\n", routes::CONSOLE_EVENTS);
    events.write_all(request.as_bytes()).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("\n\n") || !seen.contains("data: ") {
        let mut chunk = [0; 4096];
        let read = events.read(&mut chunk).await.unwrap();
        assert!(read > 0, "the stream ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
    assert!(seen.contains("text/event-stream"));

    let left = deployment.exchange(&hub, Method::POST, routes::CONSOLE_LEAVE, &[("cookie", &cookie)], "").await;
    assert_eq!(left.status, 303);
    let after = deployment.exchange(&hub, Method::GET, routes::CONSOLE, &[("cookie", &cookie)], "").await;
    assert_eq!(after.status, 401);
    let mut rest = Vec::new();
    while events.read_buf(&mut rest).await.unwrap_or(0) > 0 && !rest.windows(11).any(|part| part == b"event: over") {}
    assert!(rest.windows(11).any(|part| part == b"event: over"), "the live page was not told");
    hub.stop().await;
}
