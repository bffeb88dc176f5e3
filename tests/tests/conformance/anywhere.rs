//! Sockets that are used where their backend does not run: B62 for those that make others and for
//! datagrams. Streams and sleeps stand with the rest of B62.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use bowline_backend::Backend;
use bowline_backend::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener};
use bowline_backend::stream::{ByteReader, ByteStream, ByteStreamExt, UnixAddress};
use bowline_backend::task::RunOptions;
use bowline_tests::latch::{Latch, OnDrop};
use bowline_tests::temp_dir::TempDir;
use bytes::BytesMut;

use crate::conformance;
use crate::streams::read_all;

conformance! {
    all: []
    real: [listeners_and_datagrams_work_anywhere]
    dropping: []
    real_dropping: []
}

const MOST: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

struct Sockets {
    dir: TempDir,
    tcp: TcpListener,
    unix: UnixListener,
    udp: (UdpSocket, UdpSocket),
    datagrams: (UnixDatagram, UnixDatagram),
}

impl Sockets {
    fn new() -> Sockets {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let dir = TempDir::new();
        let path = UnixAddress::from_path(dir.join("listener")).unwrap();
        let receiver = UdpSocket::bind(any).unwrap();
        let sender = UdpSocket::connect(receiver.local_addr().unwrap()).unwrap();
        let datagrams = UnixDatagram::bind(&UnixAddress::autobind()).unwrap();
        Sockets {
            dir,
            tcp: TcpListener::bind(any).unwrap(),
            unix: UnixListener::bind(&path).unwrap(),
            udp: (receiver, sender),
            datagrams: (datagrams, UnixDatagram::unbound().unwrap()),
        }
    }

    async fn use_up(self, backend: Backend) {
        let client = std::net::TcpStream::connect(self.tcp.local_addr().unwrap()).unwrap();
        let (accepted, _) = self.tcp.accept().await.unwrap();
        assert_eq!(accepted.backend(), backend);
        talk(accepted, client.try_clone().unwrap(), || {
            client.shutdown(Shutdown::Write).unwrap();
        })
        .await;

        let at = self.dir.join("listener");
        let client = std::os::unix::net::UnixStream::connect(at).unwrap();
        let (accepted, _) = self.unix.accept().await.unwrap();
        assert_eq!(accepted.backend(), backend);
        talk(accepted, client.try_clone().unwrap(), || {
            client.shutdown(Shutdown::Write).unwrap();
        })
        .await;

        let (receiver, sender) = self.udp;
        let mut buffer = BytesMut::new();
        sender.send(b"datagram").await.unwrap();
        receiver.recv_from(&mut buffer, MOST).await.unwrap();
        assert_eq!(buffer, "datagram");

        // More than the receiver holds, so that the sender waits for it.
        let (receiver, sender) = self.datagrams;
        let to = receiver.local_addr().unwrap();
        let send = async {
            for number in 0..2_000_u32 {
                sender.send_to(&number.to_be_bytes(), &to).await.unwrap();
            }
        };
        let receive = async {
            for number in 0..2_000_u32 {
                let mut buffer = BytesMut::new();
                receiver.recv_from(&mut buffer, MOST).await.unwrap();
                assert_eq!(buffer[..], number.to_be_bytes());
            }
        };
        futures_lite::future::zip(send, receive).await;
    }
}

/// Talks both ways over an accepted stream.
async fn talk<S>(mut accepted: S, mut client: impl Read + Write, end: impl FnOnce())
where
    S: ByteStream + ByteReader,
{
    client.write_all(b"question").unwrap();
    end();
    assert_eq!(read_all(&mut accepted).await.unwrap(), b"question");
    accepted.write_all(b"answer").await.unwrap();
    drop(accepted);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
}

/// Wakes a thread.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives `future` on this thread, which has no runtime.
fn drive<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

// B62
fn listeners_and_datagrams_work_anywhere(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        // The runtime of the sockets goes on here, for nobody else would turn its reactor.
        for other in [None, Some(Backend::Tokio), Some(Backend::Smol)] {
            let (sockets, ended) = (Sockets::new(), Latch::new(1));
            let on_end = OnDrop(ended.clone());
            let there = thread::spawn(move || {
                let _ended = on_end;
                let used = sockets.use_up(backend);
                match other {
                    Some(other) => other.block_on(used),
                    None => drive(used),
                }
            });
            ended.wait().await;
            there.join().unwrap();
        }
    });
}
