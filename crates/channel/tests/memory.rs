//! What channels cost in memory, counted exactly.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bowline_channel::{Lag, bounded, broadcast, local, rendezvous, select, unbounded};

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread what it does.
struct Counting;

fn note(bytes: isize) {
    // A thread that is ending is of no interest.
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
    let _ = COUNT.try_with(|count| count.set(count.get() + usize::from(bytes > 0)));
}

#[expect(unsafe_code, reason = "the allocator trait is unsafe")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: `pointer` came from `System` with `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that are held after `make`, by what it made.
fn bytes_of<R>(make: impl FnOnce() -> R) -> isize {
    let before = LIVE.get();
    let made = make();
    let bytes = LIVE.get() - before;
    drop(made);
    assert_eq!(LIVE.get(), before, "everything is given back");
    bytes
}

fn allocations(act: impl FnOnce()) -> usize {
    let before = COUNT.get();
    act();
    COUNT.get() - before
}

fn poll<U: Future>(future: std::pin::Pin<&mut U>) -> Poll<U::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn an_idle_channel_is_small_whatever_its_capacity() {
    for capacity in [0, 1, 128, 1 << 20] {
        let bytes = bytes_of(|| bounded::<u64>(capacity));
        assert!(bytes <= 200, "{bytes} bytes with {capacity} places");
        assert!(bytes_of(|| local::bounded::<u64>(capacity)) <= 200);
    }
    assert!(bytes_of(unbounded::<[u64; 64]>) <= 200);
}

#[test]
fn a_buffer_grows_on_demand_and_an_unbounded_one_shrinks() {
    let three = bytes_of(|| {
        let (sender, receiver) = bounded::<u64>(100_000);
        for n in 0..3 {
            sender.try_send(n).unwrap();
        }
        (sender, receiver)
    });
    assert!(three < 300, "{three}");
    let drained = bytes_of(|| {
        let (sender, receiver) = unbounded::<u64>();
        for n in 0..100_000 {
            sender.try_send(n).unwrap();
        }
        while receiver.try_recv().is_ok() {}
        (sender, receiver)
    });
    assert!(drained < 1024, "{drained}");
}

#[test]
fn neither_values_nor_parked_operations_allocate() {
    for capacity in [0, 1, 16] {
        let (sender, receiver) = bounded::<u64>(capacity);
        let (other, others) = rendezvous::<u64>();
        let round = || {
            for n in 0..40 {
                let mut receiving = pin!(receiver.recv());
                assert!(poll(receiving.as_mut()).is_pending());
                sender.try_send(n).unwrap();
                assert_eq!(poll(receiving.as_mut()), Poll::Ready(Ok(n)));

                while sender.try_send(n).is_ok() {}
                let mut sending = pin!(sender.send(n));
                assert!(poll(sending.as_mut()).is_pending());
                while receiver.try_recv().is_ok() {}
                assert!(poll(sending.as_mut()).is_ready());

                let mut selecting = pin!(async {
                    select! {
                        value = receiver.recv() => value,
                        value = others.recv() => value,
                        sent = other.send(n) => sent.map(|()| 0).map_err(|_| unreachable!()),
                    }
                });
                // One select in 128 lets others run first.
                while sender.statistics().waiting_receivers == 0 {
                    assert!(poll(selecting.as_mut()).is_pending());
                }
                sender.try_send(n).unwrap();
                assert_eq!(poll(selecting.as_mut()), Poll::Ready(Ok(n)));
            }
        };
        round();
        assert_eq!(allocations(round), 0, "capacity {capacity}");
    }
}

#[test]
fn a_broadcast_uses_the_memory_of_the_values_before() {
    for receivers in [1, 3, 200] {
        for lag in [Lag::Block, Lag::DropOldest, Lag::Close] {
            let (sender, receiver) = broadcast::<[u64; 8]>(4, lag);
            let mut receivers = vec![receiver; receivers];
            let mut round = || {
                for n in 0..40 {
                    let mut waiting: [_; 200] = [const { None }; 200];
                    for (place, receiver) in waiting.iter_mut().zip(&mut receivers) {
                        let mut receiving = receiver.recv();
                        assert!(poll(pin!(&mut receiving)).is_pending());
                        *place = Some(receiving);
                    }
                    sender.try_send([n; 8]).unwrap();
                    for receiving in waiting.iter_mut().flatten() {
                        assert_eq!(poll(pin!(receiving)), Poll::Ready(Ok([n; 8])));
                    }
                    drop(waiting);
                    for _ in 0..4 {
                        sender.try_send([n; 8]).unwrap();
                    }
                    let mut sending = pin!(sender.send([n; 8]));
                    if lag == Lag::Block {
                        assert!(poll(sending.as_mut()).is_pending());
                    }
                    for _ in 0..4 {
                        for receiver in &mut receivers {
                            assert!(receiver.try_recv().is_ok());
                        }
                    }
                    assert!(poll(sending).is_ready());
                    for receiver in &mut receivers {
                        assert!(receiver.try_recv().is_ok());
                    }
                }
            };
            round();
            assert_eq!(allocations(round), 0, "{lag:?}");
        }
    }
}

#[test]
fn a_broadcast_that_overtakes_its_receivers_allocates_nothing() {
    let (sender, mut receiver) = broadcast::<[u64; 8]>(8, Lag::DropOldest);
    let mut round = || {
        for n in 0..1_000 {
            sender.try_send([n; 8]).unwrap();
        }
        assert!(receiver.try_recv().is_err());
        assert_eq!(receiver.try_recv(), Ok([992; 8]));
    };
    round();
    assert_eq!(allocations(round), 0);
}
