//! Rules over whole runs, and the rules that are shipped.

use bowline_sim::checker::{AtMostOnce, Checker, Conservation, MemoryCap, OneOutcome, Violation};
use bowline_sim::host::{self, Sleep};
use bowline_sim::{Builder, EventKind, Failure, FailureKind, Keep, Report, Sim, TraceEvent};
use std::cell::RefCell;
use std::rc::Rc;

/// A client that makes these notes, one in each poll.
fn notes(list: &'static [(&'static str, u64)]) -> Builder {
    Sim::builder()
        .scenario("notes")
        .client("c", move || async move {
            for (label, value) in list {
                Sim::note(label, *value);
                host::yield_now().await;
            }
        })
}

fn broken(result: Result<Report, Failure>) -> (FailureKind, String) {
    let failure = result.expect_err("the rule is broken");
    (failure.kind().clone(), failure.message().to_owned())
}

#[derive(Default)]
struct Seen {
    events: Vec<TraceEvent>,
    ends: u32,
}

struct Recorder(Rc<RefCell<Seen>>);

impl Checker for Recorder {
    fn on_event(&mut self, event: &TraceEvent) -> Result<(), Violation> {
        self.0.borrow_mut().events.push(*event);
        Ok(())
    }

    fn at_end(&mut self) -> Result<(), Violation> {
        self.0.borrow_mut().ends += 1;
        Ok(())
    }
}

#[test]
fn a_checker_sees_every_event_in_order_and_changes_none() {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let world = notes(&[("a", 1), ("b", 2)]).host("idle", || Sleep::new(Sleep::NEVER));
    let plain = world.clone().trace(Keep::Full).run().expect("it goes well");
    let recorder = Rc::clone(&seen);
    let checked = world
        .trace(Keep::Off)
        .checker(move || Recorder(Rc::clone(&recorder)))
        .run()
        .expect("it goes well");
    assert_eq!(checked.trace_hash, plain.trace_hash);
    let seen = seen.borrow();
    let kept: Vec<_> = plain.trace().iter().map(|line| *line.event()).collect();
    assert_eq!(seen.events, kept);
    assert_eq!(seen.ends, 1);
    let exits = seen
        .events
        .iter()
        .filter(|event| event.kind() == EventKind::Exit);
    assert_eq!(
        exits.map(|event| event.values().0).collect::<Vec<_>>(),
        [0, 1]
    );
    let first = &seen.events[seen.events.len() - 1];
    assert_eq!(first.host(), Some(1));
}

struct Never(&'static str);

impl Checker for Never {
    fn on_event(&mut self, event: &TraceEvent) -> Result<(), Violation> {
        assert!(Sim::is_running());
        if event.kind() == EventKind::Note && event.label() == self.0 {
            return Err(Violation::new("never", format!("{} was noted", self.0)));
        }
        Ok(())
    }

    fn at_end(&mut self) -> Result<(), Violation> {
        match Sim::ghost(|count: &mut u32| *count) {
            0 => Ok(()),
            count => Err(Violation::new("none left", format!("{count} are left"))),
        }
    }
}

#[test]
fn a_violation_fails_the_run_at_once_and_with_its_line() {
    let world = notes(&[("a", 1), ("b", 2), ("a", 3), ("c", 4)]).checker(|| Never("b"));
    let failure = world.run().expect_err("b is noted");
    assert_eq!(*failure.kind(), FailureKind::Assertion("never"));
    assert_eq!(failure.message(), "b was noted");
    assert!(failure.replay_line().contains("sim notes --seed 0 --until"));
    // Nothing after the turn in which it happened.
    let tail = failure.tail();
    assert!(tail.iter().any(|line| line.event().label() == "b"));
    assert!(
        !tail
            .iter()
            .any(|line| matches!(line.event().values(), (3 | 4, _)))
    );
    let again = world.run().expect_err("b is noted again");
    assert_eq!(again.event_index(), failure.event_index());
}

#[test]
fn a_violation_at_the_end_fails_a_run_that_went_well() {
    let world = Sim::builder()
        .client("c", || async { Sim::ghost(|count: &mut u32| *count = 3) })
        .checker(|| Never("anything"));
    let (kind, message) = broken(world.run());
    assert_eq!(kind, FailureKind::Assertion("none left"));
    assert_eq!(message, "3 are left");
}

#[test]
fn a_checker_that_panics_fails_the_run() {
    struct Panics;
    impl Checker for Panics {
        fn on_event(&mut self, _: &TraceEvent) -> Result<(), Violation> {
            panic!("a bug in the rule")
        }
    }
    let (kind, message) = broken(notes(&[]).checker(|| Panics).run());
    assert_eq!(kind, FailureKind::Panic);
    assert!(message.contains("a bug in the rule"), "{message}");
}

#[test]
fn at_most_once_refuses_what_happens_twice() {
    let rule = || AtMostOnce::of("did");
    assert!(
        notes(&[("did", 1), ("other", 1), ("did", 2)])
            .checker(rule)
            .run()
            .is_ok()
    );
    let (kind, message) = broken(
        notes(&[("did", 1), ("did", 2), ("did", 1)])
            .checker(rule)
            .run(),
    );
    assert_eq!(kind, FailureKind::Assertion("at most once"));
    assert!(message.contains(r#""did" 1 happened"#), "{message}");
    // One world after another: each has its own.
    let world = notes(&[("did", 1)]).checker(rule);
    assert!(world.run().is_ok() && world.run().is_ok());
}

#[test]
fn one_outcome_refuses_two_none_and_one_of_nothing() {
    let rule = || OneOutcome::of("call", "outcome");
    let run = |list| notes(list).checker(rule).run();
    assert!(run(&[("call", 1), ("call", 2), ("outcome", 2), ("outcome", 1)]).is_ok());
    let cases: [(&'static [_], &str); 5] = [
        (
            &[("call", 1), ("outcome", 1), ("outcome", 1)],
            "a second outcome",
        ),
        (&[("outcome", 1)], "never began"),
        (&[("call", 1), ("call", 1)], "began again"),
        (&[("call", 1), ("outcome", 1), ("call", 1)], "began again"),
        (&[("call", 1), ("call", 2), ("outcome", 2)], "has none"),
    ];
    for (list, why) in cases {
        let (kind, message) = broken(run(list));
        assert_eq!(kind, FailureKind::Assertion("one outcome"), "{list:?}");
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn conservation_refuses_more_out_than_in_and_less_at_the_end() {
    let rule = || Conservation::of("in", "out");
    let run = |list| notes(list).checker(rule).run();
    assert!(
        run(&[
            ("in", 5),
            ("out", 2),
            ("in", u64::MAX),
            ("out", u64::MAX),
            ("out", 3)
        ])
        .is_ok()
    );
    let (kind, message) = broken(run(&[("in", 5), ("out", 6), ("in", 1)]));
    assert_eq!(kind, FailureKind::Assertion("conservation"));
    assert!(message.contains("at event"), "{message}");
    let (_, message) = broken(run(&[("in", 5), ("out", 4)]));
    assert_eq!(message, r#"at the end: 5 "in", 4 "out""#);
}

#[test]
fn memory_caps_bound_tasks_notes_and_buffers() {
    let tasks = |count: u32, most: usize| {
        Sim::builder()
            .client("c", move || async move {
                for _ in 0..count {
                    host::spawn(Sleep::new(1_000_000));
                }
                Sleep::new(2_000_000).await;
            })
            .checker(move || MemoryCap::new().tasks(most))
            .run()
    };
    assert!(tasks(9, 10).is_ok());
    let (kind, message) = broken(tasks(10, 10));
    assert_eq!(kind, FailureKind::Assertion("memory cap"));
    assert!(message.contains("tasks is 11"), "{message}");

    let noted = |most| {
        notes(&[("queue", 7), ("other", 9)])
            .checker(move || MemoryCap::new().noted("queue", most))
            .run()
    };
    assert!(noted(7).is_ok());
    assert!(broken(noted(6)).1.contains(r#""queue" is 7"#));

    let buffered = |most: usize| {
        Sim::builder()
            .client("c", || async {
                let (one, _other) = bowline_sim::net::UnixStream::pair()?;
                std::future::poll_fn(|cx| one.poll_write(cx, &[0; 1000])).await?;
                host::yield_now().await;
                Ok::<(), std::io::Error>(())
            })
            .checker(move || MemoryCap::new().buffered(most))
            .replay(bowline_sim::Choices::default())
            .run()
    };
    assert!(buffered(1000).is_ok());
    assert!(broken(buffered(999)).1.contains("buffered bytes is 1000"));
}
