//! Values without a size, of a byte, of a page, and such as can be neither cloned nor moved once
//! pinned, through every kind of channel: each arrives whole, in order, and is dropped once.

#[path = "stepping/flavors.rs"]
mod flavors;
#[path = "stepping/task.rs"]
mod task;

use std::cell::Cell;
use std::marker::PhantomPinned;
use std::rc::Rc;
use std::task::Poll;

use bowline_channel::{
    BroadcastRecvError, Lag, RecvError, SendError, TryRecvError, TrySendError, broadcast, select,
    watch,
};
use flavors::for_each_flavor;
use futures_lite::future::block_on;
use task::Task;

thread_local! {
    /// How many values were made and not dropped yet.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

fn live() -> isize {
    LIVE.get()
}

/// Counts the values it is part of, without giving them a size.
struct Tally;

impl Tally {
    fn new() -> Self {
        LIVE.set(LIVE.get() + 1);
        Self
    }
}

impl Clone for Tally {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        LIVE.set(LIVE.get() - 1);
        assert!(LIVE.get() >= 0, "a value was dropped twice");
    }
}

/// A kind of values.
trait Shape: 'static {
    const SIZE: usize;

    fn new(number: u8) -> Self;

    /// Whether it is whole, and the one with that number if it can tell.
    fn is(&self, number: u8) -> bool;
}

#[derive(Clone)]
struct Nothing(Tally);

impl Shape for Nothing {
    const SIZE: usize = 0;

    fn new(_: u8) -> Self {
        Self(Tally::new())
    }

    fn is(&self, _: u8) -> bool {
        true
    }
}

#[derive(Clone)]
struct Byte(u8, Tally);

impl Shape for Byte {
    const SIZE: usize = 1;

    fn new(number: u8) -> Self {
        Self(number, Tally::new())
    }

    fn is(&self, number: u8) -> bool {
        self.0 == number
    }
}

#[derive(Clone)]
struct Page([u8; 4096], Tally);

impl Shape for Page {
    const SIZE: usize = 4096;

    fn new(number: u8) -> Self {
        let bytes = std::array::from_fn(|index| number.wrapping_add(index as u8));
        Self(bytes, Tally::new())
    }

    fn is(&self, number: u8) -> bool {
        let mut bytes = self.0.iter().enumerate();
        bytes.all(|(index, byte)| *byte == number.wrapping_add(index as u8))
    }
}

/// Neither `Clone` nor `Unpin`.
struct Pinned {
    number: Box<u8>,
    _pinned: PhantomPinned,
    _tally: Tally,
}

impl Shape for Pinned {
    const SIZE: usize = size_of::<Box<u8>>();

    fn new(number: u8) -> Self {
        Self {
            number: Box::new(number),
            _pinned: PhantomPinned,
            _tally: Tally::new(),
        }
    }

    fn is(&self, number: u8) -> bool {
        *self.number == number
    }
}

/// What cannot be cloned, shared; each handle counts.
#[derive(Clone)]
struct Lent {
    shared: Rc<(u8, PhantomPinned)>,
    _tally: Tally,
}

impl Shape for Lent {
    const SIZE: usize = size_of::<Rc<(u8, PhantomPinned)>>();

    fn new(number: u8) -> Self {
        Self {
            shared: Rc::new((number, PhantomPinned)),
            _tally: Tally::new(),
        }
    }

    fn is(&self, number: u8) -> bool {
        self.shared.0 == number
    }
}

for_each_flavor! {
    /// A channel, open and empty, takes and gives values by every operation there is.
    fn pass<K: Shape>(open: impl Fn() -> (Sender<K>, Receiver<K>)) {
        assert_eq!(size_of::<K>(), K::SIZE);
        let (sender, receiver) = open();
        meet(&sender, &receiver);
        give_up(&sender, &receiver);
        batch(&sender, &receiver);
        choose(&sender, &receiver);
        assert_eq!(live(), 0);
        close(&open);
        assert_eq!(live(), 0);
    }

    /// As many values as the channel takes, up to three, numbered from 0.
    fn fill<K: Shape>(sender: &Sender<K>) -> u8 {
        let count = sender.capacity().unwrap_or(3) as u8;
        for number in 0..count {
            assert!(sender.try_send(K::new(number)).is_ok());
        }
        count
    }

    fn drain<K: Shape>(receiver: &Receiver<K>, count: u8) {
        for number in 0..count {
            assert!(receiver.try_recv().unwrap().is(number));
        }
        assert!(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
        assert_eq!(live(), 0);
    }

    fn meet<K: Shape>(sender: &Sender<K>, receiver: &Receiver<K>) {
        let waiting = Task::parked(receiver.recv());
        assert!(sender.try_send(K::new(1)).is_ok());
        let value = waiting.finish().unwrap();
        assert!(value.is(1));
        assert_eq!(live(), 1);
        drop(value);

        let count = fill(sender);
        assert_eq!(live(), isize::from(count));
        let mut sending = Task::new(sender.send(K::new(count)));
        assert_eq!(sending.poll().is_ready(), sender.capacity().is_none());
        drain(receiver, count + 1);

        if sender.capacity() == Some(0) {
            return;
        }
        let permit = sender.try_reserve().unwrap();
        assert_eq!(live(), 0);
        permit.send(K::new(0));
        drain(receiver, 1);
    }

    /// Sends and receives that are dropped while they wait, or when they were promised a value.
    fn give_up<K: Shape>(sender: &Sender<K>, receiver: &Receiver<K>) {
        let promised = Task::parked(receiver.recv());
        assert!(sender.try_send(K::new(0)).is_ok());
        drop(promised);
        assert_eq!(live(), 1);
        drain(receiver, 1);

        if sender.capacity().is_none() {
            return;
        }
        let count = fill(sender);
        let leaving = Task::parked(sender.send(K::new(99)));
        let staying = Task::parked(sender.send(K::new(count)));
        drop(leaving);
        assert_eq!(live(), isize::from(count) + 1);
        let refused = sender.try_send(K::new(98));
        assert!(matches!(refused, Err(TrySendError::Full(value)) if value.is(98)));
        drain(receiver, count + 1);
        assert!(staying.finish().is_ok());
    }

    fn batch<K: Shape>(sender: &Sender<K>, receiver: &Receiver<K>) {
        let mut sending = Task::new(sender.send_all((0..7).map(K::new)));
        let mut sent = sending.poll();
        let mut values = Vec::new();
        while values.len() < 7 {
            assert!(matches!(block_on(receiver.recv_many(&mut values, 4)), Ok(1..=4)));
            if sent.is_pending() {
                sent = sending.poll();
            }
        }
        assert!(matches!(sent, Poll::Ready(Ok(7))));
        assert!((0..7).zip(&values).all(|(number, value)| value.is(number)));
        assert_eq!(live(), 7);
    }

    /// Both arms of selects, and a value that comes back from the arm that lost.
    fn choose<K: Shape>(sender: &Sender<K>, receiver: &Receiver<K>) {
        let (other, _nobody) = rendezvous();
        let waiting = Task::parked(async {
            let kept = K::new(5);
            select! {
                value = receiver.recv() => (value.unwrap(), kept),
                _ = other.send(kept) => unreachable!("nobody receives"),
            }
        });
        assert_eq!(live(), 1);
        assert!(sender.try_send(K::new(6)).is_ok());
        let (value, kept) = waiting.finish();
        assert!(value.is(6) && kept.is(5));
        drop((value, kept));

        let receiving = Task::parked(receiver.recv());
        block_on(async {
            select! {
                sent = sender.send(K::new(7)) => assert!(sent.is_ok()),
                _ = other.send(K::new(8)) => unreachable!("nobody receives"),
            }
        });
        assert!(receiving.finish().unwrap().is(7));
    }

    /// Closed, discarded or dropped with values in it.
    fn close<K: Shape>(open: &impl Fn() -> (Sender<K>, Receiver<K>)) {
        let (sender, receiver) = open();
        let count = fill(&sender);
        let mut sending = Task::new(sender.send(K::new(count)));
        let sent = sending.poll();
        sender.close();
        if sent.is_pending() {
            let SendError(value) = sending.finish().unwrap_err();
            assert!(value.is(count));
        }
        let left = isize::from(count) + isize::from(sent.is_ready());
        assert_eq!(live(), left);
        for number in 0..left {
            assert!(receiver.recv_blocking().unwrap().is(number as u8));
        }
        assert!(matches!(receiver.recv_blocking(), Err(RecvError)));
        let refused = sender.try_send(K::new(9));
        assert!(matches!(refused, Err(TrySendError::Closed(value)) if value.is(9)));

        let (sender, receiver) = open();
        let count = fill(&sender);
        let values = receiver.close_and_discard();
        assert_eq!(live(), isize::from(count));
        assert!((0..count).zip(&values).all(|(number, value)| value.is(number)));
        drop((values, sender));

        let (sender, receiver) = open();
        fill(&sender);
        drop(receiver);
        assert_eq!(live(), 0, "nobody can receive them any more");
    }

    fn pass_by_all_kinds<K: Shape>() {
        pass::<K>(rendezvous);
        pass::<K>(|| bounded(1));
        pass::<K>(|| bounded(3));
        pass::<K>(unbounded);
        pass_once::<K>();
    }

    fn pass_once<K: Shape>() {
        let (sender, receiver) = oneshot();
        assert!(sender.send(K::new(1)).is_ok());
        assert!(block_on(receiver).unwrap().is(1));
        assert_eq!(live(), 0);

        let (sender, receiver) = oneshot();
        let waiting = Task::parked(receiver);
        assert!(sender.send(K::new(2)).is_ok());
        assert!(waiting.finish().unwrap().is(2));
        assert_eq!(live(), 0);

        let (sender, receiver) = oneshot();
        drop(receiver);
        let SendError(value) = sender.send(K::new(3)).unwrap_err();
        assert!(value.is(3));
        assert_eq!(live(), 1);
        drop(value);

        let (sender, receiver) = oneshot();
        assert!(sender.send(K::new(4)).is_ok());
        assert_eq!(live(), 1);
        drop(receiver);
        assert_eq!(live(), 0);
    }

    // CH5
    #[test]
    fn values_without_a_size_are_counted_like_any_other() {
        pass_by_all_kinds::<Nothing>();
    }

    // CH5
    #[test]
    fn values_of_one_byte() {
        pass_by_all_kinds::<Byte>();
    }

    // CH5
    #[test]
    fn values_of_a_page() {
        pass_by_all_kinds::<Page>();
    }

    // CH5
    #[test]
    fn values_that_can_neither_be_cloned_nor_unpinned() {
        pass_by_all_kinds::<Pinned>();
    }
}

fn show<K: Shape>() {
    let (sender, mut receiver) = watch(K::new(0));
    let mut other = receiver.clone();
    assert!(receiver.latest().is(0));
    let waiting = Task::parked(receiver.changed());
    assert!(sender.send(K::new(1)).is_ok());
    assert_eq!(live(), 1, "what was replaced is gone");
    assert!(waiting.finish().unwrap().is(1));
    assert!(sender.send(K::new(2)).is_ok());
    let seen = block_on(other.changed()).unwrap();
    assert!(seen.is(2) && receiver.changed_blocking().unwrap().is(2));
    assert_eq!(live(), 1, "they share it");
    drop((receiver, other));
    let SendError(value) = sender.send(K::new(3)).unwrap_err();
    assert!(value.is(3) && sender.latest().is(2));
    drop((value, sender));
    assert!(seen.is(2));
    drop(seen);
    assert_eq!(live(), 0);
}

// CH5, CH40
#[test]
fn a_watch_shows_values_of_any_kind() {
    show::<Nothing>();
    show::<Byte>();
    show::<Page>();
    show::<Pinned>();
}

fn tell_all<K: Shape + Clone>() {
    for lag in [Lag::Block, Lag::DropOldest, Lag::Close] {
        let (sender, mut one) = broadcast(2, lag);
        let mut two = sender.subscribe();
        let waiting = Task::parked(one.recv());
        for number in 0..2 {
            assert!(sender.try_send(K::new(number)).is_ok());
        }
        assert_eq!(live(), 2);
        let value = waiting.finish().unwrap();
        assert!(value.is(0));
        assert_eq!(live(), 3, "one more is wanted");
        drop(value);
        assert!(two.try_recv().unwrap().is(0));
        assert_eq!(live(), 1);
        assert!(one.try_recv().unwrap().is(1) && two.recv_blocking().unwrap().is(1));
        assert_eq!(live(), 0);

        for number in 0..2 {
            assert!(sender.try_send(K::new(number)).is_ok());
        }
        let mut sending = Task::new(sender.send(K::new(2)));
        assert_eq!(sending.poll().is_pending(), lag == Lag::Block);
        if lag == Lag::Block {
            sender.close();
            let SendError(value) = sending.finish().unwrap_err();
            assert!(value.is(2));
            drop(value);
            assert!(one.try_recv().unwrap().is(0));
        } else {
            let missed = block_on(one.recv());
            assert!(matches!(missed, Err(BroadcastRecvError::Lagged(1 | 3))));
        }
        drop((one, two));
        assert_eq!(live(), 0, "what nobody wants is gone");
    }
}

// CH5, CH41
#[test]
fn a_broadcast_tells_values_of_any_kind() {
    tell_all::<Nothing>();
    tell_all::<Byte>();
    tell_all::<Page>();
    tell_all::<Lent>();
}
