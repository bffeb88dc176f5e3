//! Random schedules of all operations, drops and closes: every value ends in exactly one place, in
//! order, nobody waits for something that is there, and nothing comes after the end was told.

#[path = "stepping/flavors.rs"]
mod flavors;
#[path = "schedules/ledger.rs"]
mod ledger;
#[path = "stepping/task.rs"]
mod task;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bowline_channel::{
    RecvError, Select, Selected, SendAllError, SendError, TryRecvError, TrySendError, WeakReceiver,
    WeakSender, select,
};
use flavors::for_each_flavor;
use futures_lite::{Stream, future};
use ledger::{Counted, End, Ledger, Parcel};
use task::Task;

/// A hundred thousand, unless the environment asks for others: under a sanitizer
/// each takes long.
fn schedules() -> u64 {
    let asked = std::env::var("BOWLINE_SCHEDULES");
    asked.map_or(100_000, |number| number.parse().expect("a number"))
}

/// A small generator (SplitMix64), so that a schedule is named by its number.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What an operation that finished found; a send names its value.
enum Outcome {
    Sent(usize, Result<(), SendError<Parcel>>),
    SentMany(Result<usize, SendAllError<Parcel>>),
    Received(Result<Parcel, RecvError>),
    ReceivedMany(Vec<Parcel>, Result<usize, RecvError>),
    Swapped(Parcel, Result<Parcel, RecvError>),
    /// A permit was had, but no value for it.
    Declined(Parcel),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Sends,
    Receives,
    Both,
}

for_each_flavor! {
    const STEPS: usize = 24;
    const OPERATIONS: usize = 5;

    struct Operation {
        task: Task<'static, Outcome>,
        side: Side,
        started: bool,
    }

    struct Schedule {
        dice: Dice,
        capacity: usize,
        ledger: Ledger,
        last_received: Option<u64>,
        /// Somebody was told that no value will come.
        ended: bool,
        senders: Vec<Sender<Parcel>>,
        receivers: Vec<Receiver<Parcel>>,
        weak_sender: WeakSender<Parcel, Kind>,
        weak_receiver: WeakReceiver<Parcel, Kind>,
        /// The other arm of selects.
        idle: Receiver<()>,
        _idle_sender: Sender<()>,
        operations: Vec<Operation>,
        /// Polled as a stream now and then, then left alone.
        stream: Option<Receiver<Parcel>>,
        stream_woken: Arc<Flag>,
        stream_waits: bool,
    }

    impl Schedule {
        fn new(seed: u64) -> Self {
            let mut dice = Dice(seed);
            let capacity = [0, 0, 1, 1, 2, 4, usize::MAX][dice.roll(7)];
            let (sender, receiver) = match capacity {
                usize::MAX => unbounded(),
                capacity => bounded(capacity),
            };
            let (idle_sender, idle) = bounded(1);
            let stream = (dice.roll(3) == 0).then(|| receiver.clone());
            Self {
                dice,
                capacity,
                ledger: Ledger::default(),
                last_received: None,
                ended: false,
                weak_sender: sender.downgrade(),
                weak_receiver: receiver.downgrade(),
                senders: vec![sender],
                receivers: vec![receiver],
                idle,
                _idle_sender: idle_sender,
                operations: Vec::new(),
                stream,
                stream_woken: Arc::new(Flag(AtomicBool::new(false))),
                stream_waits: false,
            }
        }

        fn step(&mut self) {
            match self.dice.roll(34) {
                0..=6 => self.start_send(),
                7..=13 => self.start_recv(),
                14 => self.start_both(),
                15..=20 => self.poll_one(),
                21..=24 => self.drop_one(),
                25..=26 => self.try_send(),
                27..=28 => self.try_recv(),
                29..=30 => self.poll_stream(),
                31..=32 => self.change_handles(),
                _ => {
                    if self.dice.roll(6) == 0 {
                        self.close();
                    }
                }
            }
        }

        /// A sender for an operation more, if there may be one.
        fn sender(&self) -> Option<Sender<Parcel>> {
            let sender = self.senders.last().cloned();
            sender.filter(|_| self.operations.len() < OPERATIONS)
        }

        fn receiver(&self) -> Option<Receiver<Parcel>> {
            let receiver = self.receivers.last().cloned();
            receiver.filter(|_| self.operations.len() < OPERATIONS)
        }

        fn start_send(&mut self) {
            let Some(sender) = self.sender() else {
                return;
            };
            let (ledger, idle) = (self.ledger.clone(), self.idle.clone());
            let (way, held, kept) = (self.dice.roll(9), self.dice.roll(4), self.dice.roll(3) > 0);
            if way == 0 {
                let count = 1 + self.dice.roll(4);
                let parcels: Vec<_> = (0..count).map(|_| ledger.parcel()).collect();
                return self.start(Side::Sends, async move {
                    let first = parcels[0].id;
                    let sending = sender.send_all(parcels);
                    let mut counted = Counted { sending, first, ledger };
                    Outcome::SentMany((&mut counted.sending).await)
                });
            }
            let parcel = ledger.parcel();
            self.start(Side::Sends, async move {
                let id = parcel.id;
                match way {
                    // Its place is where it enters the queue, which cannot be seen from here.
                    1 => select! {
                        sent = sender.send(parcel) => Outcome::Sent(id, sent),
                        _ = idle.recv() => unreachable!("nothing comes"),
                    },
                    2..=3 => {
                        let Ok(permit) = sender.reserve().await else {
                            return Outcome::Sent(id, Err(SendError(parcel)));
                        };
                        for _ in 0..held {
                            future::yield_now().await;
                        }
                        if !kept {
                            return Outcome::Declined(parcel);
                        }
                        permit.send(parcel);
                        Outcome::Sent(id, Ok(()))
                    }
                    _ => {
                        ledger.take_place(id);
                        Outcome::Sent(id, sender.send(parcel).await)
                    }
                }
            });
        }

        fn start_recv(&mut self) {
            let Some(receiver) = self.receiver() else {
                return;
            };
            let (idle, way, most) = (self.idle.clone(), self.dice.roll(8), 1 + self.dice.roll(4));
            self.start(Side::Receives, async move {
                match way {
                    0 => select! {
                        received = receiver.recv() => Outcome::Received(received),
                        _ = idle.recv() => unreachable!("nothing comes"),
                    },
                    // Twice at one channel.
                    1 => select! {
                        received = receiver.recv() => Outcome::Received(received),
                        received = receiver.recv() => Outcome::Received(received),
                    },
                    2 => match Select::new().recv(&receiver).ready().await {
                        Selected::Received(_, received) => Outcome::Received(received),
                        Selected::Sent(..) => unreachable!("there is no send"),
                    },
                    3..=4 => {
                        let mut batch = Vec::new();
                        let received = receiver.recv_many(&mut batch, most).await;
                        Outcome::ReceivedMany(batch, received)
                    }
                    _ => Outcome::Received(receiver.recv().await),
                }
            });
        }

        /// A select that sends to and receives from one channel.
        fn start_both(&mut self) {
            let (Some(sender), Some(receiver)) = (self.sender(), self.receiver()) else {
                return;
            };
            let parcel = self.ledger.parcel();
            self.start(Side::Both, async move {
                let id = parcel.id;
                select! {
                    sent = sender.send(parcel) => Outcome::Sent(id, sent),
                    received = receiver.recv() => Outcome::Swapped(parcel, received),
                }
            });
        }

        fn start(&mut self, side: Side, future: impl Future<Output = Outcome> + 'static) {
            self.operations.push(Operation {
                task: Task::new(future),
                side,
                started: false,
            });
            if self.dice.roll(8) > 0 {
                self.poll(self.operations.len() - 1);
            }
        }

        /// Polls any operation, woken or not.
        fn poll_one(&mut self) {
            if !self.operations.is_empty() {
                let index = self.dice.roll(self.operations.len());
                self.poll(index);
            }
        }

        fn poll(&mut self, index: usize) {
            let operation = &mut self.operations[index];
            operation.started = true;
            let Poll::Ready(outcome) = operation.task.poll() else {
                return;
            };
            drop(self.operations.swap_remove(index));
            match outcome {
                Outcome::Sent(id, Ok(())) => self.ledger.note_sent(id),
                Outcome::Sent(id, Err(SendError(parcel))) => {
                    assert_eq!(id, parcel.id);
                    parcel.end(End::Returned);
                }
                Outcome::SentMany(Ok(_)) => {}
                Outcome::SentMany(Err(SendAllError { value, .. })) | Outcome::Declined(value) => {
                    value.end(End::Returned);
                }
                Outcome::Received(received) => self.conclude(received),
                Outcome::ReceivedMany(batch, received) => {
                    assert_eq!(received.unwrap_or(0), batch.len());
                    self.ended |= received.is_err();
                    batch.into_iter().for_each(|parcel| self.receive(parcel));
                }
                Outcome::Swapped(parcel, received) => {
                    parcel.end(End::Returned);
                    self.conclude(received);
                }
            }
        }

        fn conclude(&mut self, received: Result<Parcel, RecvError>) {
            match received {
                Ok(parcel) => self.receive(parcel),
                Err(RecvError) => self.ended = true,
            }
        }

        /// All sends are served in the order in which they were first polled, and
        /// values leave in the order in which they came.
        fn receive(&mut self, parcel: Parcel) {
            assert!(!self.ended, "a value came after somebody was told the end");
            let place = parcel.place();
            if place.is_some() {
                assert!(place > self.last_received, "values arrive out of order");
                self.last_received = place;
            }
            parcel.end(End::Received);
        }

        fn drop_one(&mut self) {
            if !self.operations.is_empty() {
                let index = self.dice.roll(self.operations.len());
                drop(self.operations.swap_remove(index));
            }
        }

        fn try_send(&mut self) {
            let Some(sender) = self.senders.last() else {
                return;
            };
            let parcel = self.ledger.parcel();
            let id = parcel.id;
            self.ledger.take_place(id);
            match sender.try_send(parcel) {
                Ok(()) => self.ledger.note_sent(id),
                Err(TrySendError::Full(parcel) | TrySendError::Closed(parcel)) => {
                    assert_eq!(id, parcel.id);
                    parcel.end(End::Returned);
                }
            }
        }

        fn try_recv(&mut self) {
            let Some(receiver) = self.receivers.last() else {
                return;
            };
            match receiver.try_recv() {
                Ok(parcel) => self.receive(parcel),
                Err(error) => self.ended |= error == TryRecvError::Closed,
            }
        }

        fn poll_stream(&mut self) {
            let Some(stream) = &mut self.stream else {
                return;
            };
            self.stream_woken.0.store(false, Ordering::SeqCst);
            let waker = Waker::from(Arc::clone(&self.stream_woken));
            let polled = Pin::new(stream).poll_next(&mut Context::from_waker(&waker));
            self.stream_waits = polled.is_pending();
            if let Poll::Ready(next) = polled {
                self.conclude(next.ok_or(RecvError));
            }
        }

        fn change_handles(&mut self) {
            match self.dice.roll(12) {
                0 => drop(self.senders.pop()),
                1 => drop(self.receivers.pop()),
                2 => {
                    self.stream = None;
                    self.stream_waits = false;
                }
                3..=5 => self.senders.extend(self.senders.first().cloned()),
                6..=7 => self.receivers.extend(self.receivers.first().cloned()),
                8..=9 => {
                    let upgraded = self.weak_sender.upgrade();
                    let end = self.receivers.last().or(self.stream.as_ref());
                    if let Some(closed) = end.map(Receiver::is_closed) {
                        assert_eq!(upgraded.is_none(), closed);
                    }
                    self.senders.extend(upgraded);
                }
                _ => {
                    let upgraded = self.weak_receiver.upgrade();
                    assert!(upgraded.is_some() || self.receivers.is_empty());
                    self.receivers.extend(upgraded);
                }
            }
        }

        fn close(&mut self) {
            match self.dice.roll(3) {
                0 => self.senders.iter().for_each(Sender::close),
                1 => self.receivers.iter().for_each(Receiver::close),
                _ => {
                    let by_sender = self.senders.last().map(Sender::close_and_discard);
                    let by_receiver = self.receivers.last().map(Receiver::close_and_discard);
                    for parcel in by_sender.into_iter().chain(by_receiver).flatten() {
                        assert!(!self.ended, "a value was there after the end was told");
                        parcel.end(End::Discarded);
                    }
                }
            }
        }

        /// Runs what was woken until nothing is; then whoever still waits must have
        /// a reason to.
        fn settle(&mut self) {
            loop {
                if self.stream_waits && self.stream_woken.0.load(Ordering::SeqCst) {
                    self.poll_stream();
                } else if let Some(index) = self
                    .operations
                    .iter()
                    .position(|operation| !operation.started || operation.task.is_woken())
                {
                    self.poll(index);
                } else {
                    break;
                }
            }
            let count = |side| self.operations.iter().filter(|o| o.side == side).count();
            let both = count(Side::Both);
            let (sends, receives) = (count(Side::Sends) + both, count(Side::Receives) + both);
            if receives > 0 || self.stream_waits {
                let probe = self.receivers.last().or(self.stream.as_ref());
                if let Some(receiver) = probe {
                    assert!(!receiver.is_closed(), "a receive outlived the close");
                    assert_eq!(receiver.len(), 0, "a receive waits beside a value");
                }
                // A select does not meet itself.
                let alone = both == 1 && sends == 1 && receives == 1 && !self.stream_waits;
                let rendezvous_meets = self.capacity == 0 && sends > 0 && !alone;
                assert!(!rendezvous_meets, "both sides of a rendezvous wait");
            }
            if sends > 0
                && let Some(sender) = self.senders.last()
            {
                assert!(!sender.is_closed(), "a send outlived the close");
                assert!(sender.is_full(), "a send waits beside room");
            }
        }

        /// Drains the channel and closes the books.
        fn finish(mut self) {
            let keeps_values = !self.receivers.is_empty();
            self.operations.clear();
            if let Some(receiver) = self.receivers.last().cloned() {
                let buffered = receiver.len();
                let mut drained = 0;
                while let Ok(parcel) = receiver.try_recv() {
                    self.receive(parcel);
                    drained += 1;
                }
                assert_eq!(drained, buffered);
                receiver.close();
                assert!(matches!(receiver.try_recv(), Err(TryRecvError::Closed)));
            }
            let ledger = self.ledger.clone();
            drop(self);
            ledger.check(keeps_values);
        }
    }

    // CH21, CH44
    #[test]
    fn every_value_ends_in_exactly_one_place() {
        for seed in 0..schedules() {
            let outcome = std::panic::catch_unwind(|| {
                let mut schedule = Schedule::new(seed);
                for step in 0..STEPS {
                    schedule.step();
                    if step == STEPS / 2 && seed % 2 == 0 {
                        schedule.settle();
                    }
                }
                schedule.settle();
                schedule.finish();
            });
            if let Err(panic) = outcome {
                eprintln!("the schedule that failed is number {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}
