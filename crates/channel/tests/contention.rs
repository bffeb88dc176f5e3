//! Many threads at once: nothing is lost, nothing comes twice.

#[path = "contention/woken.rs"]
mod woken;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bowline_channel::{
    Receiver, Select, Selected, Sender, bounded, rendezvous, select, select_blocking,
};
use futures_lite::future::{block_on, poll_once};

const TASKS: usize = 100;
const ROUNDS: usize = 1_000;

/// Eight channels, and how often each value was sent and received.
struct Floor {
    channels: Vec<(Sender<usize>, Receiver<usize>)>,
    sent: Vec<AtomicUsize>,
    received: Vec<AtomicUsize>,
}

impl Floor {
    fn new(capacity: usize) -> Self {
        let none = || (0..TASKS * ROUNDS).map(|_| AtomicUsize::new(0)).collect();
        Self {
            channels: (0..8).map(|_| bounded(capacity)).collect(),
            sent: none(),
            received: none(),
        }
    }

    fn note(&self, value: usize) {
        self.received[value].fetch_add(1, Ordering::Relaxed);
    }

    /// One task: selects that receive from half of the channels, or send to the others.
    async fn take_part(self: Arc<Self>, who: usize) {
        for round in 0..ROUNDS {
            let value = who * ROUNDS + round;
            let mut set = Select::new();
            for (index, (sender, receiver)) in self.channels.iter().enumerate() {
                if (who + index + round).is_multiple_of(2) {
                    set = set.recv(receiver);
                } else {
                    set = set.send(sender, value);
                }
            }
            match set.ready().await {
                Selected::Received(_, value) => self.note(value.unwrap()),
                Selected::Sent(_, outcome) => {
                    outcome.unwrap();
                    self.sent[value].fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// While nothing moves: that those who wait have to, and then one of them is served.
    fn help(&self) {
        for (_, receiver) in &self.channels {
            let statistics = receiver.statistics();
            let (sends, receives) = (statistics.waiting_senders, statistics.waiting_receivers);
            assert!(
                sends == 0 || receives == 0,
                "two wait that could meet: {statistics:?}"
            );
            assert!(
                sends == 0 || receiver.is_full(),
                "a send waits beside room: {statistics:?}"
            );
            assert!(
                receives == 0 || receiver.is_empty(),
                "a receive waits beside a value: {statistics:?}"
            );
        }
        let mut channels = self.channels.iter();
        let value = channels.find_map(|(_, receiver)| receiver.try_recv().ok());
        self.note(value.expect("every task that is left would send; one was not woken"));
    }
}

// CH27
#[test]
fn a_hundred_selects_over_eight_channels_both_ways_conserve_the_values() {
    for capacity in [0, 1] {
        let floor = Arc::new(Floor::new(capacity));
        let task = |who| {
            let task: Pin<Box<dyn Future<Output = ()> + Send>> =
                Box::pin(Arc::clone(&floor).take_part(who));
            task
        };
        let halves = [0..TASKS / 2, TASKS / 2..TASKS];
        // Nobody is polled unless it was woken.
        let progress = woken::start(halves.map(|half| half.map(task).collect()).into());
        while !progress.is_over() {
            if progress.is_still() && !progress.is_over() {
                floor.help();
            }
            thread::yield_now();
        }
        for (_, receiver) in &floor.channels {
            while let Ok(value) = receiver.try_recv() {
                floor.note(value);
            }
            let statistics = receiver.statistics();
            assert_eq!(statistics.waiting_senders + statistics.waiting_receivers, 0);
        }
        for (sent, received) in floor.sent.iter().zip(&floor.received) {
            assert!(sent.load(Ordering::Relaxed) <= 1);
            assert_eq!(
                sent.load(Ordering::Relaxed),
                received.load(Ordering::Relaxed)
            );
        }
    }
}

// CH26
#[test]
fn selects_of_two_threads_meet_on_rendezvous_channels() {
    const ROUNDS: u32 = 100_000;
    let (one, first) = rendezvous();
    let (two, second) = rendezvous();
    let meet = |mine: (Sender<u32>, Receiver<u32>), receives: u32| {
        let (sender, receiver) = mine;
        move || {
            let (mut sent, mut received) = (0_u32, 0_u32);
            while sent < ROUNDS || received < receives {
                select_blocking! {
                    if sent < ROUNDS, outcome = sender.send(sent) => {
                        outcome.unwrap();
                        sent += 1;
                    }
                    if received < receives, value = receiver.recv() => {
                        assert_eq!(value, Ok(received));
                        received += 1;
                    }
                }
            }
        }
    };
    let other = thread::spawn(meet((one, second), ROUNDS));
    meet((two, first), ROUNDS)();
    other.join().unwrap();
}

// CH31
#[test]
fn selects_that_are_given_up_between_threads_lose_nothing() {
    const VALUES: u32 = 100_000;
    let channels = [bounded(0), bounded(1)];
    let sending = thread::spawn({
        let senders = channels.clone().map(|(sender, _)| sender);
        move || {
            for n in 0..VALUES {
                senders[n as usize % 2].send_blocking(n).unwrap();
            }
        }
    });
    let mut last = [None; 2];
    let mut count = 0;
    while count < VALUES {
        let mut waiting = Box::pin(async {
            select! {
                value = channels[0].1.recv() => value,
                value = channels[1].1.recv() => value,
            }
        });
        let mut value = block_on(poll_once(waiting.as_mut()));
        if value.is_none() && count.is_multiple_of(3) {
            value = block_on(poll_once(waiting.as_mut()));
        }
        drop(waiting);
        if let Some(value) = value {
            let value = value.unwrap();
            let last = &mut last[value as usize % 2];
            assert!(last.replace(value).is_none_or(|before| before < value));
            count += 1;
        } else {
            thread::yield_now();
        }
    }
    sending.join().unwrap();
}
