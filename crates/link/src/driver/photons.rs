//! The connection to the fibre: made again whenever it breaks.

use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::mpsc;

use crate::frame::{SOCKET_BUFFER, read_frame, write_frame};

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Carries frames between this end and the fibre at `address`, until either channel closes.
pub(super) async fn exchange(address: String, mut out: mpsc::Receiver<Vec<u8>>, into: mpsc::Sender<Vec<u8>>) {
    loop {
        let (mut reader, mut writer) = connect(&address).await.into_split();
        let reading = async {
            loop {
                let mut frame = Vec::new();
                match read_frame(&mut reader, &mut frame).await {
                    Ok(true) => {}
                    Ok(false) => return false,
                    Err(error) => {
                        tracing::info!(%address, %error, "the fibre is gone");
                        return false;
                    }
                }
                if into.send(frame).await.is_err() {
                    return true;
                }
            }
        };
        let writing = async {
            loop {
                let Some(frame) = out.recv().await else { return true };
                if let Err(error) = write_frame(&mut writer, &frame).await {
                    tracing::info!(%address, %error, "the fibre is gone");
                    return false;
                }
            }
        };
        let done = tokio::select! {
            done = reading => done,
            done = writing => done,
        };
        if done {
            return;
        }
        // A fibre that ends every connection at once is not called in a tight loop.
        tokio::time::sleep(FIRST_WAIT).await;
    }
}

async fn connect(address: &str) -> TcpStream {
    let mut wait = FIRST_WAIT;
    loop {
        match tokio::time::timeout(CONNECT_LIMIT, dial(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Ok(Err(error)) => tracing::debug!(address, %error, "no fibre"),
            Err(_) => tracing::debug!(address, "no fibre in time"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Buffers are small: light that waits long is of no use to anyone.
async fn dial(address: &str) -> std::io::Result<TcpStream> {
    let mut failure = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in lookup_host(address).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_send_buffer_size(SOCKET_BUFFER)?;
        socket.set_recv_buffer_size(SOCKET_BUFFER)?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
