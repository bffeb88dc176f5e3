//! The pairs of streams that the laws are tried on.

use bowline_backend::net::{TcpListenOptions, TcpListener, TcpOptions, TcpStream};
use bowline_backend::stream::{Address, ByteStream};
#[cfg(feature = "tls")]
use bowline_transport::TlsStream;
use bowline_transport::{MemoryStream, StapledStream};

use crate::bitten::Bitten;
#[cfg(feature = "tls")]
use crate::tls_pairs::secure;

const NARROW: usize = 32 * 1024;

pub(crate) async fn memory() -> (MemoryStream, MemoryStream) {
    MemoryStream::pair()
}

/// So small that every frame is cut.
pub(crate) async fn small_memory() -> (MemoryStream, MemoryStream) {
    MemoryStream::builder().capacity(7).pair()
}

pub(crate) async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (connected, accepted) = futures_util::future::join(connecting, listener.accept()).await;
    (connected.unwrap(), accepted.unwrap().0)
}

pub(crate) async fn bitten_memory() -> (Bitten<MemoryStream>, Bitten<MemoryStream>) {
    let (here, there) = memory().await;
    (Bitten::new(here), Bitten::new(there))
}

/// With buffers that single bytes fill in little time.
pub(crate) async fn bitten_tcp() -> (Bitten<TcpStream>, Bitten<TcpStream>) {
    let narrow = TcpOptions::new().send_buffer(NARROW).recv_buffer(NARROW);
    let listening = TcpListenOptions::new().accept_options(narrow.clone());
    let listener = TcpListener::bind_with("127.0.0.1:0".parse().unwrap(), listening).unwrap();
    let connecting = TcpStream::connect_with(listener.local_addr().unwrap(), narrow);
    let (connected, accepted) = futures_util::future::join(connecting, listener.accept()).await;
    let (here, there) = (connected.unwrap(), accepted.unwrap().0);
    (Bitten::new(here), Bitten::new(there))
}

/// Every read and write takes as much as the seed says, or waits.
pub(crate) async fn random_tcp() -> (Bitten<TcpStream>, Bitten<TcpStream>) {
    let (here, there) = tcp().await;
    (Bitten::random(here), Bitten::random(there))
}

#[cfg(feature = "tls")]
pub(crate) async fn tls_over_bitten_tcp()
-> (TlsStream<Bitten<TcpStream>>, TlsStream<Bitten<TcpStream>>) {
    secure(bitten_tcp().await).await
}

#[cfg(feature = "tls")]
pub(crate) async fn bitten_tls() -> (Bitten<TlsStream<TcpStream>>, Bitten<TlsStream<TcpStream>>) {
    let (here, there) = secure(tcp().await).await;
    (Bitten::new(here), Bitten::new(there))
}

type Stapled<S> = StapledStream<<S as ByteStream>::ReadHalf, <S as ByteStream>::WriteHalf>;

/// Each direction over a connection of its own.
fn staple<S: ByteStream>(there: (S, S), back: (S, S)) -> (Stapled<S>, Stapled<S>)
where
    S::ReadHalf: Sync,
    S::WriteHalf: Sync,
{
    let (one, other) = (Address::Named("one".into()), Address::Named("other".into()));
    let ((_, writer), (reader, _)) = (there.0.into_split(), back.0.into_split());
    let here = StapledStream::new(reader, writer).with_addresses(one.clone(), other.clone());
    let ((reader, _), (_, writer)) = (there.1.into_split(), back.1.into_split());
    let there = StapledStream::new(reader, writer).with_addresses(other, one);
    (here, there)
}

pub(crate) async fn stapled_memory() -> (Stapled<MemoryStream>, Stapled<MemoryStream>) {
    staple(memory().await, memory().await)
}

pub(crate) async fn stapled_tcp() -> (Stapled<TcpStream>, Stapled<TcpStream>) {
    staple(tcp().await, tcp().await)
}
