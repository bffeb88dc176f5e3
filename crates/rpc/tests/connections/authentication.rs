//! Brokers that share secrets, and those who do not; who may call what; what leaves the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bowline_backend::Backend;
use bowline_backend::net::{Family, Query, TcpStream, resolve};
use bowline_backend::stream::ByteStreamExt;
use bowline_backend::time;
use bowline_concurrency::{TaskGroup, task_group, timeout, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{Config, Machine, Side};
use bowline_rpc::{
    Broker, CallError, Caller, Certainty, Code, Context, Error, ErrorKind, Limits, Registry, Right,
    Secret, TcpBroker, TcpBrokerBuilder,
};
use bowline_sim::Sim;
use serde::{Deserialize, Deserializer, Serialize};

use crate::backends::{div, on_every_backend, registry};
use crate::raw_peer::{LONG, read_to_end};
use crate::wire::{Wire, over_every_wire};

fn secret(n: u8) -> Secret {
    Secret::new([n; 16]).expect("it is long enough")
}

fn serve() -> TcpBrokerBuilder {
    TcpBroker::builder(AsyncExecutor::new(registry(), 64)).listen("127.0.0.1:0")
}

fn client(server: &TcpBroker) -> TcpBrokerBuilder {
    TcpBroker::caller()
        .project("example")
        .connect(server.local_addrs()[0])
}

async fn refused(builder: TcpBrokerBuilder) -> ErrorKind {
    let began = time::now();
    let outcome = builder.run(async |_| -> Result<(), Error> { Ok(()) });
    let kind = outcome.await.expect_err("it is not let in").kind();
    // How long it takes is told by the clock of a world: others run while a machine does something else.
    if Backend::current() == Ok(Backend::Sim) {
        assert!(time::now() - began < Limits::default().handshake_timeout);
    }
    kind
}

/// Counts how often one was decoded.
#[derive(Serialize)]
struct Counted;

static DECODED: AtomicUsize = AtomicUsize::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        <()>::deserialize(deserializer).map(|()| Counted)
    }
}

// P3
#[test]
fn short_secrets_are_refused_where_they_are_made() {
    for length in 0..16 {
        let error = Secret::new(vec![7; length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WeakSecret);
        assert!(error.to_string().contains(&format!("{length} bytes")));
    }
    assert!(Secret::new([7; 16]).is_ok());
}

over_every_wire! {
    // BR18, BR15, P3
    async fn a_wrong_secret_ends_the_connect_in_time(wire: Wire) {
        wire.serve(registry()).secret(secret(1)).run(async |server| -> Result<(), Error> {
            let refused_ones = [
                wire.client(&server).secret(secret(2)),
                wire.client(&server),
                wire.client(&server).secret(secret(1)).key_id("unknown"),
            ];
            for builder in refused_ones {
                assert_eq!(refused(builder).await, ErrorKind::Unauthenticated);
            }
            assert_eq!(server.statistics().misfits, 3);
            wire.client(&server).secret(secret(1)).run(async |client| -> Result<(), Error> {
                assert_eq!(client.call(div(6, 3)).await.unwrap(), 2);
                Ok(())
            }).await
        }).await.unwrap();
        // The listener is the one without, and with another.
        for server in [wire.serve(registry()), wire.serve(registry()).secret(secret(2))] {
            server.run(async |server| -> Result<(), Error> {
                assert_eq!(refused(wire.client(&server).secret(secret(1))).await, ErrorKind::Unauthenticated);
                Ok(())
            }).await.unwrap();
        }
    }
}

on_every_backend! {
    // A4
    async fn keys_are_changed_without_a_lost_call() {
        let registry = Registry::new("example");
        registry.register_fn("who", |context: Context, (): ()| async move {
            context.caller().map(|peer| peer.principal().to_owned())
        }).unwrap();
        let server = TcpBroker::builder(AsyncExecutor::new(registry, 64)).listen("127.0.0.1:0");
        server.keys([("old", secret(1)), ("new", secret(2))]).run(async |server| -> Result<(), Error> {
            let with = |id: &'static str, n| client(&server).key_id(id).secret(secret(n));
            task_group(|group: TaskGroup<Error>| async move {
                // The broker with the former key is in use until the one with the next is, and beyond.
                let old = with("old", 1).start(&group).await?;
                let call = async |broker: &TcpBroker, id: &str| -> Result<(), CallError> {
                    let who: Option<String> = broker.call_named("who", ()).await?;
                    assert_eq!(who.as_deref(), Some(id));
                    Ok(())
                };
                call(&old, "old").await?;
                let new = with("new", 2).start(&group).await?;
                for _ in 0..50 {
                    call(&old, "old").await?;
                    call(&new, "new").await?;
                }
                old.close();
                for _ in 0..50 {
                    call(&new, "new").await?;
                }
                new.close();
                Ok::<_, Error>(())
            }).await.expect("no call fails");
            assert_eq!(server.statistics().misfits, 0);
            Ok(())
        }).await.unwrap();
        // Once the former key is gone, whoever has only that stays out.
        serve().keys([("new", secret(2))]).run(async |server| -> Result<(), Error> {
            let late = client(&server).key_id("old").secret(secret(1));
            assert_eq!(refused(late).await, ErrorKind::Unauthenticated);
            Ok(())
        }).await.unwrap();
    }

    // A5
    async fn a_method_that_is_denied_is_not_offered_and_not_run() {
        let server = serve()
            .keys([("shop", secret(1)), ("admin", secret(2))])
            .allow("shop", "add", Right::Call)
            .allow("admin", "*", Right::Call);
        server.run(async |server| -> Result<(), Error> {
            client(&server).key_id("shop").secret(secret(1)).run(async |shop| -> Result<(), Error> {
                assert_eq!(shop.call_named::<i64>("add", (2, 3)).await?, 5);
                let error = shop.call_named::<i64>("mul", (1, 2, 3)).fail_fast().await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::UnknownMethod, Certainty::NeverSent), "it is not offered");
                Ok(())
            }).await?;
            client(&server).key_id("admin").secret(secret(2)).run(async |admin| -> Result<(), Error> {
                assert_eq!(admin.call_named::<i64>("mul", (1, 2, 3)).await?, 6);
                Ok(())
            }).await?;
            // A peer that calls it all the same, by name and by the number it would have.
            denied_by_name(&server).await;
            Ok(())
        }).await.unwrap();
    }

    // A5
    async fn what_a_peer_may_not_execute_is_not_sent_to_it() {
        let server = TcpBroker::builder(AsyncExecutor::new(Registry::new("example"), 4))
            .listen("127.0.0.1:0")
            .keys([("worker", secret(1))])
            .allow("worker", "add", Right::Execute);
        server.run(async |server| -> Result<(), Error> {
            let worker = TcpBroker::builder(AsyncExecutor::new(registry(), 4)).connect(server.local_addrs()[0]);
            worker.key_id("worker").secret(secret(1)).run(async |_| -> Result<(), Error> {
                assert_eq!(server.call_named::<i64>("add", (2, 3)).await?, 5);
                let error = server.call_named::<i64>("mul", (1, 2, 3)).fail_fast().await.unwrap_err();
                assert_eq!(error.code(), Code::UnknownMethod);
                Ok(())
            }).await
        }).await.unwrap();
    }

    // P2
    async fn nothing_is_decoded_for_a_peer_that_is_not_ready() {
        let registry = Registry::new("example");
        registry.register_fn("count", |(_,): (Counted,)| async {}).unwrap();
        let server = TcpBroker::builder(AsyncExecutor::new(registry, 4)).secret(secret(1)).listen("127.0.0.1:0");
        server.run(async |server| -> Result<(), Error> {
            let before = DECODED.load(Ordering::SeqCst);
            let config = |secret| Arc::new(Config::new("example", [9; 16]).secret("", secret));
            let hello = |secret| {
                let mut machine = Machine::new(config(secret), Side::Dialer, time::now(), [3; 32]);
                bytes_of(&mut machine)
            };
            let head = [0, 0, 0, 0, 0, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let open = frame(0x10, 8, 1, &[&head[..], &[1, 0, 5], b"count", &[0x91, 0xC0]].concat());
            let ready = frame(0x03, 0, 0, b"\0");
            let proof = frame(0x02, 0, 0, &[7; 32]);
            let preface = hello(secret(1))[..8].to_vec();
            let attempts: [Vec<u8>; 5] = [
                open.clone(),
                [preface, open.clone()].concat(),
                [hello(secret(1)), open.clone()].concat(),
                [hello(secret(1)), ready.clone(), open.clone()].concat(),
                [hello(secret(1)), proof, ready, open].concat(),
            ];
            for attempt in attempts {
                let mut stream = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
                stream.write_all(&attempt).await.unwrap();
                read_to_end(&mut stream).await;
            }
            let gone = timeout(LONG, async {
                while server.statistics().open > 0 {
                    yield_now().await;
                }
            });
            gone.await.expect("they are closed");
            // Others may count too, on the other backends: those are let in.
            let seen = server.statistics();
            assert_eq!((seen.calls_received, seen.ready, seen.accepted), (0, 0, 5));
            assert_eq!(DECODED.load(Ordering::SeqCst), before);
            Ok(())
        }).await.unwrap();
    }

    // A3
    async fn ten_thousand_silent_connections_are_capped_and_harm_nobody() {
        let mut limits = Limits::default();
        limits.unauthenticated = 64;
        // None of them makes room for another because the machine is slow.
        limits.handshake_timeout = 30 * LONG;
        serve().secret(secret(1)).limits(limits).unwrap().run(async |server| -> Result<(), Error> {
            client(&server).secret(secret(1)).run(async |live| -> Result<(), Error> {
                let mut held = Vec::new();
                let silent = if matches!(bowline_backend::Backend::current(), Ok(bowline_backend::Backend::Sim)) { 10_000 } else { 1_000 };
                for n in 0..silent {
                    let mut stream = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
                    if held.len() < 64 {
                        held.push(stream);
                    } else {
                        assert_eq!(read_to_end(&mut stream).await, 0, "closed without a word");
                    }
                    if n % 100 == 0 {
                        assert_eq!(live.call_named::<i64>("add", (n, 1)).timeout(LONG).await?, n + 1);
                    }
                }
                let seen = server.statistics();
                assert!(seen.open <= 65, "{seen:?}");
                assert_eq!((seen.accepted, seen.refused), (65, silent as u64 - 64));
                Ok(())
            }).await
        }).await.unwrap();
    }

    // A7
    async fn what_is_not_encrypted_stays_on_this_machine() {
        for address in ["192.0.2.1:15383", "0.0.0.0:0", "[::]:0", "[2001:db8::1]:80"] {
            for builder in [TcpBroker::caller().connect(address), serve().listen(address)] {
                let error = builder.run(async |_| -> Result<(), Error> { Ok(()) }).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InsecureNetwork, "{error}");
                assert!(error.to_string().contains("allow_insecure_network"), "{error}");
            }
        }
        for address in ["127.0.0.1:0", "127.9.9.9:0", "[::ffff:127.0.0.1]:0", "localhost:0"] {
            let outcome = serve().listen(address).run(async |_| -> Result<(), Error> { Ok(()) }).await;
            assert_ne!(outcome.map_err(|error| error.kind()), Err(ErrorKind::InsecureNetwork), "{address}");
        }
        let open = serve().listen("0.0.0.0:0").allow_insecure_network();
        open.run(async |server| -> Result<(), Error> {
            assert_eq!(server.local_addrs().len(), 2);
            Ok(())
        }).await.unwrap();
    }

    async fn a_key_id_that_is_too_long_fails_the_start() {
        for (length, fits) in [(64, true), (65, false)] {
            let id = "k".repeat(length);
            for builder in [serve().key_id(id.clone()).secret(secret(1)), serve().keys([(id.clone(), secret(1))])] {
                let outcome = builder.run(async |_| -> Result<(), Error> { Ok(()) }).await;
                assert_eq!(outcome.map_err(|error| error.kind()), if fits { Ok(()) } else { Err(ErrorKind::InvalidInput) });
            }
        }
    }

    // A6
    async fn a_secret_is_in_no_text_of_a_broker() {
        let plain = *b"an unmistakable secret";
        let secret = || Secret::new(plain).unwrap();
        let server = serve().keys([("k2", secret())]).secret(secret());
        let mut texts = vec![format!("{server:?} {server:#?}")];
        server.run(async |server| -> Result<(), Error> {
            texts.push(format!("{server:?} {:?}", server.statistics()));
            let wrong = client(&server).secret(Secret::new(*b"unmistakable too, and wrong").unwrap());
            let error = wrong.run(async |_| -> Result<(), Error> { Ok(()) }).await.unwrap_err();
            texts.push(format!("{error} {error:?} {error:#?}"));
            Ok(())
        }).await.unwrap();
        texts.push(format!("{:?}", Secret::new(*b"unmistakable").unwrap_err()));
        texts.push(format!("{:?} {:#?}", secret(), Some(secret())));
        for text in texts {
            assert!(!text.contains("unmistakable") && !text.contains("97, 110, 32, 117"), "{text}");
        }
    }
}

/// How many sockets were opened where a broker was asked to connect and to listen off this machine.
fn opened(insecure: bool) -> usize {
    let sockets = bowline_sim::EventKind::Open;
    let world = Sim::builder()
        .host("server", std::future::pending::<()>)
        .client("client", move || async move {
            let query = Query::host("server", 80).family(Family::V4);
            let there = resolve(query).await.expect("it has an address")[0].to_string();
            let prepare = |builder: TcpBrokerBuilder| match insecure {
                true => builder.allow_insecure_network(),
                false => builder,
            };
            let brief = LONG / 1000;
            let calls = || prepare(TcpBroker::caller().project("example")).connect_timeout(brief);
            let serves = || prepare(TcpBroker::builder(AsyncExecutor::new(registry(), 4)));
            let wants = |kind: Option<ErrorKind>| {
                assert_eq!(
                    kind == Some(ErrorKind::InsecureNetwork),
                    !insecure,
                    "{kind:?}"
                );
            };
            let nothing = async |_| -> Result<(), Error> { Ok(()) };
            for to in ["server:80", &*there] {
                let outcome = calls().connect(to).run(nothing).await;
                wants(outcome.err().map(|error| error.kind()));
                let later = calls().run(async |broker| broker.connect(to).await);
                wants(later.await.err().map(|error| error.kind()));
            }
            for at in ["client:80", "0.0.0.0:81", "[::]:82"] {
                let outcome = serves().listen(at).run(nothing).await;
                wants(outcome.err().map(|error| error.kind()));
                let later = serves().run(async |broker| broker.listen(at).await.map(drop));
                wants(later.await.err().map(|error| error.kind()));
            }
            // Neither where one of two would do, nor over TLS for whoever connects, nor at a name.
            let Wire::Tls(tls, _) = Wire::tls() else {
                unreachable!("there is TLS")
            };
            for at in [
                &["127.0.0.1:83", "0.0.0.0:83"][..],
                &["127.0.0.1:84", "tls://0.0.0.0:84"],
                &["tls://client:85"],
            ] {
                let serves = serves().tls(tls.clone());
                let outcome = at.iter().fold(serves, |it, at| it.listen(*at)).run(nothing);
                wants(outcome.await.err().map(|error| error.kind()));
            }
        });
    let mut world = world.build();
    world.run_until(|world| world.is_finished()).unwrap();
    let trace = world.trace();
    let opened = trace.iter().filter(|line| line.event().kind() == sockets);
    opened.count()
}

// A7
#[test]
fn nothing_is_opened_for_what_would_leave_this_machine() {
    assert_eq!(opened(false), 0);
    // Where it may, each of them opens one.
    assert!(opened(true) >= 14);
}

fn frame(kind: u8, aux: u16, id: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes().to_vec();
    out.extend([kind, 0]);
    out.extend(aux.to_be_bytes());
    out.extend(id.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn bytes_of(machine: &mut Machine) -> Vec<u8> {
    let mut batch = bowline_codec::OutputBatch::new();
    while machine.poll_transmit(time::now(), &mut batch, usize::MAX) {}
    machine.on_transmitted(batch.len());
    batch.slices().flatten().copied().collect()
}

/// A peer that is `shop` and calls `mul`, which was not offered to it, by name and by number.
async fn denied_by_name(server: &TcpBroker) {
    use bowline_rpc::proto::{CodecId, Command, Event, MethodId, Open, Target};
    let config = Config::new("example", [9; 16]).secret("shop", secret(1));
    let stream = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
    let mut peer = crate::raw_peer::RawPeer::with(stream, Side::Dialer, config);
    peer.until(|event| matches!(event, Event::Discovered)).await;
    let targets = (1..=5).map(|n| Target::Method(MethodId(n)));
    let mut denied = 0;
    for target in targets.chain([Target::Name("mul".into()), Target::Name("nothing".into())]) {
        let open = Open::new(
            target,
            CodecId::MESSAGE_PACK,
            bytes::Bytes::from_static(&[0x93, 1, 2, 3]),
        );
        peer.command(Command::Open(open));
        let ended = |event: &Event| matches!(event, Event::Failed { .. } | Event::Replied { .. });
        if let Event::Failed { error, .. } = peer.until(ended).await
            && error.code() == Code::PermissionDenied
        {
            assert_eq!(error.certainty(), Certainty::Refused);
            denied += 1;
        }
    }
    // All but `add`, whose arguments do not fit.
    assert_eq!(denied, 6);
}
