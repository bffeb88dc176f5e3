//! Random schedules of sends, receives, drops and closes: every value ends in
//! exactly one place, in order, and nobody waits for something that is there.

#[path = "stepping/flavors.rs"]
mod flavors;
#[path = "stepping/task.rs"]
mod task;

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bowline_channel::{RecvError, SendError, TryRecvError, TrySendError, select};
use flavors::for_each_flavor;
use futures_lite::Stream;
use task::Task;

/// A hundred thousand, unless the environment asks for others: under a sanitizer
/// each takes long.
fn schedules() -> u64 {
    let asked = std::env::var("BOWLINE_SCHEDULES");
    asked.map_or(100_000, |number| number.parse().expect("a number"))
}

for_each_flavor! {
    const STEPS: usize = 24;
    const OPERATIONS: usize = 5;

    /// Where a value was seen to end.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum End {
        Received,
        Returned,
        Dropped,
    }

    /// What is known of one value.
    #[derive(Debug, Default)]
    struct Account {
        ends: Vec<End>,
        /// Its send reported success.
        sent: bool,
        /// Its place in the order of sends, from when its send was first polled.
        place: Option<u64>,
    }

    type Ledger = Rc<RefCell<Vec<Account>>>;

    /// A value that enters its end into the ledger, whatever happens to it.
    struct Parcel {
        id: usize,
        ledger: Ledger,
        end: Cell<End>,
    }

    impl Parcel {
        fn new(ledger: &Ledger) -> Self {
            let id = ledger.borrow().len();
            ledger.borrow_mut().push(Account::default());
            Self {
                id,
                ledger: Rc::clone(ledger),
                end: Cell::new(End::Dropped),
            }
        }
    }

    impl Drop for Parcel {
        fn drop(&mut self) {
            self.ledger.borrow_mut()[self.id].ends.push(self.end.get());
        }
    }

    /// What an operation that finished found; a send names its value.
    enum Outcome {
        Sent(usize, Result<(), SendError<Parcel>>),
        Received(Result<Parcel, RecvError>),
    }

    struct Operation {
        task: Task<'static, Outcome>,
        is_send: bool,
        started: bool,
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

    struct Schedule {
        dice: Dice,
        capacity: usize,
        ledger: Ledger,
        places: Rc<Cell<u64>>,
        last_received: Option<u64>,
        senders: Vec<Sender<Parcel>>,
        receivers: Vec<Receiver<Parcel>>,
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
            let capacity = [0, 1, 2, 4][dice.roll(4)];
            let (sender, receiver) = bounded(capacity);
            let (idle_sender, idle) = bounded(1);
            let stream = (dice.roll(3) == 0).then(|| receiver.clone());
            Self {
                dice,
                capacity,
                ledger: Ledger::default(),
                places: Rc::default(),
                last_received: None,
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
            match self.dice.roll(32) {
                0..=6 => self.start_send(),
                7..=13 => self.start_recv(),
                14..=19 => self.poll_one(),
                20..=23 => self.drop_one(),
                24..=25 => self.try_send(),
                26..=27 => self.try_recv(),
                28..=29 => self.poll_stream(),
                30 => self.change_handles(),
                _ => {
                    if self.dice.roll(6) == 0 {
                        self.close();
                    }
                }
            }
        }

        fn start_send(&mut self) {
            let (true, Some(sender)) = (self.operations.len() < OPERATIONS, self.senders.last()) else {
                return;
            };
            let sender = sender.clone();
            let parcel = Parcel::new(&self.ledger);
            let (ledger, places) = (Rc::clone(&self.ledger), Rc::clone(&self.places));
            let (idle, way) = (self.idle.clone(), self.dice.roll(6));
            self.start(true, async move {
                let id = parcel.id;
                match way {
                    // Its place is where it enters the queue, which cannot be seen from here.
                    0 => select! {
                        sent = sender.send(parcel) => Outcome::Sent(id, sent),
                        _ = idle.recv() => unreachable!("nothing comes"),
                    },
                    1 => Outcome::Sent(id, match sender.reserve().await {
                        Ok(permit) => {
                            permit.send(parcel);
                            Ok(())
                        }
                        Err(_) => Err(SendError(parcel)),
                    }),
                    _ => {
                        take_place(&ledger, &places, id);
                        Outcome::Sent(id, sender.send(parcel).await)
                    }
                }
            });
        }

        fn start_recv(&mut self) {
            let (true, Some(receiver)) = (self.operations.len() < OPERATIONS, self.receivers.last())
            else {
                return;
            };
            let receiver = receiver.clone();
            let (idle, by_select) = (self.idle.clone(), self.dice.roll(3) == 0);
            self.start(false, async move {
                if !by_select {
                    return Outcome::Received(receiver.recv().await);
                }
                select! {
                    received = receiver.recv() => Outcome::Received(received),
                    _ = idle.recv() => unreachable!("nothing comes"),
                }
            });
        }

        fn start(&mut self, is_send: bool, future: impl Future<Output = Outcome> + 'static) {
            self.operations.push(Operation {
                task: Task::new(future),
                is_send,
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
                Outcome::Sent(id, Ok(())) => self.ledger.borrow_mut()[id].sent = true,
                Outcome::Sent(id, Err(SendError(parcel))) => {
                    assert_eq!(id, parcel.id);
                    parcel.end.set(End::Returned);
                }
                Outcome::Received(Ok(parcel)) => self.receive(parcel),
                Outcome::Received(Err(RecvError)) => {}
            }
        }

        /// All sends are served in the order in which they were first polled, and
        /// values leave in the order in which they came.
        fn receive(&mut self, parcel: Parcel) {
            let place = self.ledger.borrow()[parcel.id].place;
            if place.is_some() {
                assert!(place > self.last_received, "values arrive out of order");
                self.last_received = place;
            }
            parcel.end.set(End::Received);
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
            let parcel = Parcel::new(&self.ledger);
            let id = parcel.id;
            take_place(&self.ledger, &self.places, id);
            match sender.try_send(parcel) {
                Ok(()) => self.ledger.borrow_mut()[id].sent = true,
                Err(TrySendError::Full(parcel) | TrySendError::Closed(parcel)) => {
                    assert_eq!(id, parcel.id);
                    parcel.end.set(End::Returned);
                }
            }
        }

        fn try_recv(&mut self) {
            if let Some(receiver) = self.receivers.last()
                && let Ok(parcel) = receiver.try_recv()
            {
                self.receive(parcel);
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
            if let Poll::Ready(Some(parcel)) = polled {
                self.receive(parcel);
            }
        }

        fn change_handles(&mut self) {
            match self.dice.roll(8) {
                0 => drop(self.senders.pop()),
                1 => drop(self.receivers.pop()),
                2 => {
                    self.stream = None;
                    self.stream_waits = false;
                }
                3..=5 => self.senders.extend(self.senders.first().cloned()),
                _ => self.receivers.extend(self.receivers.first().cloned()),
            }
        }

        fn close(&mut self) {
            if self.dice.roll(2) == 0 {
                self.senders.iter().for_each(Sender::close);
            } else {
                self.receivers.iter().for_each(Receiver::close);
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
            let waiting_sends = self.operations.iter().filter(|o| o.is_send).count();
            let waiting_recvs = self.operations.len() - waiting_sends;
            if waiting_recvs > 0 || self.stream_waits {
                let probe = self.receivers.last().or(self.stream.as_ref());
                if let Some(receiver) = probe {
                    assert!(!receiver.is_closed(), "a receive outlived the close");
                    assert_eq!(receiver.len(), 0, "a receive waits beside a value");
                }
                let rendezvous_meets = self.capacity == 0 && waiting_sends > 0;
                assert!(!rendezvous_meets, "both sides of a rendezvous wait");
            }
            if waiting_sends > 0
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
            let ledger = Rc::clone(&self.ledger);
            drop(self);
            for (id, account) in ledger.borrow().iter().enumerate() {
                let [end] = account.ends[..] else {
                    panic!("value {id} ended other than once: {account:?}");
                };
                let lost = account.sent && keeps_values && end != End::Received;
                assert!(!lost, "value {id} was sent but not received: {account:?}");
            }
        }
    }

    fn take_place(ledger: &Ledger, places: &Cell<u64>, id: usize) {
        ledger.borrow_mut()[id].place = Some(places.get());
        places.set(places.get() + 1);
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
