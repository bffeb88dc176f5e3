//! Peers that fall silent or come back as another: what is known of them, and what of it is void.

use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::stream::ByteStreamExt;
use bowline_backend::time;
use bowline_concurrency::{Root, TaskGroup, sleep, task_group, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{CodecId, Command, Event, MethodId, Open, Target};
use bowline_rpc::{Broker, CallError, Caller, Certainty, Code, Error, Limits, TcpBroker};
use bytes::Bytes;

use crate::backends::{on_every_backend, registry};
use crate::raw_peer::{RawPeer, listener, next_call};

// R20
#[test]
fn a_silent_peer_is_broken_within_three_heartbeats() {
    Root::new().backend(Backend::Sim).block_on(async {
        // The interval is drawn anew for each connection.
        for _ in 0..20 {
            silence().await;
        }
    });
}

// R20
#[test]
fn a_silent_dialer_is_broken_within_three_heartbeats_and_one_that_answers_pings_is_kept() {
    Root::new().backend(Backend::Sim).block_on(async {
        let server = TcpBroker::builder(AsyncExecutor::new(registry(), 4)).listen("127.0.0.1:0");
        let served = server.run(async |server| -> Result<(), Error> {
            let address = server.local_addrs()[0];
            let mut kept = RawPeer::dial(address, &Limits::default()).await;
            for lost in 0..5 {
                let silent = RawPeer::dial(address, &Limits::default()).await;
                let began = time::now();
                // The other has nothing to say but PONGs.
                while server.statistics().lost == lost {
                    let quiet = kept.until(|event| matches!(event, Event::Replied { .. }));
                    assert!(timeout(Duration::from_millis(100), quiet).await.is_err());
                }
                let took = time::now() - began;
                assert!(took <= Duration::from_millis(16_700), "{took:?}");
                assert!(took >= Duration::from_millis(13_400), "{took:?}");
                drop(silent);
            }
            // More than a minute without a word of its own but PONGs.
            let args = Bytes::from_static(&[0x92, 2, 3]);
            let add = Open::new(Target::Name("add".into()), CodecId::MESSAGE_PACK, args);
            kept.command(Command::Open(add));
            let replied = kept
                .until(|event| matches!(event, Event::Replied { .. }))
                .await;
            assert!(matches!(replied, Event::Replied { body, .. } if body[..] == [5]));
            Ok(())
        });
        served.await.expect("nothing fails");
    });
}

async fn silence() {
    let (listener, client) = listener();
    let ended = task_group(|group: TaskGroup<Error>| async move {
        let silent = group.spawn_ok(async move {
            let mut peer = RawPeer::accept(&listener, &Limits::default(), &["f"]).await;
            next_call(&mut peer).await;
            // It holds the connection, and neither reads nor answers.
            sleep(Duration::from_secs(60)).await;
        });
        let client = client.start(&group).await?;
        let began = time::now();
        let outcome = client.call_named::<u8>("f", ()).no_deadline().await;
        let error: CallError = outcome.unwrap_err();
        assert_eq!(
            (error.code(), error.certainty()),
            (Code::ConnectionLost, Certainty::MaybeExecuted)
        );
        // Three times 5 s, 10 % more or less; what came last came a little before the call.
        let took = time::now() - began;
        assert!(took <= Duration::from_millis(16_500), "{took:?}");
        assert!(took >= Duration::from_millis(13_400), "{took:?}");
        client.close();
        silent.join().await.expect("it wakes up");
        Ok(())
    });
    ended.await.expect("nothing fails");
}

on_every_backend! {
    // R23
    async fn a_peer_that_comes_back_begins_anew() {
        let (listener, client) = listener();
        task_group(|group: TaskGroup<Error>| async move {
            drop(group.spawn_ok(async move {
                let mut limits = Limits::default();
                limits.max_calls = 1;
                let mut peer = RawPeer::accept(&listener, &limits, &["f"]).await;
                for number in [1, 3] {
                    let call = next_call(&mut peer).await;
                    assert_eq!((call.call.as_u64(), call.target), (number, Target::Method(MethodId(1))));
                    if number == 1 {
                        peer.command(Command::Reply { call: call.call, body: Bytes::from_static(&[1]) });
                    }
                }
                // It goes while its only slot is taken, and comes back with other numbers.
                drop(peer);
                let mut peer = RawPeer::accept(&listener, &limits, &["g", "f"]).await;
                let call = next_call(&mut peer).await;
                assert_eq!((call.call.as_u64(), call.target), (1, Target::Method(MethodId(2))));
                // An answer to a call of the former connection has no meaning here.
                let stale = [0, 0, 0, 1, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 7];
                peer.command(Command::Reply { call: call.call, body: Bytes::from_static(&[2]) });
                peer.flush().await;
                peer.stream.write_all(&stale).await.unwrap();
                assert!(crate::raw_peer::read_to_end(&mut peer.stream).await > 0, "it is told, and closed");
            }));
            let client = client.start(&group).await?;
            assert_eq!(client.call_named::<u8>("f", ()).await?, 1);
            let lost = client.call_named::<u8>("f", ()).no_deadline().await.unwrap_err();
            assert_eq!((lost.code(), lost.certainty()), (Code::ConnectionLost, Certainty::MaybeExecuted));
            assert_eq!(client.call_named::<u8>("f", ()).await?, 2);
            client.close();
            Ok::<_, Error>(())
        }).await.unwrap();
    }
}
