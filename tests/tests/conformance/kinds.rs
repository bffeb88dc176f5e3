//! The kinds of byte streams. What holds for streams is proved for each of them.

use std::io;
use std::net::SocketAddr;

use bowline_backend::net::{TcpListenOptions, TcpListener, TcpOptions, TcpStream};
#[cfg(unix)]
use bowline_backend::net::{UnixListener, UnixOptions, UnixStream};
use bowline_backend::stream::ByteStream;
#[cfg(unix)]
use bowline_backend::stream::UnixAddress;

/// Makes each case, a `fn<K: Kind>(Backend, RunOptions)`, one case per kind.
macro_rules! on_streams {
    ($($case:ident),* $(,)?) => {
        mod tcp {
            crate::kinds::on_streams!(@kind Tcp [$($case)*]);
        }
        #[cfg(unix)]
        mod unix {
            crate::kinds::on_streams!(@kind Unix [$($case)*]);
        }
    };
    (@kind $kind:ident [$($case:ident)*]) => {
        $(fn $case(
            backend: bowline_backend::Backend,
            options: bowline_backend::task::RunOptions,
        ) {
            super::$case::<crate::kinds::$kind>(backend, options);
        })*

        use crate::conformance;
        conformance! {
            all: [$($case),*]
            real: []
            dropping: []
            real_dropping: []
        }
    };
}
pub(crate) use on_streams;

/// How streams of a kind are made.
pub(crate) trait Kind: 'static {
    type Stream: ByteStream + std::fmt::Debug;
    type Listener;
    type At: Clone;
    /// Before the situations of the reality table in which this kind differs.
    const NAME: &'static str;

    /// Listens somewhere, with buffers of that many bytes on both sides.
    fn listen(buffers: Option<usize>) -> (Self::Listener, Self::At);
    async fn connect(to: &Self::At, buffers: Option<usize>) -> io::Result<Self::Stream>;
    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream>;

    /// Two connected streams.
    async fn pair() -> (Self::Stream, Self::Stream) {
        Self::pair_with(None).await
    }

    /// Two connected streams with buffers of that many bytes.
    async fn pair_with(buffers: Option<usize>) -> (Self::Stream, Self::Stream) {
        let (listener, at) = Self::listen(buffers);
        let client = Self::connect(&at, buffers).await.unwrap();
        (client, Self::accept(&listener).await.unwrap())
    }
}

/// Streams of TCP.
pub(crate) struct Tcp;

fn tcp_options(buffers: Option<usize>) -> TcpOptions {
    match buffers {
        Some(bytes) => TcpOptions::new().send_buffer(bytes).recv_buffer(bytes),
        None => TcpOptions::new(),
    }
}

impl Kind for Tcp {
    type Stream = TcpStream;
    type Listener = TcpListener;
    type At = SocketAddr;
    const NAME: &'static str = "TCP";

    fn listen(buffers: Option<usize>) -> (TcpListener, SocketAddr) {
        let listen = TcpListenOptions::new().accept_options(tcp_options(buffers));
        let listener = TcpListener::bind_with("127.0.0.1:0".parse().unwrap(), listen).unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    async fn connect(to: &SocketAddr, buffers: Option<usize>) -> io::Result<TcpStream> {
        TcpStream::connect_with(*to, tcp_options(buffers)).await
    }

    async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
        Ok(listener.accept().await?.0)
    }
}

/// Streams between processes of one system.
#[cfg(unix)]
pub(crate) struct Unix;

#[cfg(unix)]
impl Kind for Unix {
    type Stream = UnixStream;
    type Listener = UnixListener;
    type At = UnixAddress;
    const NAME: &'static str = "Unix";

    fn listen(_: Option<usize>) -> (UnixListener, UnixAddress) {
        let listener = UnixListener::bind(&UnixAddress::autobind()).unwrap();
        let at = listener.local_addr().unwrap().as_unix().unwrap().clone();
        (listener, at)
    }

    // What may be under way is bounded by the buffer of the side that writes.
    async fn connect(to: &UnixAddress, buffers: Option<usize>) -> io::Result<UnixStream> {
        let options = match buffers {
            Some(bytes) => UnixOptions::new().send_buffer(bytes).recv_buffer(bytes),
            None => UnixOptions::new(),
        };
        UnixStream::connect_with(to, options).await
    }

    async fn accept(listener: &UnixListener) -> io::Result<UnixStream> {
        Ok(listener.accept().await?.0)
    }
}
