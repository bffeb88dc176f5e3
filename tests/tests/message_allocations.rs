//! How many allocations a message takes: a test binary of its own, for it counts them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bowline::codec::{Framed, Framing, LengthDelimited, Raw};
use bowline::transport::{Extra, MemoryStream, MessageStream, Transport};
use bowline_backend::Backend;
use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::stream::ByteStream;
use bowline_backend::task::{RunOptions, Threads};
use bytes::Bytes;

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALL: Cell<usize> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "the allocator trait is unsafe")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALL.set(ALL.get() + 1);
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

const ROUNDS: usize = 1000;

/// Allocations of so many echoes, once all have the room they need.
async fn echoes<S: ByteStream + Extra>((here, there): (S, S), size: usize) -> usize {
    let codec = || -> Framed<LengthDelimited, Raw> { LengthDelimited::u32().with(Raw::new()) };
    let mut client = MessageStream::new(here, codec());
    let mut server = MessageStream::new(there, codec());
    let message = Bytes::from(vec![7; size]);
    let mut before = 0;
    for round in 0..2 * ROUNDS {
        if round == ROUNDS {
            before = ALL.get();
        }
        client.send(&message).await.unwrap();
        let asked = server.recv().await.unwrap().expect("a message");
        server.send(&asked).await.unwrap();
        drop(asked);
        let answer = client.recv().await.unwrap().expect("a message");
        assert_eq!(answer.len(), size);
    }
    let made = ALL.get() - before;
    client.abort();
    made
}

// SV6
#[test]
fn a_small_message_takes_at_most_one_allocation() {
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        let options = RunOptions::default().threads(Threads::One);
        // The future of `block_on` stays on this thread, whose allocations are counted.
        backend.block_on_with(options, async {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            for size in [16, 64, 1000] {
                let client = TcpStream::connect(address).await.unwrap();
                let (server, _) = listener.accept().await.unwrap();
                for made in [
                    echoes((client, server), size).await,
                    echoes(MemoryStream::pair(), size).await,
                ] {
                    // An echo is a message each way.
                    assert!(made <= 2 * ROUNDS, "{backend}, {size} bytes: {made}");
                }
            }
        });
    }
}
