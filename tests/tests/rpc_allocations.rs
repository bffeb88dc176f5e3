//! What a call costs in memory: a test binary of its own, for it counts allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{Caller, Error, MemoryBroker, Registry};
use bowline_backend::Backend;
use bowline_backend::task::{RunOptions, Threads};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "the allocator trait is unsafe")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
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

#[bowline::rpc]
async fn add(a: i64, b: i64) -> i64 {
    a + b
}

const CALLS: usize = 100;

/// The boxed future of the call, that of its handler, the handler's scope, and where the two meet.
const EACH: usize = 4;

#[test]
fn a_call_within_the_process_allocates_four_times() {
    for backend in [
        Backend::Tokio,
        Backend::Smol,
        Backend::AsyncStd,
        Backend::Sim,
    ] {
        let options = RunOptions::default().threads(Threads::One);
        // The future of `block_on` stays on this thread, whose allocations are counted, and the
        // handler begins and ends in it.
        let counted = backend.block_on_with(options, async {
            let registry = Registry::new("example");
            registry.register(add).unwrap();
            MemoryBroker::new(AsyncExecutor::new(registry, 4))
                .run(async |broker| -> Result<usize, Error> {
                    let mut before = 0;
                    for n in 0..2 * CALLS {
                        if n == CALLS {
                            // By now every table has the room it needs.
                            before = COUNT.get();
                        }
                        let call = broker.call(add(n as i64, 1));
                        assert_eq!(call.timeout(Duration::from_secs(60)).await?, n as i64 + 1);
                    }
                    Ok(COUNT.get() - before)
                })
                .await
                .unwrap()
        });
        assert_eq!(counted, CALLS * EACH, "{backend}");
    }
}
