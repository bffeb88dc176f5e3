//! Calls of a kind that their method does not take: refused, or dropped and counted.

use bowline_concurrency::{timeout, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{CallKind, CodecId, Command, Event, Open, Target};
use bowline_rpc::{Certainty, Code, Error, Limits, TcpBroker};
use bytes::Bytes;

use crate::backends::{on_every_backend, registry};
use crate::raw_peer::{LONG, RawPeer};

fn open(method: &str, kind: CallKind) -> Command {
    let body = Bytes::from_static(&[0x92, 2, 3]);
    Command::Open(Open::new(Target::Name(method.into()), CodecId::MESSAGE_PACK, body).kind(kind))
}

on_every_backend! {
    async fn streams_are_refused_and_notifications_are_dropped_and_granted_again() {
        let server = TcpBroker::builder(AsyncExecutor::new(registry(), 4)).listen("127.0.0.1:0");
        server.run(async |server| -> Result<(), Error> {
            let mut peer = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
            for kind in [CallKind::EXECUTOR_STREAMS, CallKind::CALLER_STREAMS, CallKind::BOTH_STREAM] {
                peer.command(open("add", kind));
                let ended = peer.until(|event| matches!(event, Event::Failed { .. })).await;
                let Event::Failed { error, .. } = ended else { unreachable!("that is what was asked for") };
                assert_eq!((error.code(), error.certainty()), (Code::Unsupported, Certainty::Refused));
            }
            // Many more than the window of 256.
            for _ in 0..1000 {
                peer.command(open("unknown", CallKind::NOTIFY));
                peer.until(|event| matches!(event, Event::Notified { .. })).await;
            }
            peer.command(open("add", CallKind::UNARY));
            let ended = peer.until(|event| matches!(event, Event::Replied { .. })).await;
            assert!(matches!(ended, Event::Replied { body, .. } if body[..] == [5]));
            assert_eq!(server.statistics().violations, 0);
            drop(peer);
            let counted = timeout(LONG, async {
                while server.statistics().protocol.dropped_notifications < 1000 {
                    yield_now().await;
                }
            });
            counted.await.expect("they are counted when the connection is over");
            Ok(())
        }).await.unwrap();
    }
}
