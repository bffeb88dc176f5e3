//! Values under cancellation and between two workers.

use std::collections::BTreeMap;
use std::time::Duration;

use bowline::channel::bounded;

use crate::run;

// CH22
#[test]
fn receives_cancelled_by_a_timer_lose_nothing() {
    const ROUNDS: usize = 100_000;
    for capacity in [0, 1, 128] {
        run(async {
            let (sender, receiver) = bounded(capacity);
            let sending = tokio::spawn(async move {
                let mut sent = 0_u64;
                while sender.send(sent).await.is_ok() {
                    sent += 1;
                    if sent.is_multiple_of(3) {
                        tokio::task::yield_now().await;
                    }
                }
                sent
            });
            let (mut received, mut cancelled) = (0_u64, 0);
            for round in 0..ROUNDS {
                // Some timers are over at once, others after the task has waited.
                let span = Duration::from_nanos((round % 4) as u64);
                let timer = tokio::time::timeout(span, tokio::task::yield_now());
                tokio::select! {
                    value = receiver.recv() => {
                        assert_eq!(value, Ok(received), "the order is kept");
                        received += 1;
                    }
                    _ = timer => cancelled += 1,
                }
            }
            for value in receiver.close_and_discard() {
                assert_eq!(value, received);
                received += 1;
            }
            assert_eq!(sending.await.unwrap(), received);
            assert!(cancelled > 1_000, "{cancelled}");
        });
    }
}

// CH36
#[test]
fn four_senders_and_four_receivers_on_two_threads() {
    const PER_SENDER: u64 = 250_000;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    for capacity in [1, 128] {
        let (sender, receiver) = bounded(capacity);
        for who in 0..4 {
            let sender = sender.clone();
            runtime.spawn(async move {
                for n in 0..PER_SENDER {
                    sender.send((who, n)).await.unwrap();
                }
            });
        }
        drop(sender);
        let receiving: Vec<_> = (0..4)
            .map(|_| {
                let receiver = receiver.clone();
                runtime.spawn(async move {
                    let (mut last, mut sum, mut count) = (BTreeMap::new(), 0, 0);
                    while let Ok((who, n)) = receiver.recv().await {
                        assert!(last.insert(who, n).is_none_or(|before| before < n));
                        sum += n;
                        count += 1;
                    }
                    (sum, count)
                })
            })
            .collect();
        let (mut sum, mut count) = (0, 0);
        for task in receiving {
            let (part, values) = runtime.block_on(task).unwrap();
            sum += part;
            count += values;
        }
        assert_eq!(count, 4 * PER_SENDER);
        assert_eq!(sum, 4 * (PER_SENDER * (PER_SENDER - 1) / 2));
    }
}
