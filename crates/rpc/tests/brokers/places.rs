//! Where brokers listen and connect: several places, of every kind, before and after the start.

use std::time::Duration;

use bowline_concurrency::{Backoff, sleep, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Caller, Endpoint, Error, ErrorKind, Reach, Registry, TcpBroker, TcpBrokerBuilder,
};
use bowline_transport::{ClientCertificates, MemoryNetwork, TlsClientConfig, TlsServerConfig};
use futures_util::FutureExt;

use crate::backends::{on_every_backend, registry, within};
use crate::held::LONG;
use crate::wire::{Authority, Wire};

const SOON: Duration = Duration::from_millis(300);

fn executing() -> TcpBrokerBuilder {
    TcpBroker::builder(AsyncExecutor::new(registry(), 64))
}

/// A caller at `endpoint` gets its sum.
async fn adds(caller: TcpBrokerBuilder, endpoint: impl Into<Endpoint>) -> Result<(), Error> {
    let caller = caller.project("example").connect(endpoint);
    caller
        .run(async |caller| {
            assert_eq!(caller.call_named::<i64>("add", (2, 3)).await?, 5);
            Ok(())
        })
        .await
}

/// How far the connection to the first place of `broker` is.
fn reach(broker: &TcpBroker) -> Reach {
    broker.dials()[0].reach.clone()
}

async fn until(holds: impl Fn() -> bool) {
    let held = timeout(LONG, async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    });
    held.await.expect("it comes to hold");
}

async fn started(builder: TcpBrokerBuilder) -> Result<(), Error> {
    builder.run(async |_| Ok(())).await
}

on_every_backend! {
    // BR4
    async fn two_listens_serve_one_registry() {
        executing().listen("127.0.0.1:0").listen("[::1]:0").run(async |server| {
            let addresses = server.local_addrs();
            assert!(addresses[0].is_ipv4() && addresses[1].is_ipv6() && addresses.len() == 2);
            for address in addresses {
                adds(TcpBroker::caller(), address).await?;
            }
            Ok::<(), Error>(())
        }).await.unwrap();
    }

    // BR18
    async fn one_broker_listens_at_every_kind_of_place() {
        let (memory, tls, unix) = (Wire::memory(), Wire::tls(), Wire::unix());
        let ready = |builder: TcpBrokerBuilder| tls.prepare(memory.prepare(builder));
        let server = ready(executing()).listen(memory.fresh()).listen(tls.fresh()).listen(unix.fresh()).listen("127.0.0.1:0");
        server.run(async |server| {
            let endpoints = server.endpoints();
            let texts: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
            let begins = ["mem://", "tls://127.0.0.1:", "unix:@", "127.0.0.1:"];
            assert!(texts.iter().zip(begins).all(|(text, begin)| text.starts_with(begin)), "{texts:?}");
            assert_eq!(server.local_addrs().len(), 2);
            for (endpoint, text) in endpoints.into_iter().zip(texts) {
                adds(ready(TcpBroker::caller()), endpoint).await?;
                // What it prints is where it is.
                adds(ready(TcpBroker::caller()), text).await?;
            }
            Ok::<(), Error>(())
        }).await.unwrap();
    }

    async fn a_broker_listens_and_connects_after_its_start_too() {
        within(|group| async move {
            let first = executing().start(&group).await?;
            let second = TcpBroker::caller().project("example").start(&group).await?;
            assert!(first.endpoints().is_empty());
            let at = first.listen("127.0.0.1:0").await?;
            assert_eq!(at, first.endpoints());
            second.connect(at[0].clone()).await?;
            assert_eq!(second.call_named::<i64>("add", (2, 3)).await?, 5);
            // The same place again is the same connection.
            second.connect(at[0].clone()).await?;
            assert_eq!((second.connections(), first.statistics().accepted), (1, 1));
            let error = first.listen(at[0].clone()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
            // Where it will never do, it may be tried again.
            let other = TcpBroker::caller().project("other").start(&group).await?;
            for _ in 0..2 {
                let error = other.connect(at[0].clone()).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::WrongProject, "{error}");
            }
            Ok(())
        }).await;
    }

    async fn a_place_that_refuses_after_it_worked_is_tried_again() {
        within(|group| async move {
            let network = MemoryNetwork::new();
            let first = executing().network(&network).listen("mem://shop").start(&group).await?;
            let again = Backoff::exponential(Duration::from_millis(1)).max(Duration::from_millis(10));
            let client = TcpBroker::caller().project("example").network(&network).reconnect(again);
            let client = client.connect("mem://shop").start(&group).await?;
            assert!(matches!(reach(&client), Reach::Connected));
            first.drain(SOON).await;
            let other = TcpBroker::builder(AsyncExecutor::new(Registry::new("other"), 1)).network(&network);
            let other = other.listen("mem://shop").start(&group).await?;
            until(|| matches!(reach(&client), Reach::Trying { last_failure: Some(why) } if why.kind() == ErrorKind::WrongProject)).await;
            other.drain(SOON).await;
            let _third = executing().network(&network).listen("mem://shop").start(&group).await?;
            client.connect("mem://shop").await?;
            assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
            Ok(())
        }).await;
    }

    async fn whoever_connects_again_waits_for_the_connection() {
        within(|group| async move {
            let network = MemoryNetwork::new();
            let again = Backoff::exponential(Duration::from_millis(1)).max(Duration::from_millis(10));
            let client = TcpBroker::caller().project("example").network(&network).reconnect(again);
            let client = client.connect_timeout(SOON).start(&group).await?;
            for _ in 0..2 {
                let error = client.connect("mem://shop").await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
            }
            let _server = executing().network(&network).listen("mem://shop").start(&group).await?;
            until(|| matches!(reach(&client), Reach::Connected)).await;
            client.connect("mem://shop").await?;
            assert_eq!((client.connections(), client.dials().len()), (1, 1));
            // One that nobody waits for fails as well as any other, and may be asked for again.
            let other = TcpBroker::caller().project("other").network(&network).start(&group).await?;
            drop(other.connect("mem://shop").now_or_never());
            until(|| matches!(reach(&other), Reach::GivenUp { failure } if failure.kind() == ErrorKind::WrongProject)).await;
            let error = other.connect("mem://shop").await.unwrap_err();
            assert_eq!((error.kind(), other.dials().len()), (ErrorKind::WrongProject, 1), "{error}");
            // And one that the end of the broker cuts short.
            let waits = client.clone();
            let nowhere = group.spawn_ok(async move { waits.connect("mem://nowhere").await });
            until(|| client.dials().len() == 2).await;
            client.close();
            let error = nowhere.join().await.expect("it is not cancelled").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
            Ok(())
        }).await;
    }

    async fn equal_places_are_one() {
        executing().listen("127.0.0.1:0").run(async |server| {
            let at = server.local_addrs()[0];
            let client = TcpBroker::caller().project("example").connect(at).connect(format!("tcp://{at}"));
            client.run(async |client| {
                assert_eq!((client.connections(), server.statistics().accepted), (1, 1));
                Ok::<(), Error>(())
            }).await
        }).await.unwrap();
    }

    async fn a_place_that_needs_more_says_what() {
        for (text, needs) in [("mem://shop", "network()"), ("tls://127.0.0.1:1", "tls()")] {
            for builder in [TcpBroker::caller().connect(text), executing().listen(text)] {
                let error = started(builder).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                assert!(error.to_string().contains(needs), "{error}");
            }
        }
    }

    async fn names_in_memory_are_those_of_one_network() {
        let (here, there) = (MemoryNetwork::new(), MemoryNetwork::new());
        executing().network(&here).listen("mem://shop").run(async |_| {
            adds(TcpBroker::caller().network(&here), "mem://shop").await?;
            let stranger = TcpBroker::caller().network(&there).connect("mem://shop").connect_timeout(SOON);
            assert_eq!(started(stranger).await.unwrap_err().kind(), ErrorKind::Transport);
            Ok::<(), Error>(())
        }).await.unwrap();
    }

    // A8
    async fn tls_is_as_it_is_configured() {
        let (ours, others) = (Authority::new(), Authority::new());
        let trusting = |authority: &Authority| TlsClientConfig::builder().root_pem(authority.pem());
        let certificate = ours.certificate("127.0.0.1");
        // The server alone shows who it is.
        let server = TlsServerConfig::builder(&certificate).build().unwrap();
        executing().tls(server).listen("tls://127.0.0.1:0").run(async |server| {
            let at = || server.endpoints()[0].clone();
            let client = trusting(&ours).build().unwrap();
            adds(TcpBroker::caller().tls(client), at()).await?;
            let distrusts = trusting(&others).build().unwrap();
            let error = adds(TcpBroker::caller().tls(distrusts), at()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
            // Plain bytes where TLS is spoken, and the other way round.
            let mut patience = SOON;
            loop {
                let plain = TcpBroker::caller().project("example").connect_timeout(patience).connect(server.local_addrs()[0]);
                let error = started(plain).await.unwrap_err();
                if error.kind() == ErrorKind::NotOurProtocol(bowline_rpc::proto::Guess::Tls) {
                    break;
                }
                // A busy machine may say nothing for so long.
                patience *= 4;
                assert!(patience < LONG, "{error}");
            }
            until(|| server.statistics().ready == 0).await;
            assert_eq!(server.statistics().calls_received, 1);
            Ok::<(), Error>(())
        }).await.unwrap();
        // Both do.
        let server = TlsServerConfig::builder(&certificate).client_roots(ClientCertificates::Require, ours.pem());
        executing().tls(server.build().unwrap()).listen("tls://127.0.0.1:0").run(async |server| {
            let at = || server.endpoints()[0].clone();
            let (chain, key) = ours.sign("client", false);
            let client = trusting(&ours).certificate(chain, key).build().unwrap();
            adds(TcpBroker::caller().tls(client), at()).await?;
            let (chain, key) = others.sign("client", false);
            let untrusted = trusting(&ours).certificate(chain, key).build().unwrap();
            let (chain, key) = ours.sign("client", true);
            let expired = trusting(&ours).certificate(chain, key).build().unwrap();
            for client in [trusting(&ours).build().unwrap(), untrusted, expired] {
                // At once, and for good: another attempt would end the same way.
                let client = TcpBroker::caller().connect_timeout(10 * LONG).tls(client);
                let error = timeout(LONG, adds(client, at())).await.expect("it is told").unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
                assert!(error.to_string().contains("the peer refused"), "{error}");
            }
            assert_eq!(server.statistics().calls_received, 1);
            Ok::<(), Error>(())
        }).await.unwrap();
    }
}
