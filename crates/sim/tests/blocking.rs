//! Blocking jobs: how many overlap, when they end, and those that never do.

use bowline_sim::host::{self, Sleep};
use bowline_sim::{Builder, HostLimits, Sim, eventually};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const CHILD: &str = "BOWLINE_SIM_TEST_PARKED";
const JOBS: usize = 12;

/// A host of so many blocking threads that submits jobs at once and notes when each ends.
fn pool(seed: u64, threads: usize) -> Builder {
    let mut limits = HostLimits::default();
    limits.blocking_threads = threads;
    Sim::builder()
        .seed(seed)
        .client("worker", || async {
            let start = host::now();
            for job in 0..JOBS {
                host::spawn_blocking(Box::new(move || {
                    Sim::note("start", start);
                    Sim::note("job", job as u64);
                    Sim::note("ended", host::now());
                }));
            }
            Sleep::new(start + 1_000_000_000).await;
        })
        .limits("worker", limits)
        .record_choices(100_000)
}

/// Order of the jobs, when each ended after they were submitted, and the times drawn for them.
fn run(seed: u64, threads: usize) -> (Vec<u64>, Vec<u64>, Vec<u64>) {
    let report = pool(seed, threads).run().expect("jobs end");
    let noted = |label| {
        let lines = report.trace().iter().map(|line| line.event());
        let noted = lines.filter(|event| event.label() == label);
        noted.map(|event| event.values().0).collect::<Vec<_>>()
    };
    let start = noted("start")[0];
    let ended = noted("ended").into_iter().map(|at| at - start).collect();
    let choices = report.choices().as_slice().iter();
    let drawn = choices.filter(|choice| choice.label() == "job time");
    (
        noted("job"),
        ended,
        drawn.map(|choice| choice.taken()).collect(),
    )
}

// SIM45
#[test]
fn jobs_end_at_their_drawn_time_and_overlap_as_the_pool_allows() {
    for seed in 0..20 {
        let (order, ended, drawn) = run(seed, 1);
        // One after the other, in the order submitted.
        assert_eq!(order, (0..JOBS as u64).collect::<Vec<_>>());
        let mut sum = 0;
        for (ended, drawn) in ended.iter().zip(&drawn) {
            sum += drawn;
            assert_eq!(*ended, sum);
        }
        // All at once: each after its own time, whatever the others do.
        let (order, ended, drawn) = run(seed, JOBS);
        let mut expected: Vec<_> = drawn.iter().copied().zip(0..).collect();
        expected.sort();
        let of_jobs: Vec<_> = ended.iter().copied().zip(order).collect();
        assert_eq!(of_jobs, expected);
        // Three at a time: the next one takes the thread that is free first.
        let (order, ended, drawn) = run(seed, 3);
        let mut threads = [0; 3];
        let mut expected = Vec::new();
        for (job, drawn) in drawn.iter().enumerate() {
            threads.sort();
            threads[0] += drawn;
            expected.push((threads[0], job as u64));
        }
        expected.sort();
        let of_jobs: Vec<_> = ended.iter().copied().zip(order).collect();
        assert_eq!(of_jobs, expected);
    }
    assert_eq!(run(7, 3), run(7, 3));
}

// SIM45
#[test]
fn tasks_run_while_jobs_do() {
    let mut limits = HostLimits::default();
    limits.blocking_threads = 64;
    let world = Sim::builder().client("busy", || async {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..64 {
            let sender = sender.clone();
            host::spawn_blocking(Box::new(move || {
                sender.send(host::now()).expect("the client listens");
            }));
        }
        let mut ticks = 0;
        while receiver.try_iter().next().is_none() {
            ticks += 1;
            Sleep::new(host::now() + 1_000).await;
        }
        assert!(ticks > 0);
        Sleep::new(host::now() + 10_000_000).await;
        // All 64 within the time of one: they overlapped.
        assert_eq!(receiver.try_iter().count(), 63);
    });
    world.limits("busy", limits).run().expect("all end");
}

// SIM45
#[test]
fn a_parked_job_ends_the_process_with_the_line_that_replays_it() {
    let parked = || {
        Sim::builder()
            .seed(31)
            .watchdog(Duration::from_millis(500))
            .client("parked", || async {
                let (sender, receiver) = mpsc::channel::<()>();
                // A job that ends is no matter.
                host::spawn_blocking(Box::new(|| {}));
                Sleep::new(host::now() + 10_000_000).await;
                host::spawn_blocking(Box::new(move || {
                    // The sender is dropped by a task that cannot run meanwhile.
                    let _ = receiver.recv();
                }));
                Sleep::new(host::now() + 20_000_000).await;
                drop(sender);
            })
    };
    if std::env::var(CHILD).is_ok() {
        let _ = parked().run();
        return;
    }
    let output = Command::new(std::env::current_exe().expect("this test's binary"))
        .args(["--exact", "--nocapture"])
        .arg("a_parked_job_ends_the_process_with_the_line_that_replays_it")
        .env(CHILD, "1")
        .output()
        .expect("the binary runs again");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(101), "{text}");
    assert!(text.contains("parked job"), "{text}");
    assert!(text.contains("tests/blocking.rs:"), "{text}");
    assert!(text.contains("replay: the same again # seed 31 "), "{text}");
}

/// Waits for a message that nobody sends.
fn park() {
    let (_sender, receiver) = mpsc::channel::<()>();
    let _ = receiver.recv();
}

/// Parks where it is dropped.
struct Parks;

impl Drop for Parks {
    fn drop(&mut self) {
        park();
    }
}

/// What parks, as the report calls it; in a world of the seed 37 alone.
fn parking(what: &str) -> Builder {
    let world = Sim::builder().watchdog(Duration::from_millis(500));
    match what {
        "poll" => world.client("c", || async {
            Sleep::new(host::now() + 1).await;
            park();
        }),
        "destructor" => world.client("c", || async {
            host::spawn(async {
                let _parks = Parks;
                Sleep::new(Sleep::NEVER).await;
            });
            Sleep::new(host::now() + 1).await;
        }),
        "act" => world
            .client("c", || Sleep::new(10))
            .at(Duration::from_nanos(5), |_| park()),
        "condition" => world.client("c", || async {
            eventually!("parks", Duration::from_secs(1), || {
                park();
                true
            });
        }),
        _ => panic!("nothing parks in {what}"),
    }
}

// SIM45
#[test]
fn whatever_parks_the_thread_ends_the_process_with_the_seed() {
    if let Ok(what) = std::env::var(CHILD) {
        let honest = || Sim::builder().client("c", || Sleep::new(1));
        let run = Sim::seeds(0..60).jobs(2).run(|seed| match seed {
            37 => parking(&what),
            _ => honest(),
        });
        panic!("it is told instead: {run:?}");
    }
    let cases = [
        ("poll", "parked task: a poll of the task c/1 runs"),
        ("destructor", "parked destructor: a destructor of c runs"),
        ("act", "parked act: an act of the script runs"),
        (
            "condition",
            "parked condition: the condition of an eventually! runs",
        ),
    ];
    let children = cases.map(|(what, told)| {
        let child = Command::new(std::env::current_exe().expect("this test's binary"))
            .args(["--exact", "--nocapture"])
            .arg("whatever_parks_the_thread_ends_the_process_with_the_seed")
            .env(CHILD, what)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        (child.expect("the binary runs again"), told)
    });
    for (child, told) in children {
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(101), "{text}");
        assert!(text.contains("failed under seed 37"), "{text}");
        assert!(text.contains(told), "{text} for {told}");
        assert!(
            text.contains("replay: the same with `Sim::seeds(37..38)`"),
            "{text}"
        );
    }
}
