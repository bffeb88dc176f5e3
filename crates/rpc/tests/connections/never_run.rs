//! Calls that no handler gets: of a kind that their method does not take, given up before it begins, or of
//! a broker that runs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::stream::ByteStreamExt;
use bowline_backend::time;
use bowline_concurrency::{sleep, timeout, yield_now};
use bowline_rpc::executor::{AsyncExecutor, Executor, NullExecutor};
use bowline_rpc::proto::{CallKind, CancelReason, CodecId, Command, Event, Open, Target};
use bowline_rpc::{Certainty, Code, Error, Limits, Registry, TcpBroker};
use bytes::Bytes;

use crate::backends::{on_every_backend, registry};
use crate::raw_peer::{LONG, RawPeer};

fn call(method: &str) -> Open {
    let body = Bytes::from_static(&[0x92, 2, 3]);
    Open::new(Target::Name(method.into()), CodecId::MESSAGE_PACK, body)
}

fn open(method: &str, kind: CallKind) -> Command {
    Command::Open(call(method).kind(kind))
}

/// The usual methods, and `count`, which counts its runs and cannot be stopped.
fn counting() -> (Registry, Arc<AtomicUsize>) {
    let (registry, runs) = (registry(), Arc::new(AtomicUsize::new(0)));
    let counted = runs.clone();
    let count = move |(_, _): (i64, i64)| counted.fetch_add(1, Ordering::SeqCst) as i64;
    registry.register_blocking("count", count).unwrap();
    (registry, runs)
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

    // EX5
    async fn who_calls_a_broker_that_runs_nothing_is_told_so() {
        let server = TcpBroker::builder(NullExecutor::new(registry())).listen("127.0.0.1:0");
        server.run(async |server| -> Result<(), Error> {
            let mut peer = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
            // It offers nothing, so whoever calls all the same does so by name.
            peer.command(open("add", CallKind::UNARY));
            let ended = peer.until(|event| matches!(event, Event::Failed { .. })).await;
            let Event::Failed { error, .. } = ended else { unreachable!("that is what was asked for") };
            assert_eq!((error.code(), error.certainty()), (Code::NoExecutor, Certainty::Refused));
            Ok(())
        }).await.unwrap();
    }

    // EX7
    async fn a_call_that_comes_with_its_cancel_never_runs() {
        const CALLS: u64 = 50;
        let (registry, runs) = counting();
        let executor = AsyncExecutor::new(registry, 64);
        let server = TcpBroker::builder(executor.clone()).listen("127.0.0.1:0");
        server.run(async |server| -> Result<(), Error> {
            let mut peer = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
            let mut bytes = Vec::new();
            for _ in 0..CALLS {
                let call = peer.machine.command(time::now(), open("count", CallKind::UNARY));
                bytes.extend(peer.bytes());
                let (call, reason) = (call.expect("there is room"), CancelReason::Dropped);
                peer.command(Command::Cancel { call, reason });
                bytes.extend(peer.bytes());
            }
            // All in one write, so that the cancels are read with the calls.
            peer.stream.write_all(&bytes).await.unwrap();
            peer.command(open("add", CallKind::UNARY));
            peer.until(|event| matches!(event, Event::Replied { .. })).await;
            assert_eq!(server.statistics().calls_received, CALLS + 1);
            let ended = timeout(LONG, async {
                while executor.capacity().running + executor.capacity().waiting > 0 {
                    yield_now().await;
                }
            });
            ended.await.expect("all are answered");
            // Where there are threads one may begin before its cancel has been read.
            let is_sim = matches!(Backend::current(), Ok(Backend::Sim));
            let most = if is_sim { 0 } else { CALLS as usize / 2 };
            assert!(runs.load(Ordering::SeqCst) <= most, "{runs:?}");
            Ok(())
        }).await.unwrap();
    }

    // EX17
    async fn a_call_whose_deadline_passed_while_it_waited_for_a_place_never_runs() {
        const BUDGET: Duration = Duration::from_secs(1);
        let (registry, runs) = counting();
        let server = TcpBroker::builder(AsyncExecutor::new(registry, 1)).listen("127.0.0.1:0");
        server.run(async |server| -> Result<(), Error> {
            let mut peer = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
            let nothing = Bytes::from_static(&[0xC0]);
            let first = Open::new(Target::Name("slow".into()), CodecId::MESSAGE_PACK, nothing);
            let first = peer.machine.command(time::now(), Command::Open(first)).expect("there is room");
            let late = Command::Open(call("count").deadline(time::now() + BUDGET));
            let late = peer.machine.command(time::now(), late).expect("there is room");
            peer.flush().await;
            let received = timeout(LONG, async {
                while server.statistics().calls_received < 2 {
                    yield_now().await;
                }
            });
            received.await.expect("both are");
            // This peer does not say that it waits no longer.
            sleep(BUDGET).await;
            let reason = CancelReason::Dropped;
            peer.command(Command::Cancel { call: first, reason });
            let is_it = |event: &Event| matches!(event, Event::Failed { call, .. } if *call == late);
            let Event::Failed { error, .. } = peer.until(is_it).await else { unreachable!("that is what was asked for") };
            assert_eq!((error.code(), error.certainty()), (Code::DeadlineExceeded, Certainty::Refused));
            assert_eq!(runs.load(Ordering::SeqCst), 0);
            Ok(())
        }).await.unwrap();
    }
}
