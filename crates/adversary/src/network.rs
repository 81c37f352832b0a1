//! Whoever reaches the ports, with no credential at all.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use types::Hash;

/// Someone at an address of the loopback network. The default is 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub struct Outsider {
    address: IpAddr,
}

impl Default for Outsider {
    fn default() -> Self {
        Self::at(1)
    }
}

impl Outsider {
    /// At 127.0.0.`last`.
    pub fn at(last: u8) -> Self {
        Self { address: Ipv4Addr::new(127, 0, 0, last).into() }
    }

    /// A TCP connection that says nothing.
    ///
    /// # Errors
    /// The system's.
    pub async fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.address, 0))?;
        socket.connect(to).await
    }

    /// A TCP connection with the first bytes of a handshake that never goes on.
    ///
    /// # Errors
    /// The system's.
    pub async fn half_handshake(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        let mut stream = self.connect(to).await?;
        // a record of type handshake whose 512 bytes never come
        stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await?;
        Ok(stream)
    }

    /// TLS with the operators' listener whose public key is `pin`; whoever it is on the other side.
    ///
    /// # Errors
    /// The handshake's.
    pub async fn tls(&self, to: SocketAddr, pin: Hash) -> std::io::Result<TlsStream<TcpStream>> {
        let config = api::tls::client_config(pin).unwrap();
        let name = ServerName::try_from(api::tls::SERVER_NAME).unwrap();
        let stream = self.connect(to).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}
