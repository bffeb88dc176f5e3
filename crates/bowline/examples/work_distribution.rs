//! Work for other processes: this one listens and hands out work, and those that connect do it. One of
//! them is killed on the way, and nothing is lost; at the end the other is asked to leave.
//!
//! `cargo run -p bowline --example work_distribution`

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bowline::Error;
use bowline::concurrency::gather_bounded;
use bowline::rpc::executor::ThreadPoolExecutor;
use bowline::rpc::{Balance, Broker, Caller, CloseCause, Registry, Right, Secret, TcpBroker, sys};

/// How many primes there are below `to`, from `from` on; and which process counted them. It may be done
/// twice, so it is done again where a process is lost.
#[bowline::rpc(idempotent)]
fn primes(from: u64, to: u64) -> (u32, usize) {
    let is_prime = |n: &u64| {
        *n > 1
            && (2..)
                .take_while(|d| d * d <= *n)
                .all(|d| !n.is_multiple_of(d))
    };
    (std::process::id(), (from..to).filter(is_prime).count())
}

const STEP: u64 = 2_000;
const UNTIL: u64 = 200_000;
/// How the secret gets to those who do the work.
const SECRET: &str = "FARM_SECRET";

#[bowline::main]
async fn main() -> Result<(), Error> {
    match std::env::args().nth(1) {
        None => distribute().await,
        Some(address) => work(&address).await,
    }
}

/// Connects to where work is handed out and does it, until it is asked to leave.
async fn work(address: &str) -> Result<(), Error> {
    let registry = Registry::new("farm");
    registry.register(primes)?;
    TcpBroker::builder(ThreadPoolExecutor::new(registry, 2))
        .secret(Secret::new(std::env::var(SECRET).unwrap_or_default())?)
        .key_id("farm")
        // The one who proved to have that key may end this process.
        .allow("farm", "sys.drain", Right::Call)
        .connect(address)
        .run(async |worker| -> Result<(), Error> {
            assert_eq!(worker.closed().await, CloseCause::Drained);
            Ok(())
        })
        .await
}

/// Hands out work to two processes, and counts who did how much.
async fn distribute() -> Result<(), Error> {
    let secret = format!("{:032x}", u128::from_be_bytes(random()));
    TcpBroker::caller()
        .project("farm")
        .secret(Secret::new(secret.clone())?)
        .key_id("farm")
        .balance(Balance::PowerOfTwo)
        .listen("127.0.0.1:0")
        .run(async |farm| -> Result<(), Error> {
            let address = farm.local_addrs()[0].to_string();
            let start = || Worker::start(&address, &secret);
            let (first, mut second) = (Mutex::new(start()?), start()?);

            let steps = UNTIL / STEP;
            let finished = AtomicU64::new(0);
            let counts = (0..steps).map(async |step| -> Result<_, Error> {
                let from = step * STEP;
                let counted = farm.call(primes(from, from + STEP)).await?;
                if finished.fetch_add(1, Ordering::Relaxed) == steps / 2 {
                    // In the midst of its work.
                    first.lock().expect("nothing panics").0.kill()?;
                }
                Ok(counted)
            });
            let mut done = BTreeMap::<u32, u64>::new();
            let mut total = 0;
            for (process, count) in gather_bounded(8, counts).await? {
                *done.entry(process).or_default() += 1;
                total += count;
            }
            // As many as there are, whoever counted them.
            assert_eq!(total, 17_984);
            for (process, did) in &done {
                println!("process {process} did {did} of {steps} steps");
            }
            assert_eq!(done.values().sum::<u64>(), steps);
            assert!(done.contains_key(&second.0.id()));

            farm.call(sys::Drain { timeout_ms: 5_000 })
                .await
                .map_err(bowline::rpc::Error::from)?;
            assert!(second.0.wait()?.success());
            println!("process {} left when it was asked to", second.0.id());
            Ok(())
        })
        .await
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    bowline::backend::entropy::fill(&mut bytes);
    bytes
}

/// A process that is gone when this one is.
struct Worker(Child);

impl Worker {
    fn start(address: &str, secret: &str) -> std::io::Result<Worker> {
        let child = Command::new(std::env::current_exe()?)
            .arg(address)
            .env(SECRET, secret)
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Worker(child))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
