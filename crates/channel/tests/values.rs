//! What goes in comes out: once, in order, one at a time and in batches.

#[path = "stepping/flavors.rs"]
mod flavors;
#[path = "stepping/task.rs"]
mod task;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;

use bowline_channel::{RecvError, TryRecvError, TrySendError};
use flavors::for_each_flavor;
use futures_lite::future::block_on;
use task::Task;

/// Counts how often it is dropped.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Panics when it is dropped, once armed.
struct Trap(Rc<Cell<bool>>);

impl Drop for Trap {
    fn drop(&mut self) {
        if self.0.replace(false) {
            panic!("a value panicked while it was dropped");
        }
    }
}

fn panics(act: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(act)).is_err()
}

for_each_flavor! {
    // CH1
    #[test]
    fn a_rendezvous_waits_for_its_peer_in_both_orders_and_moves_the_value_once() {
        let drops = Rc::new(Cell::new(0));
        let (sender, receiver) = rendezvous();

        let mut sending = Task::parked(sender.send(Counted(Rc::clone(&drops))));
        assert!(sending.poll().is_pending());
        let Poll::Ready(Ok(value)) = Task::new(receiver.recv()).poll() else {
            panic!("the value is there");
        };
        assert!(sending.finish().is_ok());
        assert_eq!((drops.get(), receiver.len()), (0, 0));
        drop(value);
        assert_eq!(drops.get(), 1);

        let receiving = Task::parked(receiver.recv());
        let sent = Task::new(sender.send(Counted(Rc::clone(&drops)))).poll();
        assert!(matches!(sent, Poll::Ready(Ok(()))));
        let value = receiving.finish().unwrap();
        assert_eq!(drops.get(), 1);
        drop(value);
        assert_eq!(drops.get(), 2);
    }

    // CH3
    #[test]
    fn no_capacity_works_whoever_comes_first() {
        let (sender, receiver) = bounded(0);
        let sending = Task::parked(sender.send(1));
        assert_eq!(Task::new(receiver.recv()).poll(), Poll::Ready(Ok(1)));
        assert_eq!(sending.finish(), Ok(()));
        let receiving = Task::parked(receiver.recv());
        assert_eq!(Task::new(sender.send(2)).poll(), Poll::Ready(Ok(())));
        assert_eq!(receiving.finish(), Ok(2));
    }

    // CH4
    #[test]
    fn an_unbounded_channel_takes_a_million_values_and_keeps_their_order() {
        const VALUES: u32 = 1_000_000;
        let (sender, receiver) = unbounded();
        block_on(async {
            for n in 0..VALUES {
                sender.send(n).await.unwrap();
            }
        });
        assert_eq!((sender.len(), sender.is_full()), (VALUES as usize, false));
        for n in 0..VALUES {
            assert_eq!(receiver.try_recv(), Ok(n));
        }
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        let statistics = receiver.statistics();
        assert_eq!(statistics.peak, VALUES as usize);
        assert_eq!(statistics.received, u64::from(VALUES));
    }

    // CH6
    #[test]
    fn a_value_that_panics_when_dropped_leaves_the_channel_usable() {
        let armed = Rc::new(Cell::new(false));
        let (sender, receiver) = bounded(1);
        let keeper = receiver.clone();

        sender.try_send(Trap(Rc::clone(&armed))).unwrap();
        let waiting = Task::parked(sender.send(Trap(Rc::clone(&armed))));
        armed.set(true);
        assert!(panics(|| drop(waiting)));
        assert_eq!(sender.statistics().waiting_senders, 0);

        armed.set(true);
        assert!(panics(|| drop(receiver.try_recv())));
        assert!(sender.try_send(Trap(Rc::clone(&armed))).is_ok());
        armed.set(true);
        drop(receiver);
        assert!(panics(|| drop(keeper)));
        assert!(sender.is_closed());
        let refused = sender.try_send(Trap(Rc::clone(&armed)));
        assert!(matches!(refused, Err(TrySendError::Closed(_))));
    }

    // CH8
    #[test]
    fn counts_are_exact_when_nobody_is_on_the_way() {
        let (sender, receiver) = bounded(3);
        assert_eq!((sender.capacity(), receiver.capacity()), (Some(3), Some(3)));
        for n in 0..=3 {
            assert_eq!((sender.len(), receiver.len()), (n, n));
            assert_eq!((sender.is_empty(), receiver.is_empty()), (n == 0, n == 0));
            assert_eq!((sender.is_full(), receiver.is_full()), (n == 3, n == 3));
            let _ = sender.try_send(n);
        }
        receiver.try_recv().unwrap();
        assert_eq!((sender.len(), sender.is_full()), (2, false));
        let statistics = sender.statistics();
        assert_eq!(statistics.buffered, 2);
        assert_eq!((statistics.sent, statistics.received, statistics.peak), (3, 1, 3));

        let (sender, _receiver) = rendezvous::<u8>();
        assert_eq!((sender.len(), sender.is_full()), (0, true));
        assert_eq!((sender.is_empty(), sender.capacity()), (true, Some(0)));
        let (sender, _receiver) = unbounded::<u8>();
        assert_eq!((sender.is_full(), sender.capacity()), (false, None));
    }

    // CH9
    #[test]
    fn a_permit_holds_a_slot_and_gives_it_back() {
        let (sender, receiver) = bounded(2);
        let first = sender.try_reserve().unwrap();
        let Poll::Ready(Ok(second)) = Task::new(sender.reserve()).poll() else {
            panic!("there is room for two");
        };
        assert_eq!((sender.len(), sender.is_full()), (0, true));
        assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
        assert_eq!(sender.try_reserve().unwrap_err(), TrySendError::Full(()));
        let waiting = Task::parked(sender.send(3));
        let behind = Task::parked(sender.reserve());
        drop(first);
        assert_eq!(waiting.finish(), Ok(()));
        assert!(!behind.is_woken());
        second.send(4);
        assert_eq!(receiver.try_recv(), Ok(3));
        behind.finish().unwrap().send(5);
        assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(4), Ok(5)));
        assert!(!sender.is_full());
    }

    // CH9
    #[test]
    fn a_reservation_that_is_dropped_gives_its_slot_to_the_next() {
        let (sender, receiver) = bounded(1);
        sender.try_send(0).unwrap();
        let first = Task::parked(sender.reserve());
        let second = Task::parked(sender.send(1));
        assert_eq!(receiver.try_recv(), Ok(0));
        assert!(first.is_woken() && !second.is_woken());
        drop(first);
        assert_eq!(second.finish(), Ok(()));
        assert_eq!(receiver.try_recv(), Ok(1));
    }

    // CH9
    #[test]
    fn receivers_of_a_closed_channel_wait_for_the_permits_that_are_out() {
        let (sender, receiver) = bounded(2);
        let permits = [sender.try_reserve().unwrap(), sender.try_reserve().unwrap()];
        sender.close();
        let waiting = [Task::parked(receiver.recv()), Task::parked(receiver.recv())];
        let [first, second] = permits;
        first.send(1);
        drop(second);
        let [one, end] = waiting;
        assert_eq!((one.finish(), end.finish()), (Ok(1), Err(RecvError)));
        assert!(sender.try_reserve().unwrap_err().is_closed());
        assert!(matches!(Task::new(sender.reserve()).poll(), Poll::Ready(Err(_))));
    }

    // CH9
    #[test]
    fn a_permit_of_a_rendezvous_stands_for_a_receiver_that_waits() {
        let (sender, receiver) = rendezvous();
        assert_eq!(sender.try_reserve().unwrap_err(), TrySendError::Full(()));
        let reserving = Task::parked(sender.reserve());
        let receiving = Task::parked(receiver.recv());
        let permit = reserving.finish().unwrap();
        assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
        permit.send(1);
        assert_eq!(receiving.finish(), Ok(1));

        let receiving = Task::parked(receiver.recv());
        let permit = sender.try_reserve().unwrap();
        drop(receiving);
        permit.send(2);
        assert_eq!(receiver.try_recv(), Ok(2), "kept for the next");
    }

    // CH9
    #[test]
    fn a_value_for_a_permit_nobody_can_receive_is_dropped() {
        let drops = Rc::new(Cell::new(0));
        let (sender, receiver) = bounded(1);
        let permit = sender.try_reserve().unwrap();
        drop(receiver);
        permit.send(Counted(Rc::clone(&drops)));
        assert_eq!(drops.get(), 1);
    }

    // CH10
    #[test]
    fn batches_keep_the_order_and_the_capacity() {
        let (sender, receiver) = bounded(3);
        let mut sending = Task::parked(sender.send_all(0..10));
        assert_eq!(receiver.len(), 3);
        let mut values = Vec::new();
        let mut sent = Poll::Pending;
        while let Ok(count) = block_on(receiver.recv_many(&mut values, 4)) {
            assert!(count > 0 && receiver.len() <= 3);
            if sent.is_pending() {
                sent = sending.poll();
            } else {
                sender.close();
            }
            if receiver.is_empty() {
                sender.close();
            }
        }
        assert_eq!(sent, Poll::Ready(Ok(10)));
        assert_eq!(values, (0..10).collect::<Vec<_>>());
    }

    // CH10
    #[test]
    fn a_batch_that_is_cancelled_says_how_many_were_sent() {
        let asked = RefCell::new(0);
        let (sender, receiver) = bounded(3);
        let mut values = (0..10).inspect(|_| *asked.borrow_mut() += 1);
        let mut sending = sender.send_all(&mut values);
        let polled = block_on(futures_lite::future::poll_once(&mut sending));
        assert!(polled.is_none());
        assert_eq!(sending.sent(), 3);
        drop(sending);
        assert_eq!(*asked.borrow(), 4, "what fits, and the one that waits");
        for n in 0..3 {
            assert_eq!(receiver.try_recv(), Ok(n));
        }
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(values.next(), Some(4));
    }

    // CH10
    #[test]
    fn a_batch_that_a_close_ends_gives_the_value_in_hand_back() {
        let (sender, receiver) = bounded(2);
        let mut values = 0..10;
        let sending = Task::parked(sender.send_all(values.by_ref()));
        receiver.close();
        let error = sending.finish().unwrap_err();
        assert_eq!((error.sent, error.value), (2, 2));
        assert_eq!(values.next(), Some(3));
    }

    // CH10
    #[test]
    fn a_batch_whose_iterator_panics_gives_its_slots_back() {
        let (sender, receiver) = bounded(4);
        let bad = (0..4).map(|n| if n == 2 { panic!("no third value") } else { n });
        assert!(panics(|| { let _ = block_on(sender.send_all(bad)); }));
        assert!(!sender.is_full());
        assert_eq!(block_on(sender.send_all(10..14)), Ok(4));
        assert_eq!(receiver.try_recv(), Ok(10));
    }

    // CH10
    #[test]
    fn many_are_received_with_those_of_waiting_senders_up_to_the_most() {
        for capacity in [0, 1, 2] {
            let (sender, receiver) = bounded(capacity);
            let mut tasks: Vec<_> = (0..6).map(|n| Task::new(sender.send(n))).collect();
            for task in &mut tasks {
                let _ = task.poll();
            }
            let mut values = vec![99];
            assert_eq!(block_on(receiver.recv_many(&mut values, 0)), Ok(0));
            assert_eq!(block_on(receiver.recv_many(&mut values, 4)), Ok(4));
            assert_eq!(values, [99, 0, 1, 2, 3]);
            assert_eq!(block_on(receiver.recv_many(&mut values, 100)), Ok(2));
            assert_eq!(values, [99, 0, 1, 2, 3, 4, 5]);

            let mut more = Vec::new();
            let waiting = Task::parked(receiver.recv_many(&mut more, 8));
            sender.try_send(7).unwrap();
            drop(waiting);
            assert_eq!(more, [], "nothing happened");
            assert_eq!(receiver.try_recv(), Ok(7));
            sender.close();
            assert_eq!(block_on(receiver.recv_many(&mut values, 8)), Err(RecvError));
        }
    }

    // CH37
    #[test]
    fn an_operation_that_never_waits_lets_others_run() {
        let (sender, receiver) = unbounded();
        let mut producing = Task::new(async {
            for n in 0..1_000 {
                sender.send(n).await.unwrap();
            }
        });
        let mut turns = 0;
        while producing.poll().is_pending() {
            assert!(producing.is_woken(), "it is woken by itself");
            turns += 1;
            assert!(sender.statistics().sent <= turns * 128);
        }
        assert_eq!(turns, 7);
        let mut consuming = Task::new(async {
            for n in 0..1_000 {
                assert_eq!(receiver.recv().await, Ok(n));
            }
        });
        let mut turns = 0;
        while consuming.poll().is_pending() {
            assert!(consuming.is_woken());
            turns += 1;
        }
        assert_eq!(turns, 7);
        let mut batches = Task::new(sender.send_all(0..1_000));
        assert!(batches.poll().is_pending());
        assert!(batches.is_woken());
    }
}
