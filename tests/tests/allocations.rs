//! What costs no memory: a test binary of its own, for it counts allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bowline_backend::Backend;
#[cfg(unix)]
use bowline_backend::net::UnixStream;
use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::stream::{ByteReader, ByteStream, ByteStreamExt};
use bowline_backend::task::{RunOptions, Threads};
use bowline_backend::time::{now, sleep_until};
use bytes::BytesMut;
use futures_lite::{AsyncRead, AsyncWrite};

/// Counts the allocations of each thread, all of them and those of 256 bytes and more: buffers, not
/// wakers.
struct Counting;

thread_local! {
    static ALL: Cell<usize> = const { Cell::new(0) };
    static LARGE: Cell<usize> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "the allocator trait is unsafe")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALL.set(ALL.get() + 1);
        if layout.size() >= 256 {
            LARGE.set(LARGE.get() + 1);
        }
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System`, by `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MOST: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

/// Reads from `server` what comes from `client`, into buffers that have no room at first.
async fn read_into_nothing(
    backend: Backend,
    mut client: impl ByteStream,
    mut server: impl ByteStream,
) {
    for round in 0..3 {
        let mut buffer = BytesMut::new();
        let before = LARGE.get();
        let waits = poll_fn(|cx| {
            let read = Pin::new(&mut server).poll_read_into(cx, &mut buffer, MOST);
            Poll::Ready(read.is_pending())
        });
        assert!(waits.await);
        assert_eq!(
            buffer.capacity(),
            0,
            "{backend} holds a buffer, round {round}"
        );
        assert_eq!(LARGE.get(), before, "{backend}, round {round}");
        client.write_all(&[7; 1_000]).await.unwrap();
        let read = server.read_into(&mut buffer, MOST).await.unwrap();
        assert_eq!(read, 1_000);
        assert!(LARGE.get() > before, "the counter counts");
    }
}

// S7
#[test]
fn a_read_into_an_empty_buffer_allocates_only_when_readable() {
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        let options = RunOptions::default().threads(Threads::One);
        // The future of `block_on` stays on this thread, whose allocations are counted.
        backend.block_on_with(options, async {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            let client = TcpStream::connect(address).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            read_into_nothing(backend, client, server).await;
            #[cfg(unix)]
            {
                let (client, server) = UnixStream::pair().unwrap();
                read_into_nothing(backend, client, server).await;
            }
        });
    }
}

// B65
#[test]
fn reads_writes_and_sleeps_allocate_nothing() {
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        let options = RunOptions::default().threads(Threads::One);
        // The future of `block_on` stays on this thread, whose allocations are counted.
        backend.block_on_with(options, async {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            let mut client = TcpStream::connect(address).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            let mut sleep = pin!(sleep_until(now() + Duration::from_secs(3_600)));
            let mut into = BytesMut::with_capacity(64 * 1024);
            let mut before = 0;
            for round in 0..200 {
                if round == 100 {
                    // By now the reactor has the room it needs.
                    before = ALL.get();
                }
                poll_fn(|cx| {
                    let mut bytes = [0; 8];
                    assert!(Pin::new(&mut server).poll_read(cx, &mut bytes).is_pending());
                    let read = Pin::new(&mut server).poll_read_into(cx, &mut into, MOST);
                    assert!(read.is_pending());
                    assert!(sleep.as_mut().poll(cx).is_pending());
                    let written = Pin::new(&mut client).poll_write(cx, &[1; 8]);
                    assert!(matches!(written, Poll::Ready(Ok(8))));
                    Poll::Ready(())
                })
                .await;
                let mut bytes = [0; 4];
                let read = poll_fn(|cx| Pin::new(&mut server).poll_read(cx, &mut bytes));
                assert_eq!(read.await.unwrap(), 4);
                into.clear();
                assert_eq!(server.read_into(&mut into, MOST).await.unwrap(), 4);
            }
            assert_eq!(ALL.get(), before, "{backend} allocates");
        });
    }
}
