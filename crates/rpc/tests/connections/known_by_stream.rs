//! Peers that are known by what their stream proves, without a secret: their certificate, or their user; and
//! those that prove nothing, who are recognised by what they show one peer alone.

use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{Config, Event, PeerHello, Side};
use bowline_rpc::{
    Caller, Code, Context, Error, ErrorKind, Registry, Right, Secret, TcpBroker, TcpBrokerBuilder,
};
use bowline_transport::{ClientCertificates, TlsClientConfig, TlsServerConfig};

use crate::backends::{on_every_backend, within};
use crate::raw_peer::{RawPeer, listener};
use crate::wire::{Authority, Wire};

/// A broker with `who`, which answers the principal of its caller, and `any`.
fn telling() -> TcpBrokerBuilder {
    let registry = Registry::new("example");
    let who = |context: Context, (): ()| async move {
        context.caller().map(|peer| peer.principal().to_owned())
    };
    registry.register_fn("who", who).unwrap();
    registry.register_fn("any", |(): ()| async {}).unwrap();
    TcpBroker::builder(AsyncExecutor::new(registry, 4))
}

/// Whom the server takes a client for.
async fn taken_for(server: &TcpBroker, client: TcpBrokerBuilder) -> Result<String, Error> {
    let client = client.connect(server.endpoints()[0].clone());
    client
        .run(async |client| -> Result<String, Error> {
            let who: Option<String> = client.call_named("who", ()).await?;
            Ok(who.expect("it has a caller"))
        })
        .await
}

fn caller() -> TcpBrokerBuilder {
    TcpBroker::caller().project("example")
}

fn secret() -> Secret {
    Secret::new([7; 16]).expect("it is long enough")
}

/// A client's side of TLS, with a certificate of this name.
fn named(authority: &Authority, name: Option<&str>) -> TlsClientConfig {
    let client = TlsClientConfig::builder().root_pem(authority.pem());
    let client = match name {
        Some(name) => {
            let (chain, key) = authority.sign(name, false);
            client.certificate(chain, key)
        }
        None => client,
    };
    client.build().unwrap()
}

/// The HELLO of the next who dials.
async fn hello(listener: &bowline_backend::net::TcpListener) -> PeerHello {
    let (stream, _) = listener.accept().await.expect("somebody connects");
    let config = Config::new("example", [9; 16]).passes([9; 32]);
    let mut peer = RawPeer::with(stream, Side::Listener, config);
    match peer.until(|event| matches!(event, Event::Ready(_))).await {
        Event::Ready(hello) => *hello,
        _ => unreachable!("that is what was asked for"),
    }
}

on_every_backend! {
    // A7
    async fn strangers_are_let_in_over_tls_on_this_machine_alone() {
        let authority = Authority::new();
        let certificate = authority.certificate("localhost");
        let tls = |clients: Option<ClientCertificates>| {
            let tls = TlsServerConfig::builder(&certificate);
            match clients {
                Some(clients) => tls.client_roots(clients, authority.pem()),
                None => tls,
            }
            .build()
            .unwrap()
        };
        let open = |clients| telling().tls(tls(clients)).listen("tls://0.0.0.0:0");
        let starts = |builder: TcpBrokerBuilder| async {
            let started = builder.run(async |_| -> Result<(), Error> { Ok(()) }).await;
            started.map_err(|error| (error.kind(), error.to_string().contains("allow_insecure_network")))
        };
        let insecure = Err((ErrorKind::InsecureNetwork, true));
        assert_eq!(starts(open(None)).await, insecure);
        assert_eq!(starts(open(Some(ClientCertificates::Optional))).await, insecure);
        let later = telling().tls(tls(None)).run(async |server| -> Result<(), Error> {
            server.listen("tls://0.0.0.0:0").await.map(drop)
        });
        assert_eq!(later.await.unwrap_err().kind(), ErrorKind::InsecureNetwork);
        let permitted = [
            telling().tls(tls(None)).listen("tls://127.0.0.1:0"),
            open(None).secret(secret()),
            open(None).keys([("k", secret())]),
            open(Some(ClientCertificates::Optional)).certificates(),
            open(Some(ClientCertificates::Require)),
            open(None).allow_insecure_network(),
        ];
        for builder in permitted {
            assert_eq!(starts(builder).await, Ok(()));
        }
    }

    // A8
    async fn a_peer_is_who_its_certificate_says() {
        let (ours, long) = (Authority::new(), "x".repeat(300));
        let tls = TlsServerConfig::builder(&ours.certificate("127.0.0.1"));
        let tls = tls.client_roots(ClientCertificates::Optional, ours.pem()).build().unwrap();
        let serve = || telling().tls(tls.clone()).listen("tls://127.0.0.1:0");
        let client = |name| caller().tls(named(&ours, name));
        // Nobody asked for more than that somebody is trusted.
        serve().run(async |server| -> Result<(), Error> {
            assert_eq!(taken_for(&server, client(Some("shop"))).await?, "");
            assert_eq!(taken_for(&server, client(None)).await?, "");
            Ok(())
        }).await.unwrap();
        let server = serve().certificates().keys([("key", secret())]).listen("127.0.0.1:0");
        server.allow("cert:CN=shop", "*", Right::Call).allow("*", "who", Right::Call).run(async |server| -> Result<(), Error> {
            assert_eq!(taken_for(&server, client(Some("shop"))).await?, "cert:CN=shop");
            assert_eq!(taken_for(&server, client(Some("cert:CN=shop, really"))).await?, "cert:CN=cert:CN=shop\\, really");
            // Who has a secret is whom that proves.
            let keyed = client(Some("shop")).key_id("key").secret(secret());
            assert_eq!(taken_for(&server, keyed).await?, "key");
            for (name, code) in [("shop", None), ("other", Some(Code::UnknownMethod))] {
                let client = client(Some(name)).connect(server.endpoints()[0].clone());
                client.run(async |client| -> Result<(), Error> {
                    let error = client.call_named::<()>("any", ()).fail_fast().await.err();
                    assert_eq!(error.map(|error| error.code()), code, "{name}");
                    Ok(())
                }).await?;
            }
            // Nobody, over TLS and without.
            let nobody = taken_for(&server, client(None)).await.unwrap_err();
            assert_eq!(nobody.kind(), ErrorKind::Unauthenticated, "{nobody}");
            // One that the principal of cannot be told.
            let unnamed = taken_for(&server, client(Some(&long))).await.unwrap_err();
            assert_eq!(unnamed.kind(), ErrorKind::Unauthenticated, "{unnamed}");
            let plain = caller().connect(server.local_addrs()[1]);
            let plain = plain.run(async |_| -> Result<(), Error> { Ok(()) }).await.unwrap_err();
            assert_eq!(plain.kind(), ErrorKind::Unauthenticated, "{plain}");
            Ok(())
        }).await.unwrap();
    }

    async fn a_peer_on_a_unix_socket_is_its_user() {
        // Those of the process and of the simulated ones.
        let real = std::fs::metadata("/proc/self").map_or(0, |it| std::os::unix::fs::MetadataExt::uid(&it));
        let users = [real, 1000];
        let serve = || telling().listen(Wire::unix().fresh());
        serve().run(async |server| -> Result<(), Error> {
            assert_eq!(taken_for(&server, caller()).await?, "");
            Ok(())
        }).await.unwrap();
        serve().unix_users(users).run(async |server| -> Result<(), Error> {
            let who = taken_for(&server, caller()).await?;
            assert!(users.iter().any(|user| who == format!("uid:{user}")), "{who}");
            // It is not known by what it has a secret for, as nobody else knows that.
            let keyed = caller().secret(secret());
            let error = taken_for(&server, keyed).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
            // And the other way round: who listens is known too.
            let client = telling().connect(server.endpoints()[0].clone());
            client.run(async |_| -> Result<(), Error> {
                let there: Option<String> = server.call_named("who", ()).await?;
                assert_eq!(there, Some(who.clone()));
                Ok(())
            }).await
        }).await.unwrap();
        serve().unix_users([real.wrapping_add(1), 1001]).run(async |server| -> Result<(), Error> {
            let error = taken_for(&server, caller()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
            assert_eq!(server.statistics().misfits, 1);
            Ok(())
        }).await.unwrap();
    }

    // R24
    async fn a_broker_shows_each_peer_what_it_shows_nobody_else() {
        within(|group| async move {
            let ((here, client), (there, _)) = (listener(), listener());
            let client = client.connect(there.local_addr().unwrap());
            let starting = client.start(&group);
            let (_client, passes) = futures_util::future::join(starting, async {
                let there = hello(&there).await;
                let first = hello(&here).await;
                // It is gone, so the broker comes back.
                let again = hello(&here).await;
                [there, first, again].map(|hello| (hello.instance, hello.pass.expect("it shows one")))
            }).await;
            let [there, first, again] = passes;
            assert_eq!(first, again);
            assert!(there.0 == first.0 && there.1 != first.1, "{there:?}");
            Ok(())
        }).await;
    }
}
