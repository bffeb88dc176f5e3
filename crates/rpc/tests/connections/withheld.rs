//! A peer that reads everything and grants nothing: what its calls make us hold, counted by the allocator.

use std::num::NonZeroUsize;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::stream::ByteStreamExt;
use bowline_backend::time;
use bowline_concurrency::{sleep, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{CallKind, CodecId, Command, Open, Target};
use bowline_rpc::{Error, Limits, Registry, TcpBroker};
use bytes::{Bytes, BytesMut};
use futures_util::stream::repeat_with;

use crate::allocated::held;
use crate::raw_peer::RawPeer;

const MIB: usize = 1024 * 1024;
const PING: &[u8] = b"\0\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0anybody?";
const READ: NonZeroUsize = NonZeroUsize::new(MIB).unwrap();

/// A registry with `much`, whose reply is 1 MiB, and `many`, which sends items of 1 MiB for ever.
fn registry() -> Registry {
    let registry = Registry::new("example");
    registry
        .register_fn("much", |(): ()| async { "x".repeat(MIB) })
        .unwrap();
    registry
        .register_stream("many", |(): ()| repeat_with(|| "x".repeat(MIB)))
        .unwrap();
    registry
}

/// Has a peer of a server with the default limits make 1000 calls of a minute, and take what comes without
/// granting anything for it: what is held then and how many bytes came, and what is held after the minute.
fn held_for_one_that_grants_nothing(method: &'static str, kind: CallKind) -> (isize, usize, isize) {
    let mut measured = None;
    crate::backends::run(Backend::Sim, async {
        let server = TcpBroker::builder(AsyncExecutor::new(registry(), 1024)).listen("127.0.0.1:0");
        let measured = &mut measured;
        server
            .run(async |server| -> Result<(), Error> {
                let mut peer = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
                let before = held();
                let deadline = time::now() + Duration::from_secs(60);
                for _ in 0..1000 {
                    let open =
                        Open::new(Target::Name(method.into()), CodecId::POSTCARD, Bytes::new());
                    peer.command(Command::Open(open.kind(kind).deadline(deadline)));
                }
                peer.flush().await;
                let first = take_for(&mut peer, Duration::from_secs(1)).await;
                let during = held() - before;
                // Its heart goes on beating.
                for _ in 0..40 {
                    sleep(Duration::from_secs(1)).await;
                    peer.stream.write_all(PING).await.unwrap();
                    take_for(&mut peer, Duration::from_secs(1)).await;
                }
                *measured = Some((during, first, held() - before));
                assert_eq!(server.connections(), 1, "it did nothing that is forbidden");
                drop(peer);
                Ok(())
            })
            .await
            .unwrap();
    });
    measured.expect("it came to its end")
}

/// Reads what comes and forgets it; how much it was.
async fn take_for(peer: &mut RawPeer, span: Duration) -> usize {
    let (mut bytes, mut taken) = (BytesMut::new(), 0);
    let end = time::now() + span;
    while let Ok(read) = timeout(end - time::now(), peer.stream.read_into(&mut bytes, READ)).await {
        taken += read.expect("the connection is up");
        bytes.clear();
    }
    taken
}

// P8
#[test]
fn replies_that_nobody_grants_credit_for_are_bounded_and_end() {
    let limits = Limits::default();
    let (during, came, after) = held_for_one_that_grants_nothing("much", CallKind::UNARY);
    // 64 of a thousand, and the tables of their calls.
    let most = (limits.reply_bytes + 4 * MIB) as isize;
    assert!((60 * MIB as isize..most).contains(&during), "{during}");
    assert!(during < limits.report().called() as isize);
    // The first window of each of them.
    let least = 60 * (limits.call_window as usize - 1024);
    assert!((least..least + 2 * MIB).contains(&came), "{came}");
    assert!(after < 4 * MIB as isize, "{after}");
}

// P8
#[test]
fn items_that_nobody_grants_credit_for_wait_with_their_handlers() {
    let (during, _, after) = held_for_one_that_grants_nothing("many", CallKind::EXECUTOR_STREAMS);
    // One item of each handler, besides those that all may have under way.
    let most = Limits::default().reply_bytes + 1010 * MIB;
    assert!((during as usize) < most, "{during}");
    assert!(after < 4 * MIB as isize, "{after}");
}
