//! Streams to be made secure, and secure ones.

use std::sync::Arc;

use bowline_backend::net::{TcpListener, TcpStream, UnixStream};
use bowline_backend::stream::ByteStream;
use bowline_transport::{
    CertStore, Error, Extra, MemoryStream, TlsClientBuilder, TlsClientConfig, TlsServerBuilder,
    TlsServerConfig, TlsStream,
};
use futures_util::future::join;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificates::{Authority, Identity};

pub(crate) const NAME: &str = "bowline.test";

pub(crate) async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (connected, accepted) = join(connecting, listener.accept()).await;
    (connected.unwrap(), accepted.unwrap().0)
}

pub(crate) fn unix() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

/// So narrow that every record waits.
pub(crate) fn narrow() -> (MemoryStream, MemoryStream) {
    MemoryStream::builder().capacity(1000).pair()
}

pub(crate) fn client(authority: &Authority) -> TlsClientBuilder {
    TlsClientConfig::builder().root_pem(authority.pem())
}

pub(crate) fn server(identity: &Identity) -> TlsServerBuilder {
    TlsServerConfig::builder(&CertStore::new(&identity.chain, &identity.key).unwrap())
}

/// One that speaks TLS 1.2 alone.
pub(crate) fn older_server(identity: &Identity) -> TlsServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let older = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.collect::<Result<_, _>>().unwrap(), key)
        .unwrap();
    TlsServerConfig::from_rustls(Arc::new(older))
}

/// Both sides of a handshake.
pub(crate) async fn shake<S: ByteStream + Extra>(
    client: &TlsClientConfig,
    server: &TlsServerConfig,
    name: &str,
    (here, there): (S, S),
) -> (Result<TlsStream<S>, Error>, Result<TlsStream<S>, Error>) {
    let here = client.handshake(here, name).unwrap();
    let there = server.handshake(there).unwrap();
    join(here.into_future(), there.into_future()).await
}

/// Two secure ends over `below`.
pub(crate) async fn secure<S: ByteStream + Extra>(below: (S, S)) -> (TlsStream<S>, TlsStream<S>) {
    let authority = Authority::new();
    let client = client(&authority).build().unwrap();
    let server = server(&authority.sign(NAME)).build().unwrap();
    let (here, there) = shake(&client, &server, NAME, below).await;
    (here.unwrap(), there.unwrap())
}
