//! What a connection is made of, so that one case runs over all of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use bowline_rpc::executor::{AsyncExecutor, Executor};
use bowline_rpc::{Registry, TcpBroker, TcpBrokerBuilder};
use bowline_transport::{CertStore, MemoryNetwork, TlsClientConfig, TlsServerConfig};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ED25519,
    date_time_ymd,
};

/// One of the kinds of byte streams.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    Tcp,
    Tls(TlsServerConfig, TlsClientConfig),
    Unix,
    Memory(MemoryNetwork),
}

/// `async fn name(wire: Wire) { .. }` becomes `name::tcp::tokio` and so on, for every kind of stream and
/// every backend.
macro_rules! over_every_wire {
    ($($(#[$attribute:meta])* async fn $name:ident($wire:ident: Wire) $body:block)*) => {
        $(
            $(#[$attribute])*
            mod $name {
                use super::*;

                async fn case($wire: Wire) $body

                $crate::wire::on_each!(case; tcp tls unix memory);
            }
        )*
    };
}
pub(crate) use over_every_wire;

macro_rules! on_each {
    ($case:ident; $($kind:ident)*) => {
        $(
            mod $kind {
                use super::*;

                fn run(backend: bowline_backend::Backend) {
                    $crate::backends::run(backend, async { $case(Wire::$kind()).await });
                }

                #[test]
                fn tokio() {
                    run(bowline_backend::Backend::Tokio);
                }

                #[test]
                fn smol() {
                    run(bowline_backend::Backend::Smol);
                }

                #[test]
                fn async_std() {
                    run(bowline_backend::Backend::AsyncStd);
                }

                #[test]
                fn sim() {
                    run(bowline_backend::Backend::Sim);
                }
            }
        )*
    };
}
pub(crate) use on_each;

impl Wire {
    pub(crate) fn tcp() -> Wire {
        Wire::Tcp
    }

    pub(crate) fn unix() -> Wire {
        Wire::Unix
    }

    pub(crate) fn memory() -> Wire {
        Wire::Memory(MemoryNetwork::new())
    }

    /// A server that has a certificate, and clients that trust who signed it.
    pub(crate) fn tls() -> Wire {
        let authority = Authority::new();
        let server = TlsServerConfig::builder(&authority.certificate("127.0.0.1")).build();
        let client = TlsClientConfig::builder().root_pem(authority.pem()).build();
        Wire::Tls(server.unwrap(), client.unwrap())
    }

    /// What any broker needs for this kind.
    pub(crate) fn prepare(&self, builder: TcpBrokerBuilder) -> TcpBrokerBuilder {
        match self {
            Wire::Tcp | Wire::Unix => builder,
            Wire::Tls(server, client) => builder.tls(server.clone()).tls(client.clone()),
            Wire::Memory(network) => builder.network(network),
        }
    }

    /// An address where nobody listens yet.
    pub(crate) fn fresh(&self) -> String {
        static NAMES: AtomicUsize = AtomicUsize::new(0);
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        match self {
            Wire::Tcp => "127.0.0.1:0".into(),
            Wire::Tls(..) => "tls://127.0.0.1:0".into(),
            Wire::Unix => format!("unix:@bowline-rpc-{}-{number}", std::process::id()),
            Wire::Memory(_) => format!("mem://broker-{number}"),
        }
    }

    /// A broker that listens, and runs the handlers of `executor`.
    pub(crate) fn serve_by(&self, executor: impl Executor) -> TcpBrokerBuilder {
        self.prepare(TcpBroker::builder(executor))
            .listen(self.fresh())
    }

    pub(crate) fn serve(&self, registry: Registry) -> TcpBrokerBuilder {
        self.serve_by(AsyncExecutor::new(registry, 64))
    }

    /// A broker that calls `server`.
    pub(crate) fn client(&self, server: &TcpBroker) -> TcpBrokerBuilder {
        self.prepare(TcpBroker::caller().project("example"))
            .connect(server.endpoints()[0].clone())
    }
}

/// Who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// Signatures of one length: a simulated run is the same each time.
fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, key()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn certificate(&self, name: &str) -> CertStore {
        let (chain, key) = self.sign(name, false);
        CertStore::new(&chain, &key).unwrap()
    }

    /// A chain and its key.
    pub(crate) fn sign(&self, name: &str, expired: bool) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if expired {
            params.not_before = date_time_ymd(1990, 1, 1);
            params.not_after = date_time_ymd(1991, 1, 1);
        }
        let key = key();
        let certificate = params.signed_by(&key, &*self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}
