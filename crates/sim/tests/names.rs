//! Look-ups that are slow, fail, come in any order, or say something else the next time.

use bowline_sim::host::{self, Family, resolve};
use bowline_sim::{Answer, Builder, FailureKind, Latency, Names, Sim, World};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const SPARE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

/// A world of hosts "server" and "spare", and a client that does `act`.
fn world<F, T>(act: impl Fn() -> F + 'static) -> Builder
where
    F: Future<Output = T> + 'static,
    T: bowline_sim::HostOutcome,
{
    Sim::builder()
        .host("server", || host::Sleep::new(host::Sleep::NEVER))
        .host("spare", || host::Sleep::new(host::Sleep::NEVER))
        .client("client", act)
}

async fn kind(name: &str, family: Family) -> Option<ErrorKind> {
    resolve(name, family).await.err().map(|error| error.kind())
}

// SIM72
#[test]
fn an_answer_takes_the_time_it_is_given() {
    let quick = || async {
        for _ in 0..50 {
            let start = host::now();
            resolve("server", Family::Any).await?;
            let took = host::now() - start;
            assert!((100_000..5_101_000).contains(&took), "{took}");
        }
        Ok::<(), io::Error>(())
    };
    world(quick).run().expect("the default");
    let slow = || async {
        let start = host::now();
        resolve("server", Family::V4).await?;
        assert_eq!((host::now() - start) / MS, 700);
        // A number is known.
        let start = host::now();
        assert_eq!(resolve("10.0.0.2", Family::V4).await?, [SPARE]);
        assert_eq!(host::now(), start);
        Ok::<(), io::Error>(())
    };
    let names = Names::new().delay(Latency::constant(Duration::from_millis(700)));
    world(slow).names(names).run().expect("a slow answer");
}

// SIM72
#[test]
fn look_ups_fail_and_stay_silent_at_their_rates() {
    let counts = Arc::new(Mutex::new([0_u64; 3]));
    let seen = Arc::clone(&counts);
    let ask = move || {
        let seen = Arc::clone(&seen);
        async move {
            for _ in 0..4000 {
                let start = host::now();
                let result = resolve("server", Family::V4).await;
                let took = host::now() - start;
                let outcome = match result {
                    Ok(found) => {
                        assert_eq!(found, [SERVER]);
                        0
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        assert!(error.to_string().contains("\"server\""), "{error}");
                        // A failure is an answer; silence is found out by waiting.
                        let silent = took >= 10 * SECOND;
                        assert!(silent || took < 10 * MS, "{took}");
                        1 + usize::from(silent)
                    }
                };
                seen.lock().expect("not poisoned")[outcome] += 1;
                // What is known needs no server.
                assert!(resolve("localhost", Family::V4).await.is_ok());
            }
        }
    };
    let names = Names::new().failure(0.2).silence(0.1);
    world(ask).seed(3).names(names).run().expect("as asked");
    let [_, failed, silent] = *counts.lock().expect("not poisoned");
    let within = |count: u64, probability: f64| {
        let mean = 4000.0 * probability;
        let sigma = (mean * (1.0 - probability)).sqrt();
        (count as f64 - mean).abs() < 5.0 * sigma
    };
    assert!(
        within(silent, 0.1) && within(failed, 0.18),
        "{failed} {silent}"
    );
}

// SIM72
#[test]
fn addresses_come_in_any_order_and_of_the_families_there_are() {
    let orders = Arc::new(Mutex::new(BTreeSet::new()));
    let ip = |last: u8| IpAddr::V4(Ipv4Addr::new(192, 168, 0, last));
    for seed in 0..60 {
        let seen = Arc::clone(&orders);
        let ask = move || {
            let seen = Arc::clone(&seen);
            async move {
                let found = resolve("three", Family::Any).await?;
                assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 3);
                seen.lock().expect("not poisoned").insert(found);
                assert_eq!(resolve("old", Family::Any).await?, [SERVER]);
                let missing = Some(ErrorKind::AddrNotAvailable);
                assert_eq!(kind("old", Family::V6).await, missing);
                let new = resolve("new", Family::Any).await?;
                assert!(new.len() == 1 && new[0].is_ipv6());
                assert_eq!(kind("new", Family::V4).await, missing);
                Ok::<(), io::Error>(())
            }
        };
        let world = world(ask)
            .seed(seed)
            .name("three", Answer::Addresses(vec![ip(1), ip(2), ip(3)]))
            .name("old", Answer::HostV4("server".to_owned()))
            .name("new", Answer::HostV6("server".to_owned()));
        world.run().expect("they have addresses");
    }
    assert_eq!(orders.lock().expect("not poisoned").len(), 6);
}

// SIM72
#[test]
fn the_script_changes_what_a_name_means() {
    let ask = || async {
        let v4 = || resolve("service", Family::V4);
        let not_found = Some(ErrorKind::NotFound);
        let again = Some(ErrorKind::WouldBlock);
        assert_eq!(v4().await?, [SERVER]);
        host::Sleep::new(11 * SECOND).await;
        assert_eq!(v4().await?, [SPARE]);
        host::Sleep::new(21 * SECOND).await;
        assert_eq!(kind("service", Family::V4).await, not_found);
        host::Sleep::new(31 * SECOND).await;
        assert_eq!(kind("service", Family::V4).await, again);
        assert!(host::now() < 32 * SECOND);
        host::Sleep::new(41 * SECOND).await;
        assert_eq!(kind("service", Family::V4).await, again);
        assert_eq!(host::now() / SECOND, 51);
        // A host's own name can mean another one, and itself again.
        assert_eq!(resolve("spare", Family::V4).await?, [SERVER]);
        host::Sleep::new(61 * SECOND).await;
        assert_eq!(resolve("spare", Family::V4).await?, [SPARE]);
        assert_eq!(kind("service", Family::V4).await, not_found);
        Ok::<(), io::Error>(())
    };
    let set = |name: &'static str, answer: Answer| {
        move |world: &mut World| world.set_name(name, answer.clone())
    };
    let of = |host: &str| Answer::Host(host.to_owned());
    let seconds = Duration::from_secs;
    let world = world(ask)
        .name("service", of("server"))
        .at(seconds(10), set("service", of("spare")))
        .at(seconds(20), set("service", Answer::NotFound))
        .at(seconds(30), set("service", Answer::TryAgain))
        .at(seconds(40), set("service", Answer::Silence))
        .at(seconds(50), set("spare", of("server")))
        .at(seconds(60), |world| world.restore_name("service"))
        .at(seconds(60), |world| world.restore_name("spare"));
    for seed in 0..10 {
        world.clone().seed(seed).run().expect("as the script says");
    }
    world.compare().expect("equal seeds, equal runs");
}

// SIM72
#[test]
fn names_that_make_no_sense_are_refused() {
    let idle = || host::Sleep::new(10 * SECOND);
    let ms = Duration::from_millis;
    let nobody = || Answer::HostV4("nobody".to_owned());
    let cases = [
        (
            world(idle).names(Names::new().failure(1.1)),
            "failure of look-ups is 1.1",
        ),
        (
            world(idle).names(Names::new().silence(-1.0)),
            "silence of look-ups is -1",
        ),
        (
            world(idle).names(Names::new().delay(ms(5)..ms(1))),
            "delay of look-ups",
        ),
        (
            world(idle).name("x", nobody()),
            "the answer for \"x\" names the host \"nobody\"",
        ),
        (
            world(idle).at(ms(1), move |world| world.set_name("x", nobody())),
            "the answer for \"x\" names the host \"nobody\"",
        ),
    ];
    for (world, cause) in cases {
        let failure = world.run().expect_err("it makes no sense");
        assert_eq!(*failure.kind(), FailureKind::Setup);
        assert!(failure.message().contains(cause), "{failure}");
    }
}
