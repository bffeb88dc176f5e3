//! A service behind mutual TLS and keys: certificates say which machines may connect, keys who calls, and
//! rules what each of them may.
//!
//! `cargo run -p bowline --example guarded_service --features tls`

use std::time::Duration;

use bowline::Error;
use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{Caller, Code, ErrorKind, Registry, Right, Secret, TcpBroker, TcpBrokerBuilder};
use bowline::transport::{
    CertStore, ClientCertificates, TlsClientBuilder, TlsClientConfig, TlsServerConfig,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

#[bowline::rpc(name = "vault.open")]
async fn open(context: bowline::rpc::Context, box_number: u32) -> String {
    let caller = context
        .caller()
        .map_or("nobody", |caller| caller.principal());
    format!("box {box_number} is open for {caller}")
}

#[bowline::rpc(name = "vault.count")]
async fn count() -> u32 {
    7
}

#[bowline::main]
async fn main() -> Result<(), Error> {
    let ours = Authority::new();
    let (ada, bob) = (Secret::generate(), Secret::generate());
    let registry = Registry::new("bank");
    registry.register(open)?;
    registry.register(count)?;

    let (chain, key) = ours.certify("127.0.0.1");
    let tls = TlsServerConfig::builder(&CertStore::new(&chain, &key)?)
        .client_roots(ClientCertificates::Require, ours.certificate())
        .build()?;
    TcpBroker::builder(AsyncExecutor::new(registry, 64))
        .tls(tls)
        // The proof of a key is bound to its TLS session: nobody in between can use it.
        .keys([("ada", ada.clone()), ("bob", bob.clone())])
        .allow("ada", "vault.*", Right::Call)
        .allow("bob", "vault.count", Right::Call)
        .listen("tls://127.0.0.1:0")
        .run(async |vault| -> Result<(), Error> {
            let address = vault.endpoints()[0].clone();
            let client = |tls: TlsClientBuilder, name: &str, secret: &Secret| {
                let caller = TcpBroker::caller().project("bank").key_id(name);
                Ok::<TcpBrokerBuilder, Error>(
                    caller
                        .secret(secret.clone())
                        .tls(tls.build()?)
                        .connect(address.clone()),
                )
            };
            let trusting = || TlsClientConfig::builder().root_pem(ours.certificate());
            let (chain, key) = ours.certify("a machine of the bank");
            let known = || trusting().certificate(chain.clone(), key.clone());

            client(known(), "ada", &ada)?
                .run(async |ada| -> Result<(), Error> {
                    let opened = ada.call(open(3)).await?;
                    assert_eq!(opened, "box 3 is open for ada");
                    println!("{opened}");
                    Ok(())
                })
                .await?;
            client(known(), "bob", &bob)?
                .run(async |bob| -> Result<(), Error> {
                    assert_eq!(bob.call(count()).await?, 7);
                    // It is not even offered to him.
                    let error = bob.call(open(3)).fail_fast().await.expect_err("he may not");
                    assert_eq!(error.code(), Code::UnknownMethod);
                    println!("bob may count, and does not see: {error}");
                    Ok(())
                })
                .await?;

            let nothing = async |_| -> Result<(), bowline::rpc::Error> { Ok(()) };
            let wrong = client(known(), "ada", &bob)?.run(nothing).await;
            let wrong = wrong.expect_err("the key is bob's");
            assert_eq!(wrong.kind(), ErrorKind::Unauthenticated);
            println!("another key: {wrong}");
            let nobody =
                client(trusting(), "ada", &ada)?.connect_timeout(Duration::from_millis(500));
            let nobody = nobody
                .run(nothing)
                .await
                .expect_err("there is no certificate");
            println!("no certificate: {nobody}");
            Ok(())
        })
        .await
}

/// Who signs certificates. A program gets them from files, and from an authority of its own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("entropy");
        Authority(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    fn certificate(&self) -> String {
        self.0.pem()
    }

    /// A chain and its key.
    fn certify(&self, name: &str) -> (String, String) {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("entropy");
        let certificate = params.signed_by(&key, &*self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}
