//! Workers that survive their jobs, a source that is taken up again when it breaks off, and an end
//! that loses no job.
//!
//! A job that is busy is tried again, one that is refused or panics harms no other job, and one
//! that hangs is cut when the grace is over. A job that was begun and not settled, whatever the
//! reason, goes back by the destructor of its claim.
//!
//! `cargo run -p bowline --example supervised_workers`

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline::Error;
use bowline::concurrency::{
    Backoff, Retry, TaskGroup, Workers, sleep, sleep_forever, task_group, timeout,
};

const JOBS: u32 = 40;

/// What jobs get that still run when everything was sent.
const GRACE: Duration = Duration::from_millis(300);

#[bowline::main]
async fn main() -> Result<(), Error> {
    std::panic::set_hook(Box::new(|panic| println!("{panic}")));
    let ledger = Arc::new(Ledger::default());
    let shared = ledger.clone();
    let workers = task_group(|group: TaskGroup<Error>| async move {
        let workers = Workers::start(&group, 4, 8, move |job| work(job, shared.clone()))?;
        supervise(&workers).await?;
        println!("everything is sent: {:?}", workers.statistics());
        if timeout(GRACE, workers.close()).await.is_err() {
            println!("the grace is over: {:?}", workers.statistics());
            group.cancel("the grace is over");
        }
        Ok(workers) // the group waits for the workers
    })
    .await?;

    let end = workers.statistics();
    println!("all is over: {end:?}");
    assert_eq!((end.workers, end.running, end.waiting), (0, 0, 0));
    let [done, refused, left] = [&ledger.done, &ledger.refused, &ledger.left].map(sorted);
    println!("refused: {refused:?}, left: {left:?}");
    assert!(left.contains(&34), "it hangs");
    assert!(![13, 21, 34].iter().any(|job| done.contains(job)));
    let mut all = [done, refused, left].concat();
    all.sort_unstable();
    let expected: Vec<_> = (0..JOBS).collect();
    assert_eq!(all, expected, "no job is lost or doubled");
    Ok(())
}

/// Sends all jobs; a source that breaks off is taken up where it was, five times at most.
async fn supervise(workers: &Workers<u32>) -> Result<(), Error> {
    let next = AtomicU32::new(0);
    let feeding = Retry::attempts(5)
        .backoff(Backoff::exponential(Duration::from_millis(2)))
        .run(|attempt| {
            println!(
                "source opened, time {attempt}, at job {}",
                next.load(Ordering::Relaxed)
            );
            feed(&next, workers)
        });
    match feeding.await {
        Ok(()) => Ok(()),
        Err(error) => Err(error.to_string().into()),
    }
}

async fn feed(next: &AtomicU32, workers: &Workers<u32>) -> Result<(), Error> {
    loop {
        let job = next.load(Ordering::Relaxed);
        if job == JOBS {
            return Ok(());
        }
        workers.send(job).await?; // waits while eight wait
        next.store(job + 1, Ordering::Relaxed);
        if job % 15 == 14 {
            return Err("the source broke off".into());
        }
    }
}

/// One job, tried three times if that is worth it.
async fn work(job: u32, ledger: Arc<Ledger>) -> Result<(), Error> {
    let claim = Claim::new(job, ledger);
    let delivery = Retry::attempts(3)
        .backoff(Backoff::exponential(Duration::from_millis(1)))
        .when(|failure| *failure == Failure::Busy)
        .run(|attempt| deliver(job, attempt));
    match delivery.await {
        Ok(()) => {
            claim.settle(|ledger| &ledger.done);
            Ok(())
        }
        Err(error) => {
            claim.settle(|ledger| &ledger.refused);
            Err(format!("job {job}: {:?}", error.last()).into())
        }
    }
}

#[derive(Copy, Clone, Debug, PartialEq)]
enum Failure {
    Busy,
    Refused,
}

/// Stands for the outside world, in which a few jobs go wrong.
async fn deliver(job: u32, attempt: usize) -> Result<(), Failure> {
    sleep(Duration::from_millis(1)).await;
    match job {
        7 if attempt < 3 => Err(Failure::Busy),
        13 => Err(Failure::Refused),
        21 => panic!("a bug that only job 21 finds"),
        34 => match sleep_forever().await {},
        _ => Ok(()),
    }
}

/// What became of the jobs.
#[derive(Default)]
struct Ledger {
    done: Mutex<Vec<u32>>,
    refused: Mutex<Vec<u32>>,
    left: Mutex<Vec<u32>>,
}

/// A job that was begun; dropped without having been settled, it is left for another time.
struct Claim {
    job: u32,
    ledger: Option<Arc<Ledger>>,
}

impl Claim {
    fn new(job: u32, ledger: Arc<Ledger>) -> Claim {
        let ledger = Some(ledger);
        Claim { job, ledger }
    }

    fn settle(mut self, list: fn(&Ledger) -> &Mutex<Vec<u32>>) {
        if let Some(ledger) = self.ledger.take() {
            add(list(&ledger), self.job);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            add(&ledger.left, self.job);
        }
    }
}

fn add(list: &Mutex<Vec<u32>>, job: u32) {
    list.lock().expect("nobody panics with it").push(job);
}

fn sorted(list: &Mutex<Vec<u32>>) -> Vec<u32> {
    let mut jobs = list.lock().expect("nobody panics with it").clone();
    jobs.sort_unstable();
    jobs
}
