//! Slow, greedy and broken callers cost themselves, and nobody else.

use hyper::Method;
use kernel::event::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use adversary::Deployment;

/// Idle connections stall a known server: two hundred callers that say nothing, or
/// one byte of everything, do not keep others from being answered.
#[tokio::test(flavor = "multi_thread")]
async fn slow_callers_stall_nobody() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    let mut idle = Vec::new();
    for _ in 0..150 {
        idle.push(TcpStream::connect(hub.http_address()).await.unwrap());
    }
    for _ in 0..50 {
        let mut half = TcpStream::connect(hub.http_address()).await.unwrap();
        half.write_all(&[0x16, 0x03]).await.unwrap();
        idle.push(half);
    }
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = deployment.connect(&hub).await;
        stream.write_all(b"POST /v1/requests HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n").await.unwrap();
        slow.push(stream);
    }
    let client = deployment.client(&hub, "op1");
    for _ in 0..20 {
        client.run(Command::Read { what: "status".to_owned() }).await.unwrap();
    }
    hub.stop().await;
}

/// Bounds on what is taken in are told, not only enforced.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    let large = vec![0u8; types::limits::REQUEST_BODY_LEN + 1];
    let answered = deployment.exchange(&hub, Method::POST, "/v1/requests", &[], large).await;
    assert_eq!((answered.status, answered.word().as_str()), (413, "too-large"));

    let mut stream = deployment.connect(&hub).await;
    let line = format!("GET /v1/health HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(40_000));
    // The hub may close before all of it is written.
    let _ = stream.write_all(line.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");

    let mut chunked = deployment.connect(&hub).await;
    chunked.write_all(b"POST /v1/requests HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let chunk = [b"10000\r\n".as_slice(), &vec![7; 0x10000], b"\r\n"].concat();
    for _ in 0..8 {
        if chunked.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let mut answer = [0; 12];
    let read = chunked.read_exact(&mut answer).await;
    assert!(read.is_err() || answer == *b"HTTP/1.1 413", "{}", String::from_utf8_lossy(&answer));
    hub.stop().await;
}

/// U8: a caller that sends all of its request before it reads still gets the answer that the request is
/// too large, whatever the size and however the length is told.
#[tokio::test(flavor = "multi_thread")]
async fn u8_a_refused_body_still_gets_its_answer() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    const BODY: usize = 6 << 20;
    let whole = format!("POST /v1/requests HTTP/1.1\r\nhost: x\r\ncontent-length: {BODY}\r\n\r\n");
    let chunked = "POST /v1/requests HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    let long = format!("GET /v1/health HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(BODY));
    let piece = vec![7; 1 << 16];
    for (head, frame, status) in [(whole, false, "413"), (chunked, true, "413"), (long, false, "431")] {
        let mut stream = deployment.connect(&hub).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..if status == "413" { BODY / piece.len() } else { 0 } {
            if frame {
                stream.write_all(b"10000\r\n").await.unwrap();
            }
            stream.write_all(&piece).await.unwrap();
            if frame {
                stream.write_all(b"\r\n").await.unwrap();
            }
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    hub.stop().await;
}
