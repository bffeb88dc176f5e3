//! A log that many follow at once over TCP. Those who keep up get every line; one that does not is told
//! how many it has missed, and holds nobody up.
//!
//! ```text
//! cargo run --example log_tail --all-features
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline::channel::{Receiver, Sender, unbounded};
use bowline::concurrency::{TaskGroup, sleep, task_group};
use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{
    Broker, Caller, Context, Error, Lossy, Outgoing, Overflow, OverflowExt, Registry, TcpBroker,
};

const LINES: u64 = 5_000;
const PAUSE: Duration = Duration::from_millis(1);

/// Lines go to those who follow.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Sender<String>>>>);

impl Log {
    fn follow(&self) -> Receiver<String> {
        let (sender, lines) = unbounded();
        self.followers().push(sender);
        lines
    }

    fn write(&self, line: &str) {
        // Who has gone takes no more.
        self.followers()
            .retain(|follower| follower.try_send(line.to_owned()).is_ok());
    }

    fn followers(&self) -> MutexGuard<'_, Vec<Sender<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every line from now on; the oldest ones that wait are dropped for a caller that is too slow.
#[bowline::rpc]
fn tail(context: Context) -> Outgoing<Lossy<String>> {
    let log = context.state::<Log>().expect("the executor has it");
    log.follow().overflow(Overflow::DropOldest)
}

/// Follows the log, with a pause after each line that came; how many came and were missed.
async fn follow<B: Broker>(broker: B, pause: Option<Duration>) -> Result<(u64, u64), Error> {
    let mut lines = broker.call(tail()).no_deadline().open().await?.receiver;
    let (mut came, mut missed) = (0, 0);
    while let Some(line) = lines.recv().await? {
        match line {
            Lossy::Item(_) => came += 1,
            Lossy::Lagged(lines) => missed += lines,
        }
        if let Some(pause) = pause {
            sleep(pause).await;
        }
    }
    Ok((came, missed))
}

async fn write(log: Log) {
    while log.followers().len() < 2 {
        sleep(PAUSE).await;
    }
    for number in 0..LINES {
        log.write(&format!("{number}: a rope is as strong as its knots"));
        if number % 10 == 0 {
            sleep(PAUSE).await;
        }
    }
    // The last line: the calls end.
    log.followers().clear();
}

#[bowline::main]
async fn main() -> Result<(), Error> {
    let registry = Registry::new("example");
    registry.register(tail)?;
    let log = Log::default();
    let executor = AsyncExecutor::new(registry, 16).state(log.clone());
    let server = TcpBroker::builder(executor).listen("127.0.0.1:0");
    let followed = server.run(async |server| -> Result<_, Error> {
        let client = TcpBroker::caller()
            .project("example")
            .connect(server.local_addrs()[0]);
        client
            .run(async |broker| -> Result<_, Error> {
                let ended = task_group(|group: TaskGroup<Error>| async move {
                    let quick = group.spawn(follow(broker.clone(), None));
                    let slow = group.spawn(follow(broker.clone(), Some(3 * PAUSE)));
                    write(log).await;
                    Ok((quick.join().await, slow.join().await))
                });
                Ok(ended.await.expect("no follower fails"))
            })
            .await
    });
    let (quick, slow) = followed.await?;
    for (who, outcome) in [("quick", quick), ("slow", slow)] {
        let (came, missed) = outcome.expect("it was not cancelled");
        println!("the {who} one read {came} lines and missed {missed}");
        assert_eq!(came + missed, LINES);
    }
    Ok(())
}
