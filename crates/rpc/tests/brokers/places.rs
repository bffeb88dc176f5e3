//! Where brokers listen and connect: several places, of every kind, before and after the start.

use std::time::Duration;

use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{Caller, Endpoint, Error, ErrorKind, TcpBroker, TcpBrokerBuilder};
use bowline_transport::{ClientCertificates, MemoryNetwork, TlsClientConfig, TlsServerConfig};

use crate::backends::{on_every_backend, registry, within};
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
            let plain = TcpBroker::caller().project("example").connect_timeout(SOON).connect(server.local_addrs()[0]);
            assert_eq!(started(plain).await.unwrap_err().kind(), ErrorKind::NotOurProtocol(bowline_rpc::proto::Guess::Tls));
            assert_eq!((server.statistics().ready, server.statistics().calls_received), (0, 1));
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
                let client = TcpBroker::caller().connect_timeout(SOON).tls(client);
                let error = adds(client, at()).await.unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::Transport | ErrorKind::Unauthenticated), "{error}");
            }
            assert_eq!(server.statistics().calls_received, 1);
            Ok::<(), Error>(())
        }).await.unwrap();
    }
}
