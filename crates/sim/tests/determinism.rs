//! Same seed, same run; another seed, another run.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::{Choices, EventKind, Keep, Sim, block_on, host};
use std::collections::BTreeSet;
use std::process::Command;

const CHILD: &str = "BOWLINE_SIM_TEST_CHILD";

fn hash(seed: u64) -> u64 {
    echo::world(seed).run().expect("the world runs").trace_hash
}

// SIM1
#[test]
fn two_processes_agree() {
    if std::env::var(CHILD).is_ok() {
        for seed in 0..20 {
            println!("hash {seed} {:016x}", hash(seed));
        }
        return;
    }
    let run = |padding: usize| {
        let output = Command::new(std::env::current_exe().expect("this test's binary"))
            .args(["--exact", "two_processes_agree", "--nocapture"])
            .env(CHILD, "1")
            .env("PADDING", "x".repeat(padding))
            .output()
            .expect("the binary runs again");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines()
            .filter_map(|line| line.find("hash ").map(|at| line[at..].to_owned()))
            .collect::<Vec<_>>()
    };
    let (first, second) = (run(0), run(5000));
    assert_eq!(first.len(), 20);
    assert_eq!(first, second);
    for (seed, line) in first.iter().enumerate() {
        assert_eq!(*line, format!("hash {seed} {:016x}", hash(seed as u64)));
    }
}

// SIM2
#[test]
fn seeds_differ() {
    let hashes: BTreeSet<u64> = (0..1000).map(hash).collect();
    assert!(hashes.len() > 990, "only {} hashes", hashes.len());
}

// SIM4
#[test]
fn one_more_draw_leaves_other_hosts_alone() {
    let entropy_of_a = |extra: usize| {
        let (sender, receiver) = std::sync::mpsc::channel();
        Sim::builder()
            .seed(5)
            .host("b", move || async move {
                for _ in 0..extra {
                    host::random_u64();
                    Sim::choose("dice", 0..6);
                }
            })
            .client("a", move || {
                let sender = sender.clone();
                async move {
                    for _ in 0..8 {
                        let drawn = (host::random_u64(), Sim::choose("dice", 0..6));
                        sender.send(drawn).expect("the test listens");
                    }
                }
            })
            .run()
            .expect("the world runs");
        receiver.try_iter().collect::<Vec<_>>()
    };
    let plain = entropy_of_a(0);
    assert_eq!(plain.len(), 8);
    assert_eq!(plain, entropy_of_a(1));
    assert_eq!(plain, entropy_of_a(17));
}

// SIM5
#[test]
fn recorded_choices_run_again() {
    let recorded = echo::world(11).record_choices(1_000_000).run();
    let recorded = recorded.expect("the world runs");
    let choices = recorded.choices().clone();
    assert!(choices.is_complete());
    assert_eq!(choices.as_slice().len() as u64, recorded.choices_used);
    // Another seed: only the list decides.
    let replayed = echo::world(99).replay(choices.clone()).run();
    let replayed = replayed.expect("the replay runs");
    assert_eq!(replayed.trace_hash, recorded.trace_hash);

    let half = choices.as_slice().len() / 2;
    let shortened = choices.clone().truncated(half);
    let shortened = echo::world(99).replay(shortened).run();
    assert_ne!(
        shortened.expect("it still runs").trace_hash,
        recorded.trace_hash
    );
}

// SIM6
#[test]
fn no_choices_are_the_tame_run() {
    let tame = |seed| {
        echo::world(seed)
            .replay(Choices::default())
            .trace(Keep::Full)
            .record_choices(1_000_000)
            .run()
            .expect("the tame world runs")
    };
    let report = tame(1);
    assert_eq!(report.trace_hash, tame(2).trace_hash);
    assert!(
        report
            .choices()
            .as_slice()
            .iter()
            .all(|choice| choice.taken() == 0)
    );
    // FIFO: both clients do the same at the same pace, so neither is overtaken by two polls.
    let polls: Vec<&str> = report
        .trace()
        .iter()
        .filter(|line| line.event().kind() == EventKind::Poll && line.host() != "server")
        .map(|line| line.host())
        .collect();
    let alternating = polls.chunks(2).all(|pair| pair == ["a", "b"]);
    assert!(alternating, "{polls:?}");
    // Full length: every write of 700 bytes is taken whole.
    let writes = report.trace().iter().map(|line| line.event());
    let mut of_clients = writes.filter(|event| event.kind() == EventKind::Write);
    assert!(of_clients.clone().count() >= 12);
    assert!(of_clients.all(|event| matches!(event.values().1, 700 | 512 | 188)));
}

/// Hashes of seeds 0 to 19. They change only with the trace version, and on purpose.
const GOLDEN: [u64; 20] = [
    0xff0d_ec90_8bb6_2299,
    0x0422_b9b6_3414_a4e6,
    0x5fd5_6f52_bcd9_1963,
    0xb8a9_6109_9d75_1784,
    0x119d_6034_1913_39f6,
    0x44fc_bbb1_c2f1_fbd9,
    0x6a46_0332_111b_4a47,
    0xb98c_78e2_8b06_ea37,
    0x0e42_994a_ce5b_c562,
    0x7055_6e42_1467_de61,
    0xff7a_c7a4_4de0_d3d0,
    0x16b8_a53b_319d_395b,
    0xdfed_da17_8015_1e7d,
    0xbd7c_1346_ada2_f20f,
    0x6ebf_1c5c_c409_7fda,
    0xd627_a967_7e0d_5e46,
    0x055c_7835_76a1_b14e,
    0xdc60_c0c9_1aca_2799,
    0xe22a_373f_4722_2d92,
    0x68fa_8f94_96a4_71bc,
];

// SIM7
#[test]
fn golden_hashes() {
    let hashes: Vec<u64> = (0..20).map(hash).collect();
    assert_eq!(
        hashes, GOLDEN,
        "the trace changed: raise the trace version and take {hashes:#018x?}"
    );
}

// SIM8
#[test]
fn parallel_worlds_do_not_touch() {
    let alone: Vec<u64> = (0..4).map(hash).collect();
    for _ in 0..20 {
        let threads: Vec<_> = (0..4)
            .map(|seed| std::thread::spawn(move || hash(seed)))
            .collect();
        let together: Vec<u64> = threads
            .into_iter()
            .map(|thread| thread.join().expect("a world on a thread"))
            .collect();
        assert_eq!(together, alone);
    }
}

/// What the client saw: an address, when it had it, when it had a byte, entropy.
type Seen = (std::net::IpAddr, u64, u64, u64);

// SIM9
#[test]
fn everything_drawn_is_a_choice() {
    let run = |seed| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let report = Sim::builder()
            .seed(seed)
            .host("far", || async {
                let listener = echo::listen(80)?;
                let stream = echo::accept(&listener).await?;
                echo::write_all(&stream, b"x").await
            })
            .client("near", move || {
                let sender = sender.clone();
                async move {
                    let ips = host::resolve("far", host::Family::Any).await?;
                    let named = host::now();
                    let stream = echo::dial("far", 80).await?;
                    echo::read_some(&stream, 1).await?;
                    let seen: Seen = (ips[0], named, host::now(), host::random_u64());
                    sender.send(seen).expect("the test listens");
                    Ok::<(), std::io::Error>(())
                }
            })
            .record_choices(100_000)
            .run()
            .expect("the world runs");
        (receiver.recv().expect("it ran"), report)
    };
    let (seen, report) = run(3);
    assert_eq!(seen, run(3).0);
    let labels: BTreeSet<&str> = report
        .choices()
        .as_slice()
        .iter()
        .map(|choice| choice.label())
        .collect();
    for label in [
        "entropy",
        "latency",
        "name delay",
        "name order",
        "ephemeral port",
        "poll cost",
    ] {
        assert!(labels.contains(label), "{label} is not among {labels:?}");
    }
    // Over seeds each of them takes other values: they come from the oracle and nowhere else.
    let many: Vec<_> = (0..30).map(|seed| run(seed).0).collect();
    assert!(many.iter().any(|seen| seen.0.is_ipv4()) && many.iter().any(|seen| seen.0.is_ipv6()));
    let numbers = |pick: fn(&Seen) -> u64| many.iter().map(pick).collect::<BTreeSet<_>>();
    for values in [
        numbers(|seen| seen.1),
        numbers(|seen| seen.2),
        numbers(|seen| seen.3),
    ] {
        assert!(values.len() > 25);
    }
}

// SIM1
#[test]
fn one_host_worlds_agree() {
    let run = |seed| {
        block_on(seed, async {
            let mut bytes = [0; 13];
            host::fill(&mut bytes);
            host::yield_now().await;
            (bytes, host::now())
        })
    };
    assert_eq!(run(4), run(4));
    assert_ne!(run(4), run(5));
}
