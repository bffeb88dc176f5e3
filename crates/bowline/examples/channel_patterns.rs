//! What programs in Go do with channels, with structure: every task belongs to a group, and ends
//! because a channel does.
//!
//! Generators, fan-in that loses nothing, a timeout for each message, a quit channel with a
//! receipt, the prime sieve, a search by replicas, and a channel as a semaphore.
//!
//! `cargo run -p bowline --example channel_patterns`

use std::time::Duration;

use bowline::Error;
use bowline::channel::{Receiver, Sender, bounded, rendezvous, select};
use bowline::concurrency::{TaskGroup, after, sleep, task_group};

#[bowline::main]
async fn main() -> Result<(), Error> {
    task_group(fan_in).await?;
    task_group(timeout_for_each_message).await?;
    task_group(quit_with_a_receipt).await?;
    task_group(prime_sieve).await?;
    task_group(first_of_three_replicas).await?;
    task_group(at_most_three_at_a_time).await?;
    Ok(())
}

/// A task behind a channel. It ends when nobody listens any more: the send fails then.
fn generator(group: &TaskGroup<Error>, who: &'static str) -> Receiver<(&'static str, u32)> {
    let (sender, receiver) = rendezvous();
    group.spawn(async move {
        let mut n = 0;
        while sender.send((who, n)).await.is_ok() {
            n += 1;
        }
        Ok(())
    });
    receiver
}

/// Two inputs into one. The select takes from one of them and leaves the other as it is.
async fn fan_in(group: TaskGroup<Error>) -> Result<(), Error> {
    let (joe, ann) = (generator(&group, "Joe"), generator(&group, "Ann"));
    let mut next = [0, 0];
    for _ in 0..1_000 {
        let (who, n) = select! {
            value = joe.recv() => value?,
            value = ann.recv() => value?,
        };
        let next = &mut next[usize::from(who == "Ann")];
        assert_eq!(n, *next, "the values of each come without a gap");
        *next += 1;
    }
    println!("fan-in: {} of Joe's and {} of Ann's", next[0], next[1]);
    Ok(())
}

/// A source that falls silent without closing its channel.
async fn timeout_for_each_message(group: TaskGroup<Error>) -> Result<(), Error> {
    let (sender, receiver) = rendezvous();
    let (over, ended) = rendezvous::<()>();
    group.spawn(async move {
        for n in 0..3 {
            sender.send(n).await?;
        }
        // The end of this channel is the only message that it brings.
        let _ = ended.recv().await;
        drop(sender);
        Ok(())
    });
    let mut seen = Vec::new();
    loop {
        select! {
            value = receiver.recv() => seen.push(value?),
            _ = after(Duration::from_millis(20)) => break,
        }
    }
    drop(over);
    assert_eq!(seen, [0, 1, 2]);
    println!("timeout: nothing came after {seen:?}");
    Ok(())
}

/// Whoever is told to stop says when it has.
async fn quit_with_a_receipt(group: TaskGroup<Error>) -> Result<(), Error> {
    let (numbers, received) = rendezvous();
    let (quit, quitting) = rendezvous();
    let (bye, ended) = rendezvous();
    group.spawn(async move {
        let mut n = 0;
        loop {
            select! {
                sent = numbers.send(n) => { sent?; n += 1; },
                wish = quitting.recv() => {
                    let wish: &str = wish?;
                    // `n` lost against the wish to quit, so it was not sent.
                    bye.send(format!("{wish}, too; next would have been {n}")).await?;
                    return Ok(());
                },
            }
        }
    });
    for n in 0..5 {
        assert_eq!(received.recv().await?, n);
    }
    quit.send("bye").await?;
    let receipt = ended.recv().await?;
    assert_eq!(receipt, "bye, too; next would have been 5");
    println!("quit: {receipt}");
    Ok(())
}

/// A task for each prime lets only what it does not divide pass to the next.
async fn prime_sieve(group: TaskGroup<Error>) -> Result<(), Error> {
    let (sender, mut numbers) = rendezvous();
    group.spawn(async move {
        let mut n = 2_u32;
        while sender.send(n).await.is_ok() {
            n += 1;
        }
        Ok(())
    });
    let mut primes = Vec::new();
    for _ in 0..25 {
        let prime = numbers.recv().await?;
        primes.push(prime);
        let (sender, passed) = rendezvous();
        let before = std::mem::replace(&mut numbers, passed);
        group.spawn(async move {
            while let Ok(n) = before.recv().await {
                if n % prime != 0 && sender.send(n).await.is_err() {
                    break;
                }
            }
            Ok(())
        });
    }
    assert_eq!(primes.last(), Some(&97));
    println!("sieve: {primes:?}");
    Ok(())
}

/// All are asked, the first answer counts, and the others are cancelled with the group.
async fn first_of_three_replicas(group: TaskGroup<Error>) -> Result<(), Error> {
    // Room for one answer: who comes second waits until the group cancels it.
    let (answers, first) = bounded(1);
    for (replica, millis) in [("slow", 400), ("fast", 5), ("slower", 800)] {
        let answers: Sender<&str> = answers.clone();
        group.spawn(async move {
            sleep(Duration::from_millis(millis)).await;
            answers.send(replica).await?;
            Ok(())
        });
    }
    let answer = first.recv().await?;
    group.cancel("answered");
    assert_eq!(answer, "fast");
    println!("replicas: the {answer} one was first");
    Ok(())
}

/// A channel with three places is a semaphore: a permit is a value in it.
async fn at_most_three_at_a_time(group: TaskGroup<Error>) -> Result<(), Error> {
    let (enter, leave) = bounded(3);
    let mut running = 0;
    for job in 0..10 {
        enter.send(()).await?;
        running = running.max(enter.len());
        let leave = leave.clone();
        group.spawn(async move {
            sleep(Duration::from_millis(job % 3)).await;
            leave.recv().await?;
            Ok(())
        });
    }
    assert_eq!(running, 3);
    println!("semaphore: {running} at a time");
    Ok(())
}
