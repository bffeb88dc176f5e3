//! Broadcasts against a plain model of them, in random order.

use std::rc::Rc;

use bowline_channel::{
    BroadcastReceiver, BroadcastSender, Lag, TryBroadcastRecvError, TrySendError, broadcast,
};

/// A small generator (SplitMix64), so that a history is named by its number.
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

/// A receiver as the model sees it.
#[derive(Clone)]
struct Reader {
    next: usize,
    /// How many it missed when it was cut off, until it was told.
    cut_off: Option<Option<usize>>,
}

/// All that was ever sent, and how far everybody is.
struct Model {
    lag: Lag,
    capacity: usize,
    sent: usize,
    readers: Vec<Reader>,
    closed: bool,
}

impl Model {
    /// The number of the oldest value that is kept.
    fn first(&self) -> usize {
        let listening = self
            .readers
            .iter()
            .filter(|reader| reader.cut_off.is_none());
        let wanted = listening.map(|reader| reader.next).min();
        let oldest = self.sent.saturating_sub(self.capacity);
        wanted.unwrap_or(self.sent).max(oldest)
    }

    fn send(&mut self) -> Result<(), TrySendError<()>> {
        if self.closed || self.readers.is_empty() {
            return Err(TrySendError::Closed(()));
        }
        let (first, kept) = (self.first(), self.sent - self.first());
        if kept == self.capacity {
            match self.lag {
                Lag::Block => return Err(TrySendError::Full(())),
                Lag::DropOldest => {}
                Lag::Close => {
                    for reader in &mut self.readers {
                        if reader.cut_off.is_none() && reader.next == first {
                            reader.cut_off = Some(Some(kept + 1));
                        }
                    }
                }
            }
        }
        self.sent += 1;
        Ok(())
    }

    fn recv(&mut self, index: usize) -> Result<usize, TryBroadcastRecvError> {
        let (first, sent, closed) = (self.first(), self.sent, self.closed);
        let reader = &mut self.readers[index];
        if let Some(missed) = &mut reader.cut_off {
            return Err(match missed.take() {
                Some(missed) => TryBroadcastRecvError::Lagged(missed as u64),
                None => TryBroadcastRecvError::Closed,
            });
        }
        if reader.next < first {
            let missed = first - reader.next;
            reader.next = first;
            return Err(TryBroadcastRecvError::Lagged(missed as u64));
        }
        if reader.next == sent {
            return Err(match closed {
                true => TryBroadcastRecvError::Closed,
                false => TryBroadcastRecvError::Empty,
            });
        }
        reader.next += 1;
        Ok(reader.next - 1)
    }
}

struct History {
    dice: Dice,
    model: Model,
    sender: BroadcastSender<Rc<usize>>,
    receivers: Vec<BroadcastReceiver<Rc<usize>>>,
    /// Every value, to see which are still held.
    values: Vec<Rc<usize>>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let lag = [Lag::Block, Lag::DropOldest, Lag::Close][dice.roll(3)];
        let capacity = 1 + dice.roll(4);
        let (sender, receiver) = broadcast(capacity, lag);
        let reader = Reader {
            next: 0,
            cut_off: None,
        };
        Self {
            dice,
            model: Model {
                lag,
                capacity,
                sent: 0,
                readers: vec![reader],
                closed: false,
            },
            sender,
            receivers: vec![receiver],
            values: Vec::new(),
        }
    }

    fn step(&mut self) {
        let index = self.dice.roll(self.receivers.len().max(1));
        let nobody = self.receivers.is_empty();
        match self.dice.roll(40) {
            0..=13 => {
                let value = Rc::new(self.values.len());
                let outcome = self.sender.try_send(Rc::clone(&value));
                let outcome = outcome.map_err(|error| match error {
                    TrySendError::Full(_) => TrySendError::Full(()),
                    TrySendError::Closed(_) => TrySendError::Closed(()),
                });
                assert_eq!(outcome, self.model.send());
                if outcome.is_ok() {
                    self.values.push(value);
                }
            }
            14..=33 if !nobody => {
                let found = self.receivers[index].try_recv().map(|value| *value);
                assert_eq!(found, self.model.recv(index));
            }
            34..=35 if self.receivers.len() < 5 => {
                self.receivers.push(self.sender.subscribe());
                self.model.readers.push(Reader {
                    next: self.model.sent,
                    cut_off: None,
                });
            }
            36 if !nobody && self.receivers.len() < 5 => {
                self.receivers.push(self.receivers[index].clone());
                self.model.readers.push(self.model.readers[index].clone());
            }
            37..=38 if !nobody => {
                self.receivers.swap_remove(index);
                self.model.readers.swap_remove(index);
            }
            39 if self.dice.roll(8) == 0 => {
                self.sender.close();
                self.model.closed = true;
            }
            _ => {}
        }
        assert_eq!(self.sender.len(), self.model.sent - self.model.first());
        let held = self
            .values
            .iter()
            .filter(|value| Rc::strong_count(value) > 1);
        assert_eq!(held.count(), self.sender.len(), "values outlive their use");
    }
}

// CH41
#[test]
fn every_receiver_finds_what_the_policy_says() {
    for seed in 0..20_000 {
        let mut history = History::new(seed);
        for _ in 0..60 {
            history.step();
        }
    }
}
