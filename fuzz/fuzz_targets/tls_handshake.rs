//! Whatever a peer says instead of a handshake ends it: with an error, at once, and with no more read
//! than is needed for that.
#![no_main]

use std::future::IntoFuture;
use std::num::NonZeroUsize;
use std::sync::OnceLock;

use bowline_backend::Backend;
use bowline_backend::stream::{ByteStream, ByteStreamExt};
use bowline_transport::{CertStore, MemoryStream, TlsClientConfig, TlsServerConfig};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

const NAME: &str = "localhost";

struct Configs {
    client: TlsClientConfig,
    server: TlsServerConfig,
    /// What a client says first.
    hello: Vec<u8>,
}

fn configs() -> &'static Configs {
    static CONFIGS: OnceLock<Configs> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let store = CertStore::new(&certificate, &key).expect("they fit");
        let client = TlsClientConfig::builder().root_pem(certificate).build();
        let client = client.expect("a client");
        let server = TlsServerConfig::builder(&store).build().expect("a server");
        let hello = Backend::Smol.block_on(async {
            let (near, mut far) = MemoryStream::pair();
            far.shutdown().await.expect("it is open");
            let shaken = client.handshake(near, NAME).expect("a name").await;
            shaken.expect_err("nobody answers");
            let (mut hello, most) = (BytesMut::new(), NonZeroUsize::new(1 << 16).expect("some"));
            while matches!(far.read_into(&mut hello, most).await, Ok(1..)) {}
            hello.to_vec()
        });
        Configs {
            client,
            server,
            hello,
        }
    })
}

/// Says `words`, ends, and sees what becomes of the handshake at the other end.
async fn refused<F: IntoFuture<Output = Result<T, E>>, T: ByteStream, E>(
    handshake: impl FnOnce(MemoryStream) -> F,
    words: &[u8],
) {
    let (near, mut far) = MemoryStream::builder().capacity(words.len() + 1).pair();
    far.write_all(words).await.expect("there is room");
    far.shutdown().await.expect("it is open");
    let reading = async {
        // What it answers is read, so that it need not wait for us.
        let (mut answer, most) = (BytesMut::new(), NonZeroUsize::new(1 << 16).expect("some"));
        while matches!(far.read_into(&mut answer, most).await, Ok(1..)) {
            answer.clear();
        }
    };
    let (shaken, ()) = futures_util::future::join(handshake(near).into_future(), reading).await;
    assert!(shaken.is_err(), "nobody finished a handshake");
}

fuzz_target!(|data: &[u8]| {
    let configs = configs();
    let Some((kind, words)) = data.split_first() else {
        return;
    };
    let server = |stream| configs.server.handshake(stream).expect("a server");
    Backend::Smol.block_on(async {
        match kind % 3 {
            0 => refused(server, words).await,
            1 => {
                let client = |stream| configs.client.handshake(stream, NAME).expect("a name");
                refused(client, words).await;
            }
            // A hello of which some is otherwise.
            _ => {
                let mut hello = configs.hello.clone();
                for patch in words.chunks_exact(3) {
                    let at = usize::from(u16::from_be_bytes([patch[0], patch[1]]));
                    let at = at % hello.len();
                    hello[at] = patch[2];
                }
                refused(server, &hello).await;
            }
        }
    });
});
