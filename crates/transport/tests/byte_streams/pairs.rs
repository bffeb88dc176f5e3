//! The pairs of streams that the laws are tried on.

use bowline_backend::net::{TcpListener, TcpStream};
use bowline_transport::MemoryStream;

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
