//! Methods that come and go while a broker runs, and peers that learn of it.

use bowline_backend::time;
use bowline_concurrency::{timeout, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{CodecId, Command, Event, MethodId, Open, Target};
use bowline_rpc::{
    Caller, Certainty, Code, Error, ErrorKind, Limits, Registry, RegistryError, Right, TcpBroker,
};
use bytes::Bytes;

use crate::backends::within;
use crate::raw_peer::{LONG, RawPeer};
use crate::wire::{Wire, over_every_wire};

/// A registry whose methods answer their own names.
fn naming(names: &[&str]) -> Registry {
    let registry = Registry::new("example");
    for name in names {
        let answer = (*name).to_owned();
        registry
            .register_fn(*name, move |(): ()| {
                let answer = answer.clone();
                async move { answer }
            })
            .unwrap();
    }
    registry
}

/// Calls `name` without waiting, until the outcome is that.
async fn until(client: &TcpBroker, name: &'static str, offered: bool) {
    let changed = timeout(LONG, async {
        loop {
            match client.call_named::<String>(name, ()).fail_fast().await {
                Ok(answer) => {
                    assert_eq!(answer, name);
                    if offered {
                        return;
                    }
                }
                Err(error) => {
                    assert_eq!(error.code(), Code::UnknownMethod, "{error}");
                    assert!(error.certainty().did_not_run());
                    if !offered {
                        return;
                    }
                }
            }
            yield_now().await;
        }
    });
    changed.await.expect("the peer is told");
}

over_every_wire! {
    // BR13, BR18
    async fn what_is_paused_resumed_attached_and_detached_is_told_to_peers(wire: Wire) {
        within(|group| async move {
            let server = wire.serve(naming(&["a", "b"])).start(&group).await?;
            let client = wire.client(&server).start(&group).await?;
            for name in ["a", "b"] {
                until(&client, name, true).await;
            }
            server.pause("a")?;
            until(&client, "a", false).await;
            until(&client, "b", true).await;
            server.resume("a")?;
            until(&client, "a", true).await;
            let more = naming(&["c", "d"]);
            server.attach(&more)?;
            assert_eq!(more.register_fn("e", |(): ()| async {}), Err(RegistryError::Locked));
            for name in ["c", "d"] {
                until(&client, name, true).await;
            }
            server.pause("c")?;
            until(&client, "c", false).await;
            assert!(server.detach(&more) && !server.detach(&more));
            for name in ["c", "d"] {
                until(&client, name, false).await;
            }
            for name in ["a", "b"] {
                until(&client, name, true).await;
            }
            // One connection saw it all, and one that comes now sees the same.
            let late = wire.client(&server).start(&group).await?;
            until(&late, "a", true).await;
            until(&late, "d", false).await;
            assert_eq!((client.connections(), server.connections()), (1, 2));
            Ok(())
        }).await;
    }

    // P9
    async fn a_call_that_waits_is_made_when_its_method_is_attached(wire: Wire) {
        within(|group| async move {
            let server = wire.serve(naming(&["a"])).start(&group).await?;
            let client = wire.client(&server).start(&group).await?;
            let waiting = client.clone();
            let call = group.spawn_ok(async move { waiting.call_named::<String>("late", ()).timeout(LONG).await });
            until(&client, "late", false).await;
            let late = naming(&["late"]);
            server.attach(&late)?;
            assert_eq!(call.join().await.expect("it is not cancelled")?, "late");
            // Of a connection in its handshake, too, whether its snapshot has left or not.
            for _ in 0..20 {
                assert!(server.detach(&late));
                let joins = wire.client(&server);
                let (joined, attached) = futures_util::future::join(joins.start(&group), async { server.attach(&late) }).await;
                attached?;
                until(&joined?, "late", true).await;
            }
            Ok(())
        }).await;
    }

    async fn what_cannot_be_attached_changes_nothing(wire: Wire) {
        within(|group| async move {
            let own = naming(&["a", "b"]);
            let server = wire.serve(own.clone()).start(&group).await?;
            let refused = |registry: &Registry| server.attach(registry).unwrap_err();
            assert_eq!(refused(&naming(&["c", "b"])).kind(), ErrorKind::Registry);
            assert_eq!(refused(&own).kind(), ErrorKind::Registry);
            assert_eq!(refused(&Registry::new("other")).kind(), ErrorKind::InvalidInput);
            assert!(!server.detach(&naming(&["a"])));
            assert_eq!(server.pause("c"), Err(RegistryError::Unknown("c".into())));
            let client = wire.client(&server).start(&group).await?;
            assert_eq!(client.attach(&naming(&["z"])).unwrap_err().kind(), ErrorKind::InvalidInput);
            for (name, offered) in [("a", true), ("b", true), ("c", false)] {
                until(&client, name, offered).await;
            }
            // Its own registry may go like any other.
            assert!(server.detach(&own));
            until(&client, "a", false).await;
            Ok(())
        }).await;
    }
}

#[test]
fn methods_are_told_with_the_weight_of_their_broker() {
    crate::backends::run(bowline_backend::Backend::Sim, async {
        let server = TcpBroker::builder(AsyncExecutor::new(naming(&["a"]), 1)).weight(3);
        let ran = server
            .listen("127.0.0.1:0")
            .run(async |server| -> Result<(), Error> {
                let mut peer = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
                let told = peer
                    .until(|event| matches!(event, Event::Advertised(_)))
                    .await;
                let Event::Advertised(methods) = told else {
                    unreachable!("that is what was asked for")
                };
                let weights: Vec<_> = methods.iter().map(|m| (&*m.name, m.weight)).collect();
                assert!(weights.contains(&("a", 3)), "{weights:?}");
                Ok(())
            });
        ran.await.unwrap();
    });
}

// P9
#[test]
fn a_method_that_is_attached_is_called_within_a_round_trip() {
    crate::backends::run(bowline_backend::Backend::Sim, async {
        within(|group| async move {
            let executor = AsyncExecutor::new(naming(&["a"]), 4);
            let server = TcpBroker::builder(executor).listen("127.0.0.1:0");
            let server = server.start(&group).await?;
            let client = TcpBroker::caller().project("example");
            let client = client
                .connect(server.local_addrs()[0])
                .start(&group)
                .await?;
            let began = time::now();
            client.call_named::<String>("a", ()).await?;
            let round_trip = time::now().saturating_duration_since(began);
            let waiting = client.clone();
            let call = group.spawn_ok(async move {
                let late = waiting.call_named::<String>("late", ()).timeout(LONG).await;
                late.map(|_| time::now())
            });
            until(&client, "late", false).await;
            let attached = time::now();
            server.attach(&naming(&["late"]))?;
            let answered = call.join().await.expect("it is not cancelled")?;
            // Half of one until the client hears of it, and one for the call.
            let took = answered.saturating_duration_since(attached);
            assert!(took < 2 * round_trip, "{took:?} of {round_trip:?}");
            Ok(())
        })
        .await;
    });
}

// P9
#[test]
fn a_call_that_crosses_a_withdrawal_is_of_no_known_method_under_rules_too() {
    crate::backends::run(bowline_backend::Backend::Sim, async {
        within(|group| async move {
            let executor = AsyncExecutor::new(naming(&["a", "b"]), 4);
            let server =
                TcpBroker::builder(executor)
                    .listen("127.0.0.1:0")
                    .allow("*", "a", Right::Call);
            let server = server.start(&group).await?;
            let mut peer = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
            let told = peer
                .until(|event| matches!(event, Event::Advertised(_)))
                .await;
            let Event::Advertised(methods) = told else {
                unreachable!("that is what was asked for")
            };
            assert_eq!(methods.len(), 1, "{methods:?}");
            let mut outcome = async |id| {
                let null = Bytes::from_static(b"null");
                let open = Open::new(Target::Method(id), CodecId::JSON, null);
                peer.command(Command::Open(open));
                let ended =
                    |event: &Event| matches!(event, Event::Replied { .. } | Event::Failed { .. });
                match peer.until(ended).await {
                    Event::Failed { error, .. } => Some((error.code(), error.certainty())),
                    _ => None,
                }
            };
            let (a, b, none) = (methods[0].method, MethodId(2), MethodId(7));
            assert_eq!(outcome(a).await, None);
            let denied = Some((Code::PermissionDenied, Certainty::Refused));
            assert_eq!((outcome(b).await, outcome(none).await), (denied, denied));
            // The peer has not read that by the time it calls.
            server.pause("a")?;
            let unknown = Some((Code::UnknownMethod, Certainty::Refused));
            assert_eq!(outcome(a).await, unknown);
            assert_eq!((outcome(b).await, outcome(none).await), (denied, denied));
            Ok(())
        })
        .await;
    });
}

// P9
#[test]
fn a_call_by_name_may_come_before_the_peer_was_told_of_anything() {
    crate::backends::run(bowline_backend::Backend::Sim, async {
        within(|group| async move {
            let executor = AsyncExecutor::new(naming(&["a"]), 4);
            let server = TcpBroker::builder(executor).listen("127.0.0.1:0");
            let server = server.start(&group).await?;
            let mut peer = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
            let open = |name: &str| {
                let target = Target::Name(name.into());
                Open::new(target, CodecId::JSON, Bytes::from_static(b"null"))
            };
            // Not a frame of the broker's snapshot has been read by now.
            peer.command(Command::Open(open("a")));
            let ended =
                |event: &Event| matches!(event, Event::Replied { .. } | Event::Failed { .. });
            let replied = peer.until(ended).await;
            assert!(matches!(&replied, Event::Replied { body, .. } if &body[..] == b"\"a\""));
            // One that crosses its withdrawal is refused, and did not run.
            server.pause("a")?;
            peer.command(Command::Open(open("a")));
            let refused = peer.until(ended).await;
            let Event::Failed { error, .. } = refused else {
                panic!("{refused:?}");
            };
            let ended = (error.code(), error.certainty());
            assert_eq!(ended, (Code::UnknownMethod, Certainty::Refused));
            Ok(())
        })
        .await;
    });
}
