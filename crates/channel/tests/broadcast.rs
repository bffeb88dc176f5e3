//! Every receiver of a broadcast sees every value, or is told what it missed.

#[path = "stepping/task.rs"]
mod task;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use bowline_channel::{
    BroadcastRecvError, Lag, SendError, TryBroadcastRecvError, TrySendError, broadcast,
};
use futures_lite::future::block_on;
use task::Task;

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic!("a waker panicked");
    }
}

/// Polls a future that has to wait, with a waker that panics.
fn poll_badly<U: Future>(future: Pin<&mut U>) {
    let waker = Waker::from(Arc::new(PanickingWaker));
    let polled = future.poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
}

fn panics(act: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(act)).is_err()
}

// CH41
#[test]
fn under_block_senders_wait_for_the_slowest_and_nothing_is_missed() {
    let (sender, mut slow) = broadcast(2, Lag::Block);
    let mut quick = sender.subscribe();
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    assert_eq!((quick.try_recv(), quick.try_recv()), (Ok(1), Ok(2)));
    assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
    let third = Task::parked(sender.send(3));
    let fourth = Task::parked(sender.send(4));
    let waiting = Task::parked(quick.recv());
    assert_eq!(slow.try_recv(), Ok(1));
    assert_eq!(third.finish(), Ok(()));
    assert!(!fourth.is_woken());
    assert_eq!(waiting.finish(), Ok(3));
    assert_eq!(
        (slow.try_recv(), slow.try_recv(), slow.try_recv()),
        (Ok(2), Ok(3), Ok(4))
    );
    assert_eq!(fourth.finish(), Ok(()));
    assert_eq!(slow.try_recv(), Err(TryBroadcastRecvError::Empty));
    assert_eq!((quick.try_recv(), sender.len()), (Ok(4), 0));
}

// CH41
#[test]
fn under_block_a_slow_receiver_that_leaves_lets_the_senders_in() {
    let (sender, slow) = broadcast(1, Lag::Block);
    let mut quick = sender.subscribe();
    sender.try_send(1).unwrap();
    assert_eq!(quick.try_recv(), Ok(1));
    let waiting = Task::parked(sender.send(2));
    let cancelled = Task::parked(sender.send(8));
    drop(cancelled);
    drop(slow);
    assert_eq!(waiting.finish(), Ok(()));
    assert_eq!(quick.try_recv(), Ok(2));
    assert_eq!(quick.try_recv(), Err(TryBroadcastRecvError::Empty));
}

// CH41
#[test]
fn under_drop_oldest_the_missed_are_counted() {
    let (sender, mut slow) = broadcast(3, Lag::DropOldest);
    let mut quick = sender.subscribe();
    for n in 0..10 {
        sender.try_send(n).unwrap();
        assert_eq!(quick.try_recv(), Ok(n));
    }
    let mut copy = slow.clone();
    assert_eq!(slow.try_recv(), Err(TryBroadcastRecvError::Lagged(7)));
    assert_eq!(
        (slow.try_recv(), slow.try_recv(), slow.try_recv()),
        (Ok(7), Ok(8), Ok(9))
    );
    assert_eq!(slow.try_recv(), Err(TryBroadcastRecvError::Empty));
    sender.try_send(10).unwrap();
    assert_eq!(block_on(copy.recv()), Err(BroadcastRecvError::Lagged(8)));
    assert_eq!(block_on(copy.recv()), Ok(8));
}

// CH41
#[test]
fn under_close_the_slow_one_is_cut_off_and_told_how_many_it_missed() {
    let (sender, mut slow) = broadcast(2, Lag::Close);
    let mut quick = sender.subscribe();
    for n in 0..4 {
        sender.try_send(n).unwrap();
        assert_eq!(quick.try_recv(), Ok(n));
    }
    assert_eq!(slow.try_recv(), Err(TryBroadcastRecvError::Lagged(3)));
    assert_eq!(slow.try_recv(), Err(TryBroadcastRecvError::Closed));
    assert_eq!(block_on(slow.recv()), Err(BroadcastRecvError::Closed));
    assert!(!sender.is_closed());
    sender.try_send(4).unwrap();
    assert_eq!(quick.try_recv(), Ok(4));
}

// CH41
#[test]
fn a_close_lets_receivers_finish_and_gives_senders_their_values_back() {
    let (sender, mut receiver) = broadcast(1, Lag::Block);
    sender.try_send(1).unwrap();
    let waiting = Task::parked(sender.send(2));
    sender.close();
    assert_eq!(waiting.finish(), Err(SendError(2)));
    assert_eq!(block_on(receiver.recv()), Ok(1));
    assert_eq!(block_on(receiver.recv()), Err(BroadcastRecvError::Closed));
    assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
}

// CH41
#[test]
fn values_are_dropped_once_everybody_had_them() {
    let value = Rc::new(());
    let (sender, mut one) = broadcast(4, Lag::Block);
    let two = sender.subscribe();
    sender.try_send(Rc::clone(&value)).unwrap();
    drop(one.try_recv());
    assert_eq!(Rc::strong_count(&value), 2);
    drop(two);
    assert_eq!(Rc::strong_count(&value), 1);
    drop(one);
    assert_eq!(sender.receiver_count(), 0);
    assert!(matches!(
        sender.try_send(value),
        Err(TrySendError::Closed(_))
    ));
}

// CH23, CH41
#[test]
fn a_value_is_not_lost_to_a_sender_whose_waker_panics() {
    for by_future in [false, true] {
        let (sender, mut receiver) = broadcast(1, Lag::Block);
        sender.try_send(1).unwrap();
        let mut bad = Box::pin(sender.send(2));
        poll_badly(bad.as_mut());
        let good = Task::parked(sender.send(3));

        assert!(panics(|| {
            if by_future {
                let _ = block_on(receiver.recv());
            } else {
                let _ = receiver.try_recv();
            }
        }));
        let mut copy = receiver.clone();
        for receiver in [&mut receiver, &mut copy] {
            assert_eq!(block_on(receiver.recv()), Ok(1));
            assert_eq!(receiver.try_recv(), Ok(2));
        }
        assert_eq!(good.finish(), Ok(()));
        assert_eq!((receiver.try_recv(), copy.try_recv()), (Ok(3), Ok(3)));
        assert!(matches!(Task::new(bad).poll(), Poll::Ready(Ok(()))));
    }
}

// CH23, CH41
#[test]
fn everybody_is_woken_even_if_wakers_panic() {
    const RECEIVERS: usize = 40;
    for by_close in [false, true] {
        let (sender, receiver) = broadcast(1, Lag::Block);
        let mut receivers = vec![receiver; RECEIVERS];
        let (bad, good) = receivers.split_at_mut(RECEIVERS / 2);
        let mut bad: Vec<_> = bad.iter_mut().map(|r| Box::pin(r.recv())).collect();
        bad.iter_mut().for_each(|bad| poll_badly(bad.as_mut()));
        let good: Vec<_> = good.iter_mut().map(|r| Task::parked(r.recv())).collect();
        assert!(panics(|| if by_close {
            sender.close();
        } else {
            sender.try_send(1).unwrap();
        }));
        let expected = if by_close {
            Err(BroadcastRecvError::Closed)
        } else {
            Ok(1)
        };
        for task in good {
            assert_eq!(task.finish(), expected);
        }
        for bad in bad {
            assert_eq!(block_on(bad), expected);
        }
    }
}

/// Panics when it is cloned, once armed.
#[derive(Debug)]
struct Shy(Rc<Cell<bool>>);

impl Clone for Shy {
    fn clone(&self) -> Self {
        assert!(!self.0.replace(false), "a value panicked as it was cloned");
        Self(Rc::clone(&self.0))
    }
}

// CH41
#[test]
fn a_value_whose_clone_panics_is_left_for_the_next_receive() {
    let armed = Rc::new(Cell::new(false));
    let (sender, mut one) = broadcast(2, Lag::Block);
    let mut two = sender.subscribe();
    sender.try_send(Shy(Rc::clone(&armed))).unwrap();
    armed.set(true);
    assert!(panics(|| drop(one.try_recv())));
    assert!(two.try_recv().is_ok());
    armed.set(true);
    assert!(one.try_recv().is_ok(), "nobody else wants it any more");
    assert!(matches!(one.try_recv(), Err(TryBroadcastRecvError::Empty)));
    assert_eq!(sender.len(), 0);
}

// CH41
#[test]
fn a_send_and_a_receive_that_move_to_another_task_are_woken_there() {
    let (sender, mut receiver) = broadcast(1, Lag::Block);
    let mut receiving = receiver.recv();
    let first = Task::parked(&mut receiving);
    drop(first);
    let second = Task::parked(&mut receiving);
    sender.try_send(1).unwrap();
    assert_eq!(second.finish(), Ok(1));
    drop(receiving);

    sender.try_send(2).unwrap();
    let mut sending = sender.send(3);
    drop(Task::parked(&mut sending));
    let second = Task::parked(&mut sending);
    assert_eq!(receiver.try_recv(), Ok(2));
    assert_eq!(second.finish(), Ok(()));
    assert_eq!(receiver.try_recv(), Ok(3));
}

// CH41
#[test]
fn threads_all_get_everything() {
    const VALUES: u32 = 20_000;
    let (sender, receiver) = broadcast(8, Lag::Block);
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let mut receiver = receiver.clone();
            thread::spawn(move || {
                for n in 0..VALUES {
                    assert_eq!(block_on(receiver.recv()), Ok(n));
                }
                block_on(receiver.recv())
            })
        })
        .collect();
    drop(receiver);
    for n in 0..VALUES {
        block_on(sender.send(n)).unwrap();
    }
    drop(sender);
    for reader in readers {
        assert_eq!(reader.join().unwrap(), Err(BroadcastRecvError::Closed));
    }
}

// CH11, CH41
#[test]
fn blocking_ends_meet_async_ends() {
    const VALUES: u32 = 5_000;
    let (sender, mut tasks) = broadcast(2, Lag::Block);
    let mut threads = sender.subscribe();
    let blocking = thread::spawn(move || {
        for n in 0..VALUES {
            assert_eq!(threads.recv_blocking(), Ok(n));
        }
        threads.recv_blocking()
    });
    let waiting = thread::spawn(move || {
        for n in 0..VALUES {
            assert_eq!(block_on(tasks.recv()), Ok(n));
        }
        block_on(tasks.recv())
    });
    for n in 0..VALUES {
        if n % 2 == 0 {
            sender.send_blocking(n).unwrap();
        } else {
            block_on(sender.send(n)).unwrap();
        }
    }
    drop(sender);
    for reader in [blocking, waiting] {
        assert_eq!(reader.join().unwrap(), Err(BroadcastRecvError::Closed));
    }
}

// CH11, CH15, CH41
#[test]
fn a_close_releases_every_blocked_thread() {
    for _ in 0..200 {
        let (sender, receiver) = broadcast::<u8>(1, Lag::Block);
        let readers = [(); 2].map(|()| {
            let mut receiver = receiver.clone();
            thread::spawn(move || receiver.recv_blocking())
        });
        sender.close();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Err(BroadcastRecvError::Closed));
        }
    }
    for by_close in [true, false] {
        for _ in 0..200 {
            let (sender, receiver) = broadcast(1, Lag::Block);
            sender.send_blocking(0).unwrap();
            let senders = [1, 2].map(|n| {
                let sender = sender.clone();
                thread::spawn(move || sender.send_blocking(n))
            });
            if by_close {
                sender.close();
            }
            drop(receiver);
            for (n, thread) in (1..).zip(senders) {
                assert_eq!(thread.join().unwrap(), Err(SendError(n)));
            }
        }
    }
}
