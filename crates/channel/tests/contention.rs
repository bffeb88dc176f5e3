//! Many threads at once: nothing is lost, nothing comes twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bowline_channel::{
    Receiver, Select, Selected, Sender, bounded, rendezvous, select, select_blocking,
};
use futures_lite::future::{self, block_on, poll_once};

/// Runs several tasks of one thread in turns.
fn run_together(tasks: Vec<impl Future<Output = ()>>) {
    let mut tasks: Vec<_> = tasks.into_iter().map(Box::pin).collect();
    block_on(async {
        while !tasks.is_empty() {
            let mut left = Vec::new();
            for mut task in tasks.drain(..) {
                if poll_once(task.as_mut()).await.is_none() {
                    left.push(task);
                }
            }
            tasks = left;
            future::yield_now().await;
        }
    });
}

// CH27
#[test]
fn a_hundred_selects_over_eight_channels_both_ways_conserve_the_values() {
    const TASKS: usize = 100;
    const ROUNDS: usize = 1_000;
    for capacity in [0, 1] {
        let channels: Vec<_> = (0..8).map(|_| bounded::<usize>(capacity)).collect();
        let sent: Vec<_> = (0..TASKS * ROUNDS).map(|_| AtomicUsize::new(0)).collect();
        let received: Vec<_> = (0..TASKS * ROUNDS).map(|_| AtomicUsize::new(0)).collect();
        let take_part = |who: usize| {
            let (channels, sent, received) = (&channels, &sent, &received);
            async move {
                for round in 0..ROUNDS {
                    let value = who * ROUNDS + round;
                    let mut set = Select::new();
                    for (index, (sender, receiver)) in channels.iter().enumerate() {
                        if (who + index + round).is_multiple_of(2) {
                            set = set.recv(receiver);
                        } else {
                            set = set.send(sender, value);
                        }
                    }
                    match set.ready().await {
                        Selected::Received(_, value) => {
                            received[value.unwrap()].fetch_add(1, Ordering::Relaxed);
                        }
                        Selected::Sent(_, outcome) => {
                            outcome.unwrap();
                            sent[value].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            }
        };
        // Who is left alone at the end is helped by a peer that takes either part.
        let finished = AtomicUsize::new(0);
        thread::scope(|scope| {
            for half in 0..2 {
                let (take_part, finished) = (&take_part, &finished);
                scope.spawn(move || {
                    let tasks = (half * TASKS / 2..(half + 1) * TASKS / 2).map(|who| async move {
                        take_part(who).await;
                        finished.fetch_add(1, Ordering::Relaxed);
                    });
                    run_together(tasks.collect());
                });
            }
            while finished.load(Ordering::Relaxed) < TASKS {
                for (_, receiver) in &channels {
                    if let Ok(value) = receiver.try_recv() {
                        received[value].fetch_add(1, Ordering::Relaxed);
                    }
                }
                thread::yield_now();
            }
        });
        for (_, receiver) in &channels {
            while let Ok(value) = receiver.try_recv() {
                received[value].fetch_add(1, Ordering::Relaxed);
            }
            let statistics = receiver.statistics();
            assert_eq!(statistics.waiting_senders + statistics.waiting_receivers, 0);
        }
        for (sent, received) in sent.iter().zip(&received) {
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
