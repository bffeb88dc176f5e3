//! The pairs of streams that the laws are tried on.

use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::stream::{Address, ByteStream};
use bowline_transport::{MemoryStream, StapledStream};

use crate::bitten::Bitten;

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

pub(crate) async fn bitten_tcp() -> (Bitten<TcpStream>, Bitten<TcpStream>) {
    let (here, there) = tcp().await;
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
