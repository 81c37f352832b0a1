//! A close that lets the last answer arrive. A socket closed while bytes still come in is reset, and the reset
//! overtakes what was sent: the caller who is told that its request is too large would see a broken pipe instead.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Most bytes read on and thrown away.
pub const LINGER_BYTES: u64 = 8 << 20;
/// Longest time for it.
pub const LINGER: Duration = Duration::from_secs(5);

/// Ends `stream` towards the peer, then reads on until the peer ends too, for [`LINGER_BYTES`] and [`LINGER`] at most.
pub async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let work = async {
        // A stream that is broken, or ended already, has nothing to wait for but its end.
        let _ = stream.shutdown().await;
        let _ = tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await;
    };
    let _ = timeout(LINGER, work).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::{LINGER, LINGER_BYTES, linger};

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_the_peer_or_with_its_bounds() {
        let (mut near, mut far) = tokio::io::duplex(1 << 16);
        let start = Instant::now();
        let speaker = tokio::spawn(async move {
            far.write_all(&vec![7; 1 << 20]).await.unwrap();
            far.read_to_end(&mut Vec::new()).await.unwrap();
        });
        linger(&mut near).await;
        speaker.await.unwrap();
        assert!(start.elapsed() < LINGER);

        let (mut near, _far) = tokio::io::duplex(64);
        let start = Instant::now();
        linger(&mut near).await;
        assert_eq!(start.elapsed(), LINGER);

        let (mut near, mut far) = tokio::io::duplex(1 << 16);
        let speaker = tokio::spawn(async move {
            let mut sent = 0;
            while far.write_all(&[7; 1 << 16]).await.is_ok() {
                sent += 1 << 16;
            }
            sent
        });
        linger(&mut near).await;
        drop(near);
        assert!(speaker.await.unwrap() <= LINGER_BYTES + (1 << 18));
    }
}
