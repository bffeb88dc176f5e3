//! Many seeds: what is reported of them, and what they prove together.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::{Builder, FailureKind, Sim, always, host, sometimes};
use std::sync::Mutex;
use std::time::Duration;

/// Fails under about every eighth seed, in one of three ways.
fn fragile(_: u64) -> Builder {
    Sim::builder().scenario("fragile").client("c", || async {
        for _ in 0..Sim::choose("pause", 0..4) {
            host::yield_now().await;
        }
        match Sim::choose("fate", 0..24) {
            1 => always!("never one", false, "it is one"),
            2 => return Err("two"),
            3 => std::future::pending().await,
            _ => {}
        }
        Ok(())
    })
}

// SIM83
#[test]
fn the_lowest_failing_seed_is_the_same_for_any_jobs() {
    let failures: Vec<u64> = (0..300)
        .filter(|seed| fragile(*seed).seed(*seed).run().is_err())
        .collect();
    assert!(failures.len() > 10 && failures[0] > 0, "{failures:?}");
    let mut texts = Vec::new();
    for jobs in [1, 2, 3, 8, 64] {
        let failure = Sim::seeds(0..300).jobs(jobs).run(fragile);
        let failure = failure.expect_err("some seeds fail");
        let lowest = failure.lowest().expect("a run failed");
        assert_eq!(lowest.seed(), failures[0], "with {jobs} jobs");
        assert_eq!(
            failure.kinds().values().sum::<u64>(),
            failures.len() as u64,
            "with {jobs} jobs"
        );
        let assertion = FailureKind::Assertion("never one");
        assert!(failure.kinds()[&assertion] > 0);
        assert!(failure.kinds()[&FailureKind::Deadlock] > 0);
        assert!(failure.kinds()[&FailureKind::ClientError] > 0);
        assert!(failure.to_string().ends_with(&lowest.replay_line()));
        texts.push(failure.to_string());

        let fast = Sim::seeds(0..300).jobs(jobs).fail_fast().run(fragile);
        let fast = fast.expect_err("some seeds fail");
        assert_eq!(fast.lowest().map(|lowest| lowest.seed()), Some(failures[0]));
        assert_eq!(fast.seeds(), 0..failures[0] + 1);
        assert_eq!(fast.kinds().values().sum::<u64>(), 1);
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
}

// SIM83
#[test]
fn a_report_is_the_same_for_any_jobs_and_each_seed_counts() {
    let run = |seeds, jobs| Sim::seeds(seeds).jobs(jobs).run(echo::world);
    let one = run(0..60, 1).expect("all go well");
    assert_eq!(one.seeds, 60);
    assert_eq!(run(0..60, 2).expect("all go well"), one);
    assert_eq!(run(0..60, 7).expect("all go well"), one);
    let others = run(1..61, 2).expect("all go well");
    assert_ne!(others.trace_hash, one.trace_hash);
    // The same traces under other seeds are something else.
    let swapped = Sim::seeds(0..60).run(|seed| {
        let choices = echo::world(seed ^ 1).record_choices(100_000).run();
        let choices = choices.expect("all go well").choices().clone();
        echo::world(seed).replay(choices)
    });
    let swapped = swapped.expect("all go well");
    assert_eq!(swapped.events, one.events);
    assert_ne!(swapped.trace_hash, one.trace_hash);
}

// SIM83
#[test]
fn every_seed_runs_once_and_none_after_a_failure_was_asked_to_end_it() {
    let begun = Mutex::new(Vec::new());
    let world = |seed| {
        begun.lock().expect("not poisoned").push(seed);
        fragile(seed)
    };
    let _ = Sim::seeds(5..105).jobs(4).run(world);
    let mut all = std::mem::take(&mut *begun.lock().expect("not poisoned"));
    all.sort_unstable();
    assert_eq!(all, (5..105).collect::<Vec<_>>());

    for jobs in [1, 4] {
        let failure = Sim::seeds(0..1_000_000).jobs(jobs).fail_fast().run(world);
        let lowest = failure.expect_err("some fail").lowest().map(|f| f.seed());
        let mut all = std::mem::take(&mut *begun.lock().expect("not poisoned"));
        all.sort_unstable();
        // In their order, none twice; what other threads begin before they are told is theirs.
        assert_eq!(all, (0..all.len() as u64).collect::<Vec<_>>());
        let lowest = lowest.expect("one failed") as usize;
        assert!(all.len() < 1_000_000 && all.len() > lowest);
        assert!(jobs > 1 || all.len() == lowest + 1);
    }
}

#[test]
fn a_range_without_a_seed_is_a_failure() {
    for (first, end) in [(0, 0), (7, 7), (5, 3), (u64::MAX, u64::MAX)] {
        let failed = Sim::seeds(first..end).run(|seed| panic!("{seed} is in no range"));
        let failure = failed.expect_err("nothing was proved");
        let cause = format!("the range of seeds {first}..{end} is empty, so nothing runs");
        assert_eq!(failure.to_string(), format!("simulation failed: {cause}"));
        let lowest = failure.lowest().expect("it is told");
        assert_eq!(
            (lowest.kind(), lowest.message()),
            (&FailureKind::Setup, &*cause)
        );
        assert_eq!(failure.kinds()[&FailureKind::Setup], 1);
        assert!(failure.seeds().is_empty());
    }
}

#[test]
fn no_seed_is_begun_when_the_time_is_over() {
    let none = Sim::seeds(3..1_000_000_000)
        .within(Duration::ZERO)
        .run(echo::world);
    assert_eq!(none.expect("nothing ran").seeds, 0);
}

// SIM83
#[test]
fn an_impossible_world_is_a_failure_of_its_seed() {
    let nobody = |seed| match seed % 4 {
        3 => echo::world(0).link("a", "nobody", bowline_sim::Link::lan()),
        _ => echo::world(0),
    };
    let panics = |seed| match seed % 4 {
        3 => panic!("nobody describes seed {seed}"),
        _ => echo::world(0),
    };
    let impossible: [&(dyn Fn(u64) -> Builder + Sync); 2] = [&nobody, &panics];
    for world in impossible {
        let failure = Sim::seeds(0..12).jobs(2).run(world);
        let failure = failure.expect_err("every fourth makes no sense");
        assert_eq!(failure.seeds(), 0..12);
        assert_eq!(failure.kinds()[&FailureKind::Setup], 3);
        let lowest = failure.lowest().expect("the lowest");
        assert_eq!(lowest.seed(), 3);
        assert!(lowest.message().contains("nobody"), "{lowest}");
        assert!(failure.to_string().contains("seed 3"), "{failure}");
    }
}

// SIM81
#[test]
fn a_sometimes_that_is_never_true_fails_the_set() {
    let world = |_| {
        Sim::builder().client("c", || async {
            sometimes!("true once", Sim::choose("dice", 0..60) == 7);
            sometimes!("never true", Sim::choose("dice", 0..6) == 6);
        })
    };
    for jobs in [1, 3] {
        let failure = Sim::seeds(0..400).jobs(jobs).run(world);
        let failure = failure.expect_err("one is never true");
        assert_eq!(failure.never_true(), ["never true"]);
        assert!(failure.lowest().is_none() && failure.kinds().is_empty());
        let text = failure.to_string();
        assert!(text.contains(r#"sometimes "never true""#), "{text}");
        assert!(text.contains("0..400"), "{text}");
    }
}

// SIM81
#[test]
fn a_sometimes_that_is_true_once_passes() {
    let world = |_| {
        Sim::builder().client("c", || async {
            sometimes!("rare", Sim::choose("dice", 0..60) == 7);
        })
    };
    let of = |seed: u64| {
        world(seed)
            .seed(seed)
            .run()
            .expect("it goes well")
            .sometimes["rare"]
    };
    let first = (0..400).find(|seed| of(*seed)).expect("one of 400");
    assert!(first > 0, "another number tests more");
    let report = Sim::seeds(0..first + 1).run(world).expect("true once");
    assert!(report.sometimes["rare"]);
    let failure = Sim::seeds(0..first).run(world).expect_err("not yet");
    assert_eq!(failure.never_true(), ["rare"]);
    // A run in which it is true counts also if it fails; what is told then is the failure.
    let failing = |seed| {
        let world = move || async move {
            sometimes!("rare", seed == 2);
            if seed == 2 { Err("no luck") } else { Ok(()) }
        };
        Sim::builder().client("c", world)
    };
    let failure = Sim::seeds(0..5).run(failing).expect_err("one fails");
    assert_eq!(failure.lowest().map(|failure| failure.seed()), Some(2));
    assert!(failure.never_true().is_empty());
}

// SIM81
#[test]
fn a_sometimes_that_is_not_reached_fails_if_it_is_expected() {
    let world = |_| {
        Sim::builder().client("c", || async {
            if Sim::choose("dice", 0..6) == 6 {
                sometimes!("behind a wall", true);
            }
        })
    };
    assert!(Sim::seeds(0..50).run(world).is_ok());
    let expected = Sim::seeds(0..50).expect_sometimes("behind a wall");
    let failure = expected.run(world).expect_err("it is not reached");
    assert_eq!(failure.never_true(), ["behind a wall"]);
}

// SIM81, SIM83
#[test]
fn one_seed_of_the_environment_stands_for_all() {
    const CHILD: &str = "BOWLINE_SIM_TEST_CHILD";
    if std::env::var(CHILD).is_ok() {
        let begun = Mutex::new(Vec::new());
        let report = Sim::seeds(0..100).seed_from_env().run(|seed| {
            begun.lock().expect("not poisoned").push(seed);
            Sim::builder().client("c", || async { sometimes!("never", false) })
        });
        assert_eq!(report.expect("one seed proves no never").seeds, 1);
        println!("begun {:?}", begun.into_inner().expect("not poisoned"));
        return;
    }
    let name = "one_seed_of_the_environment_stands_for_all";
    // Also the last of all, which no range ends with.
    for seed in [271_828, u64::MAX] {
        let this = std::env::current_exe().expect("this test's binary");
        let output = std::process::Command::new(this)
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .env("BOWLINE_SIM_SEED", seed.to_string())
            .output()
            .expect("the binary runs again");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(text.contains(&format!("begun [{seed}]")), "{text}");
    }
}

#[test]
fn a_panic_in_an_act_of_the_script_is_told_with_its_seed() {
    let world = |seed| {
        let world = Sim::builder().seed(seed);
        let world = world.client("c", || host::Sleep::new(3_000_000_000));
        world.at(Duration::from_secs(2), move |_| {
            assert!(seed != 7, "seven is odd");
        })
    };
    let failed = Sim::seeds(0..10).run(world).expect_err("one act panics");
    let failure = failed.lowest().expect("a run failed");
    assert_eq!(*failure.kind(), FailureKind::Panic);
    assert_eq!(failure.seed(), 7);
    let message = "seven is odd in an act of the script at t=2s";
    assert_eq!(failure.message(), message);
    // Nothing in it asks for the variable, so what sets it would run the same row again.
    let line = "replay: the same with `Sim::seeds(7..8)` # fails at event ";
    assert!(failed.to_string().contains(line), "{failed}");
    let asked = Sim::seeds(0..10).seed_from_env().run(world);
    let failed = asked.expect_err("one act panics");
    let line = "replay: BOWLINE_SIM_SEED=7 cargo test # fails at event ";
    assert!(failed.to_string().contains(line), "{failed}");
}

#[test]
fn a_panic_in_what_a_run_goes_on_until_is_told_with_its_seed() {
    let mut world = Sim::builder().seed(6);
    world = world.client("c", || host::Sleep::new(1_000));
    let mut world = world.build();
    let failure = world.run_until(|_| panic!("never asked"));
    let failure = failure.expect_err("it panics");
    assert_eq!((failure.kind(), failure.seed()), (&FailureKind::Panic, 6));
    let message = "never asked in the condition of run_until";
    assert_eq!(failure.message(), message);
}
