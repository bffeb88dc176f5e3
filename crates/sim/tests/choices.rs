//! Lists of choices: kept as text, run again, cut short, and hashes kept along the way.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::{Builder, Choices, FailureKind, Sim, always, host};

/// Fails where the dice say so, after some choices of the world.
fn gambler() -> Builder {
    Sim::builder().scenario("gambler").client("c", || async {
        for _ in 0..5 {
            host::yield_now().await;
        }
        let rolled = Sim::choose("two\nlines \\ and a dice", 0..100);
        Sim::note("rolled", rolled);
        always!("luck", rolled != 42, "rolled {rolled}");
    })
}

// SIM5
#[test]
fn a_list_is_the_same_after_it_was_text() {
    let recorded = echo::world(11).record_choices(1_000_000).run();
    let recorded = recorded.expect("the world runs");
    let text = recorded.choices().to_string();
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    let read: Choices = text.parse().expect("a list");
    assert_eq!(read, *recorded.choices());
    assert!(read.is_complete());
    let replayed = echo::world(99).replay(read).run().expect("it runs");
    assert_eq!(replayed.trace_hash, recorded.trace_hash);

    let cut = recorded.choices().clone().truncated(10);
    assert!(!cut.is_complete());
    let read: Choices = cut.to_string().parse().expect("a list");
    assert_eq!(read, cut);
    let tame: Choices = Choices::default().to_string().parse().expect("a list");
    assert_eq!(tame, Choices::default());
}

// SIM5, SIM80
#[test]
fn a_failing_run_is_repeated_from_its_list() {
    let run = |seed| gambler().seed(seed).record_choices(10_000).run();
    let failure = (0..1000).find_map(|seed| run(seed).err());
    let failure = failure.expect("one of 1000 rolls 42");
    let text = failure.choices().to_string();
    let list: Choices = text.parse().expect("a list");
    let again = gambler().seed(12345).replay(list).run();
    let again = again.expect_err("it fails again");
    assert_eq!(*again.kind(), FailureKind::Assertion("luck"));
    assert_eq!(again.event_index(), failure.event_index());
    assert_eq!(again.virtual_time(), failure.virtual_time());
    // The seed would not repeat it, so the line does not name it.
    let line = again.replay_line();
    assert!(
        line.starts_with("cargo xtask sim gambler --replay FILE --until"),
        "{line}"
    );

    // The list is stronger than changes around it: one more choice of another kind.
    let changed = Sim::builder()
        .client("c", || async {
            Sim::choose("something new", 0..1000);
            let rolled = Sim::choose("two\nlines \\ and a dice", 0..100);
            always!("luck", rolled != 42);
        })
        .replay(text.parse().expect("a list"));
    assert!(changed.run().is_err());
}

// SIM5
#[test]
fn what_is_no_list_is_refused_with_its_line() {
    let list = gambler()
        .record_choices(100)
        .run()
        .expect("seed 0 has luck");
    let good = list.choices().to_string();
    let refused = |text: String| {
        let error = text.parse::<Choices>().expect_err("no list");
        assert!(
            error
                .to_string()
                .contains(&format!("line {}", error.line()))
        );
        (error.line(), error.to_string())
    };
    assert_eq!(refused(String::new()).0, 1);
    assert_eq!(refused("a letter".to_owned()).0, 1);
    let lines = good.lines().count();
    let shorter = good.lines().take(lines - 1).collect::<Vec<_>>().join("\n");
    let (line, text) = refused(shorter);
    assert_eq!(line, lines);
    assert!(text.contains("no end"), "{text}");
    let (line, text) = refused(format!("{good}\nand more"));
    assert_eq!(line, lines + 1);
    assert!(text.contains("goes on"), "{text}");
    let with = |line: &str| format!("bowline-sim choices 1\n{line}\ncut");
    for bad in [
        "stream 1 world next task",
        "stream 0 moon next task",
        "stream 0 host x poll cost",
        "stream 0 world half an \\escape",
        "stream 0",
        "0 1/3",
        "1/3",
        "-1",
    ] {
        assert_eq!(refused(with(bad)).0, 2, "{bad}");
    }
    for bad in ["0 3/3", "0 1/", "0 x/3", "0 1/3/5", "1 1/3"] {
        assert_eq!(
            refused(with(&format!("stream 0 world a\n{bad}"))).0,
            3,
            "{bad}"
        );
    }
    assert!(with("stream 0 world a\n0 2/3\n").parse::<Choices>().is_ok());
}

// SIM1
#[test]
fn checkpoints_say_where_two_runs_part() {
    let run = |seed| {
        let world = echo::world(seed).checkpoint_every(10);
        world.run().expect("it goes well")
    };
    let (one, again, other) = (run(3), run(3), run(4));
    assert_eq!(one.checkpoints().len() as u64, one.events / 10);
    assert_eq!(one.checkpoints(), again.checkpoints());
    assert_eq!(
        one.trace_hash,
        echo::world(3).run().expect("well").trace_hash
    );
    let both = one.checkpoints().iter().zip(other.checkpoints());
    let equal: Vec<bool> = both.map(|(a, b)| a == b).collect();
    // Once apart, apart for good: so the first that differs can be searched for by halves.
    assert!(equal.windows(2).all(|pair| pair[0] || !pair[1]));
    assert!(!equal[equal.len() - 1]);
    assert!(echo::world(3).run().expect("well").checkpoints().is_empty());
}
