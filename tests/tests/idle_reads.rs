//! What waits to be read costs no memory: a test binary of its own, for it counts allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use bowline_backend::Backend;
use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::stream::{ByteReader, ByteStreamExt};
use bowline_backend::task::{RunOptions, Threads};
use bytes::BytesMut;

/// Counts the allocations of 256 bytes and more: buffers, not wakers.
struct Counting;

static LARGE: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "the allocator trait is unsafe")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= 256 {
            LARGE.fetch_add(1, Ordering::SeqCst);
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

// S7
#[test]
fn a_read_into_an_empty_buffer_allocates_only_when_readable() {
    for backend in [Backend::Tokio, Backend::Smol] {
        let options = RunOptions::default().threads(Threads::One);
        backend.block_on_with(options, async {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            let mut client = TcpStream::connect(address).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            for round in 0..3 {
                let mut buffer = BytesMut::new();
                let before = LARGE.load(Ordering::SeqCst);
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
                assert_eq!(
                    LARGE.load(Ordering::SeqCst),
                    before,
                    "{backend}, round {round}"
                );
                client.write_all(&[7; 1_000]).await.unwrap();
                let read = server.read_into(&mut buffer, MOST).await.unwrap();
                assert_eq!(read, 1_000);
                assert!(LARGE.load(Ordering::SeqCst) > before, "the counter counts");
            }
        });
    }
}
