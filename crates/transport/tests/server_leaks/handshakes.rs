//! Peers of a secure server, of which few finish their handshake.

use std::future::IntoFuture as _;
use std::pin::pin;
use std::time::Duration;

use bowline_backend::net::TcpStream;
use bowline_backend::stream::{ByteStream, ByteStreamExt};
use bowline_concurrency::yield_now;
use bowline_transport::{
    CertStore, Error, MessageStream, TlsClientConfig, TlsServerConfig, TlsStream, Transport,
};
use futures_util::future::select;

use crate::certificates::Authority;
use crate::peers::{line, read_to_end};

pub(crate) const NAME: &str = "server.test";

/// How long a server waits for a handshake.
pub(crate) const PATIENCE: Duration = Duration::from_millis(300);

/// What both sides go by, and one of somebody who trusts nobody.
pub(crate) struct Trust {
    pub(crate) server: TlsServerConfig,
    client: TlsClientConfig,
    stranger: TlsClientConfig,
}

impl Trust {
    pub(crate) fn new() -> Trust {
        let authority = Authority::new();
        let identity = authority.sign(NAME);
        let store = CertStore::new(&identity.chain, &identity.key).unwrap();
        let trusting = |authority: &Authority| {
            let client = TlsClientConfig::builder().root_pem(authority.pem());
            client.build().unwrap()
        };
        Trust {
            server: TlsServerConfig::builder(&store).build().unwrap(),
            client: trusting(&authority),
            stranger: trusting(&Authority::new()),
        }
    }

    async fn shaken(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Error> {
        self.client.handshake(stream, NAME)?.await
    }

    /// The whole of a conversation.
    pub(crate) async fn converse(&self, stream: TcpStream) -> Result<(), Error> {
        let mut client = MessageStream::new(self.shaken(stream).await?, line());
        client.send(&"hello".to_owned()).await?;
        client.recv().await?;
        client.close().await
    }
}

/// The beginning of a first message: its length, and little of what it says.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03half of it";

/// One connection, in a way that goes by its number.
pub(crate) async fn shake_and_go(mut stream: TcpStream, trust: &Trust, number: usize) {
    match number % 10 {
        0 => drop(trust.converse(stream).await),
        // Secure, and then gone without a word.
        1 => drop(trust.shaken(stream).await),
        2 => {
            if let Ok(stream) = trust.shaken(stream).await {
                stream.abort();
            }
        }
        // Half-open: gone at once, in the middle of a message, and after as long as is waited for it.
        3 => drop(stream),
        4 => {
            let _ = stream.write_all(HALF_A_HELLO).await;
            stream.abort();
        }
        5 => {
            let _ = stream.write_all(HALF_A_HELLO).await;
            match number / 10 % 10 {
                0 => read_to_end(stream).await,
                _ => drop(stream),
            }
        }
        // In the middle of the conversation of TLS.
        6 | 7 => {
            let shaking = trust.client.handshake(stream, NAME).unwrap();
            let shaking = pin!(shaking.into_future());
            let leaving = pin!(async {
                for _ in 0..number / 10 % 8 {
                    yield_now().await;
                }
            });
            drop(select(leaving, shaking).await);
        }
        // Neither TLS nor anything else.
        8 => {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
            read_to_end(stream).await;
        }
        _ => {
            let shaking = trust.stranger.handshake(stream, NAME).unwrap();
            assert!(shaking.await.is_err(), "it trusts nobody");
        }
    }
}
