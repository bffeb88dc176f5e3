//! The programs by which channels are taught, most of them from Rob Pike's talks on Go.

use std::time::Duration;

use bowline::channel::{Receiver, bounded, rendezvous, select, unbounded};
use tokio::time::sleep;

use crate::{go, run};

/// Says something again and again, until nobody listens.
fn generator(who: &'static str) -> Receiver<(&'static str, u32)> {
    let (sender, receiver) = rendezvous();
    go(async move {
        let mut n = 0;
        while sender.send((who, n)).await.is_ok() {
            n += 1;
        }
    });
    receiver
}

// CH38
#[test]
fn generator_is_a_function_that_returns_a_channel() {
    run(async {
        let (joe, ann) = (generator("Joe"), generator("Ann"));
        for n in 0..5 {
            assert_eq!(joe.recv().await, Ok(("Joe", n)));
            assert_eq!(ann.recv().await, Ok(("Ann", n)));
        }
    });
}

// CH38
#[test]
fn fan_in_with_a_task_for_each_input() {
    run(async {
        let (sender, receiver) = rendezvous();
        for input in [generator("Joe"), generator("Ann")] {
            let sender = sender.clone();
            go(async move {
                while let Ok(value) = input.recv().await {
                    if sender.send(value).await.is_err() {
                        return;
                    }
                }
            });
        }
        let (mut joe, mut ann) = (0, 0);
        for _ in 0..1_000 {
            let (who, n) = receiver.recv().await.unwrap();
            let next = if who == "Joe" { &mut joe } else { &mut ann };
            assert_eq!(n, *next);
            *next += 1;
        }
        assert!(joe > 0 && ann > 0);
    });
}

// CH38
#[test]
fn fan_in_with_select_loses_nothing() {
    run(async {
        let (joe, ann) = (generator("Joe"), generator("Ann"));
        let (sender, receiver) = rendezvous();
        go(async move {
            loop {
                let value = select! {
                    value = joe.recv() => value,
                    value = ann.recv() => value,
                };
                if sender.send(value.unwrap()).await.is_err() {
                    return;
                }
            }
        });
        let mut next = [0, 0];
        for _ in 0..10_000 {
            let (who, n) = receiver.recv().await.unwrap();
            let next = &mut next[usize::from(who == "Ann")];
            assert_eq!(n, *next, "the values of one input come without a gap");
            *next += 1;
        }
        assert!(next[0] > 3_000 && next[1] > 3_000, "{next:?}");
    });
}

// CH38
#[test]
fn timeout_for_each_message() {
    run(async {
        let (sender, receiver) = rendezvous();
        go(async move {
            for n in 0..3 {
                sender.send(n).await.unwrap();
            }
            // Nothing more, and no close.
            std::future::pending::<()>().await;
        });
        let mut seen = Vec::new();
        loop {
            select! {
                value = receiver.recv() => seen.push(value.unwrap()),
                () = sleep(Duration::from_millis(20)) => break,
            }
        }
        assert_eq!(seen, [0, 1, 2]);
    });
}

// CH38
#[test]
fn quit_channel_with_a_receipt() {
    run(async {
        let (quit, quitting) = rendezvous::<&str>();
        let (sender, receiver) = rendezvous();
        let (bye, ended) = rendezvous();
        go(async move {
            let mut n = 0;
            loop {
                select! {
                    sent = sender.send(n) => {
                        sent.unwrap();
                        n += 1;
                    }
                    why = quitting.recv() => {
                        bye.send((why.unwrap(), n)).await.unwrap();
                        return;
                    }
                }
            }
        });
        for n in 0..7 {
            assert_eq!(receiver.recv().await, Ok(n));
        }
        quit.send("enough").await.unwrap();
        assert_eq!(ended.recv().await, Ok(("enough", 7)));
    });
}

// CH38
#[test]
fn daisy_chain_of_a_hundred_thousand_rendezvous_channels() {
    const LINKS: u32 = 100_000;
    run(async {
        let (mut right, leftmost) = rendezvous();
        for _ in 0..LINKS {
            let left = right;
            let (sender, receiver) = rendezvous::<u32>();
            go(async move {
                left.send(receiver.recv().await.unwrap() + 1).await.unwrap();
            });
            right = sender;
        }
        go(async move { right.send(1).await.unwrap() });
        assert_eq!(leftmost.recv().await, Ok(LINKS + 1));
    });
}

// CH38, CH39
#[test]
fn concurrent_prime_sieve() {
    run(async {
        let (sender, mut numbers) = rendezvous();
        go(async move {
            for n in 2_u32.. {
                if sender.send(n).await.is_err() {
                    return;
                }
            }
        });
        let mut primes = Vec::new();
        for _ in 0..60 {
            let prime = numbers.recv().await.unwrap();
            primes.push(prime);
            let (sender, passed) = rendezvous();
            let input = numbers;
            go(async move {
                while let Ok(n) = input.recv().await {
                    if n % prime != 0 && sender.send(n).await.is_err() {
                        return;
                    }
                }
            });
            numbers = passed;
        }
        assert_eq!(primes[..10], [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert_eq!(primes[59], 281);
    });
}

// CH38
#[test]
fn replicated_search_takes_the_first_answer() {
    run(async {
        let mut answers = Vec::new();
        for kind in ["web", "image", "video"] {
            let (sender, first) = bounded(3);
            for replica in 0..3 {
                let sender = sender.clone();
                go(async move {
                    for _ in 0..(replica + 1) % 3 {
                        tokio::task::yield_now().await;
                    }
                    // The others find room, too, and end.
                    sender.send((kind, replica)).await.unwrap_or_default();
                });
            }
            answers.push(first.recv().await.unwrap());
        }
        assert_eq!(answers, [("web", 2), ("image", 2), ("video", 2)]);
    });
}

// CH38
#[test]
fn bounded_parallelism_with_a_channel_as_semaphore() {
    run(async {
        let (places, taken) = bounded::<()>(3);
        let (done, ended) = unbounded();
        for _ in 0..20 {
            let (places, taken, done) = (places.clone(), taken.clone(), done.clone());
            go(async move {
                places.send(()).await.unwrap();
                let running = taken.len();
                tokio::task::yield_now().await;
                taken.recv().await.unwrap();
                done.send(running).await.unwrap();
            });
        }
        drop(done);
        let mut running = Vec::new();
        while let Ok(count) = ended.recv().await {
            running.push(count);
        }
        assert_eq!((running.len(), running.iter().max()), (20, Some(&3)));
    });
}

// CH38
#[test]
fn producer_and_consumer_with_a_close_at_the_end() {
    run(async {
        let (sender, receiver) = bounded(5);
        go(async move {
            let sending = sender.guard();
            for n in 0..50 {
                sending.send(n).await.unwrap();
            }
        });
        let mut seen = Vec::new();
        while let Ok(n) = receiver.recv().await {
            seen.push(n);
        }
        assert_eq!(seen, (0..50).collect::<Vec<_>>());
    });
}
