//! Calls over three hops between hosts whose clocks are hours apart.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_backend::time::{Instant, now};
use bowline_concurrency::{sleep, sleep_forever};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{Caller, Code, Context, Error, Registry, TcpBroker};
use bowline_sim::{Link, Sim};

const HOSTS: [&str; 4] = ["caller", "first", "second", "third"];
const HOUR: Duration = Duration::from_secs(3600);
/// Clocks go one and a half times as fast as they should, or half as fast, until then.
const APART: Duration = Duration::from_secs(2 * 3600);
const SECOND: Duration = Duration::from_secs(1);
/// What the network and the handlers take in all, and more.
const LITTLE: Duration = Duration::from_millis(100);

/// What the handlers saw, hop by hop.
#[derive(Clone, Debug, Default)]
struct Seen {
    budgets: Vec<Duration>,
    clocks: Vec<Duration>,
    /// When they ended, by the time of the world.
    ends: Vec<Duration>,
}

struct Ends;

impl Drop for Ends {
    fn drop(&mut self) {
        Sim::ghost(|seen: &mut Seen| seen.ends.push(Sim::now()));
    }
}

fn see(budget: Duration) {
    let clock = now().saturating_duration_since(Instant::from_nanos(0));
    Sim::ghost(|seen: &mut Seen| {
        seen.budgets.push(budget);
        seen.clocks.push(clock);
    });
}

/// Until the clocks are apart, and go alike.
async fn apart() {
    while Sim::now() <= APART {
        sleep(HOUR / 60).await;
    }
}

/// A host whose handler calls the next host, or is the last and answers, if at all.
async fn hop(own: &'static str, next: Option<&'static str>) -> Result<(), Error> {
    let registry = Registry::new("example");
    registry.register_fn(
        own,
        move |context: Context, (answers,): (bool,)| async move {
            see(context
                .remaining()
                .expect("the caller does not wait for ever"));
            let _ends = Ends;
            let Some(next) = next else {
                if !answers {
                    sleep_forever().await;
                }
                return true;
            };
            let broker = context.broker().expect("a broker runs it");
            let deeper = broker.call_named::<bool>(next, (answers,));
            deeper.no_deadline().await.unwrap_or(false)
        },
    )?;
    let broker = TcpBroker::builder(AsyncExecutor::new(registry, 4)).allow_insecure_network();
    broker
        .listen("0.0.0.0:15383")
        .run(async |broker| -> Result<(), Error> {
            apart().await;
            if let Some(next) = next {
                broker.connect(format!("{next}:15383")).await?;
            }
            std::future::pending().await
        })
        .await
}

async fn caller() -> Result<(), Error> {
    apart().await;
    // The others have connected by then.
    sleep(HOUR).await;
    TcpBroker::caller()
        .project("example")
        .allow_insecure_network()
        .connect("first:15383")
        .run(async |broker| -> Result<(), Error> {
            see(10 * SECOND);
            assert!(
                broker
                    .call_named::<bool>("first", (true,))
                    .timeout(10 * SECOND)
                    .await?
            );
            let began = Sim::now();
            let late = broker
                .call_named::<bool>("first", (false,))
                .timeout(2 * SECOND);
            assert_eq!(late.await.unwrap_err().code(), Code::DeadlineExceeded);
            let took = Sim::now() - began;
            assert!(
                (2 * SECOND..2 * SECOND + LITTLE).contains(&took),
                "{took:?}"
            );
            sleep(LITTLE).await;
            // All that was done for it has ended with it, or at its own deadline.
            let ends = Sim::ghost(|seen: &mut Seen| seen.ends.split_off(3));
            assert_eq!(ends.len(), 3, "{ends:?}");
            for end in ends {
                let after = end - began;
                assert!(
                    (2 * SECOND - LITTLE..2 * SECOND + LITTLE).contains(&after),
                    "{after:?}"
                );
            }
            Ok(())
        })
        .await
}

/// What is seen where clocks are so many hours ahead of the world's.
fn run(ahead: [i32; 4]) -> Seen {
    let result = Arc::new(Mutex::new(Seen::default()));
    let seen = result.clone();
    let world = Sim::builder()
        .default_link(Link::lan().latency(Duration::from_millis(1)..Duration::from_millis(2)))
        .host("first", || hop("first", Some("second")))
        .host("second", || hop("second", Some("third")))
        .host("third", || hop("third", None))
        .client("caller", move || {
            let seen = seen.clone();
            async move {
                let outcome = caller().await;
                *seen.lock().unwrap() = Sim::ghost(|seen: &mut Seen| seen.clone());
                outcome
            }
        });
    let hosts = HOSTS.into_iter().zip(ahead);
    let world = hosts.fold(world, |world, (host, ahead)| {
        // Two hours of that are one hour more.
        world.clock_drift(host, ahead * 500_000)
    });
    let world = world.at(APART, move |world| {
        for (host, ahead) in HOSTS.into_iter().zip(ahead) {
            world.set_clock_drift(host, 0);
            let year_2020 = Duration::from_secs(1_577_836_800);
            let hours = u32::try_from(2 + ahead).unwrap();
            world.set_wall_clock(host, year_2020 + hours * HOUR);
        }
    });
    world.run().unwrap();
    let seen = result.lock().unwrap().clone();
    // They are as far apart as that, but for what the calls took.
    let hours = |hours: i32| f64::from(hours) * HOUR.as_secs_f64();
    for (clock, own) in seen.clocks.iter().zip(ahead) {
        let before = clock.as_secs_f64() - seen.clocks[0].as_secs_f64();
        let expected = hours(own) - hours(ahead[0]);
        assert!((before - expected).abs() < 1.0, "{before} {expected}");
    }
    seen
}

// R6
#[test]
fn budgets_decrease_over_three_hops_whatever_the_clocks_show() {
    let alike = run([0; 4]);
    for ahead in [[0, 1, 0, 1], [1, 0, 1, 0], [1, -1, 1, -1], [-1, 1, 0, 1]] {
        let seen = run(ahead);
        let first = &seen.budgets[..4];
        assert!(
            first.windows(2).all(|two| two[1] < two[0]),
            "{ahead:?}: {first:?}"
        );
        for (here, there) in first.iter().zip(&alike.budgets) {
            assert!(here.abs_diff(*there) < LITTLE, "{ahead:?}: {first:?}");
        }
    }
}
