//! Somebody who ends TLS between two brokers, with a certificate that both trust, and forwards what
//! they say.

use std::num::NonZeroUsize;

use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::stream::{ByteReader, ByteStream, ByteStreamExt, ByteWriter};
use bowline_channel::{Receiver, bounded};
use bowline_concurrency::{TaskGroup, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{Config, Event, Side};
use bowline_rpc::{Caller, Error, ErrorKind, Secret, TcpBroker, TcpBrokerBuilder};
use bytes::BytesMut;
use futures_util::future::join;

use crate::backends::{on_every_backend, registry, within};
use crate::raw_peer::{LONG, RawPeer};
use crate::wire::Wire;

const READ: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();
/// CLOSE with `Unauthenticated` and no word more.
const REFUSED: [u8; 16] = [0, 0, 0, 0, 4, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0];
const HELLO: u8 = 1;
const PROOF: u8 = 2;
const CLOSE: u8 = 4;

fn secret(n: u8) -> Secret {
    Secret::new([n; 32]).expect("it is long enough")
}

/// Carries bytes until they end; all of them.
async fn forward(mut from: impl ByteReader, mut to: impl ByteWriter) -> Vec<u8> {
    let (mut all, mut some) = (Vec::new(), BytesMut::new());
    while let Ok(1..) = from.read_into(&mut some, READ).await {
        all.extend_from_slice(&some);
        if to.write_all(&some).await.is_err() {
            break;
        }
        some.clear();
    }
    let _ = to.shutdown().await;
    all
}

/// What the dialer and the listener of one connection said.
type Said = [Vec<u8>; 2];

/// Relays connections to `server`, one after the other.
async fn relay(
    group: &TaskGroup<Error>,
    wire: &Wire,
    server: &TcpBroker,
) -> (String, Receiver<Said>) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let place = format!("tls://{}", listener.local_addr().unwrap());
    let server = server.local_addrs()[0];
    let Wire::Tls(shows, trusts) = wire.clone() else {
        unreachable!("there is TLS to end");
    };
    let (sender, said) = bounded(16);
    group.spawn_ok(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let dialer = shows.handshake(stream).unwrap().await.unwrap();
            let stream = TcpStream::connect(server).await.unwrap();
            let listener = trusts.handshake(stream, "127.0.0.1").unwrap();
            let ((from, back), (other, to)) =
                (dialer.into_split(), listener.await.unwrap().into_split());
            let (dialer, listener) = join(forward(from, to), forward(other, back)).await;
            let _ = sender.send([dialer, listener]).await;
        }
    });
    (place, said)
}

/// The types of the frames after the preface, and the bytes of the last one.
fn frames(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut rest, mut types, mut last) = (&bytes[8..], Vec::new(), Vec::new());
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let (frame, after) = rest.split_at(16 + length);
        types.push(frame[4]);
        (last, rest) = (frame.to_vec(), after);
    }
    (types, last)
}

async fn adds(builder: TcpBrokerBuilder) -> Result<(), Error> {
    let outcome = builder.run(async |client| -> Result<(), Error> {
        assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
        Ok(())
    });
    timeout(LONG, outcome).await.expect("it ends")
}

on_every_backend! {
    // A1
    async fn a_proof_holds_for_one_tls_session() {
        let wire = Wire::tls();
        within(|group| async move {
            let listening = || wire.prepare(TcpBroker::builder(AsyncExecutor::new(registry(), 4))).listen(wire.fresh());
            let caller = || wire.prepare(TcpBroker::caller().project("example"));
            let (open, guarded) = (listening().start(&group).await?, listening().key_id("k").secret(secret(1)).start(&group).await?);

            // Both do well where nobody is in between.
            adds(wire.client(&open)).await?;
            adds(wire.client(&guarded).key_id("k").secret(secret(1))).await?;
            // Those that prove nothing notice nothing: it forwards all.
            let (place, said) = relay(&group, &wire, &open).await;
            adds(caller().connect(place)).await?;
            let [dialer, listener] = said.recv().await.unwrap();
            assert!(!frames(&dialer).0.contains(&PROOF) && !listener.is_empty());
            // The same secret, another one, and an id that nobody knows: one is refused as the other.
            let (place, said) = relay(&group, &wire, &guarded).await;
            for (id, n) in [("k", 1), ("k", 2), ("unknown", 1)] {
                let outcome = adds(caller().connect(place.as_str()).key_id(id).secret(secret(n))).await;
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unauthenticated, "{id} {n}");
                let [dialer, listener] = said.recv().await.unwrap();
                assert_eq!(frames(&dialer).0, [HELLO, PROOF], "{id} {n}");
                assert_eq!(frames(&listener), (vec![HELLO, CLOSE], REFUSED.to_vec()), "{id} {n}");
            }
            assert_eq!((guarded.statistics().misfits, guarded.statistics().calls_received), (3, 1));
            Ok(())
        })
        .await;
    }

    async fn another_implementation_binds_its_proof_as_the_protocol_says() {
        let wire = Wire::tls();
        let Wire::Tls(_, trusts) = wire.clone() else { unreachable!("there is TLS") };
        let server = wire.serve(registry()).key_id("k").secret(secret(1));
        server.run(async |server| -> Result<(), Error> {
            for (label, context, length, fits) in [
                (&b"EXPORTER-bowline-rpc"[..], None, 32, true),
                (b"EXPORTER-bowline-rpC", None, 32, false),
                (b"EXPORTER-bowline-rpc", Some(&b"a context"[..]), 32, false),
                (b"EXPORTER-bowline-rpc", None, 31, false),
                (b"EXPORTER-bowline-rpc", None, 0, false),
            ] {
                let stream = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
                let stream = trusts.handshake(stream, "127.0.0.1").unwrap().await.unwrap();
                let mut binding = vec![0; length];
                if length > 0 {
                    stream.export_keying_material(label, context, &mut binding).unwrap();
                }
                let mut peer = RawPeer::with(stream, Side::Dialer, Config::new("example", [9; 16]).secret("k", secret(1)));
                peer.machine = peer.machine.bound_to(&binding);
                let end = peer.until_end(|event| matches!(event, Event::Ready(_) | Event::Closed(_))).await;
                let is_ready = matches!(end, Some(Event::Ready(_)));
                assert_eq!(is_ready, fits, "{label:?} {context:?} {length}: {end:?}");
            }
            Ok(())
        }).await.unwrap();
    }
}
