//! Worlds that make no sense say so, and name the cause.

use bowline_sim::{Builder, FailureKind, Latency, Link, SetupError, Sim, World, host};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

fn world() -> Builder {
    let idle = || host::Sleep::new(10 * SECOND);
    Sim::builder().client("a", idle).client("b", idle)
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

// SIM63
#[test]
fn an_impossible_world_is_refused_with_its_cause() {
    let lan = Link::lan;
    let possible = lan().loss(0.0).duplication(1.0).mtu(68);
    assert_eq!(world().link("a", "b", possible).check(), Ok(()));
    let cases = [
        (world().link("a", "c", lan()), "\"c\", which does not exist"),
        (world().link("a", "a", lan()), "\"a\" to itself"),
        (
            world().link("a", "b", lan().loss(1.5)),
            "loss of the link from \"a\" to \"b\" is 1.5",
        ),
        (world().link("a", "b", lan().loss(-0.1)), "is -0.1"),
        (
            world().link("a", "b", lan().duplication(f64::NAN)),
            "duplication of the link",
        ),
        (
            world().link("a", "b", lan().reordering(2.0, ms(1))),
            "reordering of the link",
        ),
        (
            world().link("a", "b", lan().loss_bursts(0.1, 7.0, 0.1)),
            "end of loss bursts",
        ),
        (
            world().link("b", "a", lan().latency(ms(2)..ms(2))),
            "latency of the link",
        ),
        (
            world().link("b", "a", lan().latency(ms(0)..ms(0))),
            "latency of the link",
        ),
        (
            world().link(
                "b",
                "a",
                lan().latency(Latency::two_peak(ms(1)..ms(2), ms(3)..ms(4), 9.0)),
            ),
            "latency of the link from \"b\"",
        ),
        (
            world().link("b", "a", lan().bandwidth(0)),
            "bandwidth of the link",
        ),
        (world().link("b", "a", lan().mtu(67)), "mtu of the link"),
        (
            world().default_link(lan().loss(3.0)),
            "loss of the default link is 3",
        ),
    ];
    for (world, cause) in cases {
        let error = world.check().expect_err("it makes no sense");
        assert!(error.to_string().contains(cause), "{error} for {cause}");
        let failure = world.seed(9).run().expect_err("it makes no sense");
        assert_eq!(*failure.kind(), FailureKind::Setup);
        assert_eq!(failure.message(), error.to_string());
        assert!(
            failure.to_string().contains("BOWLINE_SIM_SEED=9"),
            "{failure}"
        );
    }
    let error = world().link("a", "c", lan()).check();
    let Err(SetupError::UnknownHost { name, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(name, "c");
}

// SIM63
#[test]
fn an_impossible_act_fails_the_run_where_it_happens() {
    type Act = fn(&mut World);
    let acts: [(Act, &str); 9] = [
        (
            |world| world.partition(&["a"], &["x"]),
            "a partition names the host \"x\"",
        ),
        (
            |world| world.partition_one_way(&["x"], &["a"]),
            "a partition names the host \"x\"",
        ),
        (
            |world| world.isolate("x"),
            "an isolation names the host \"x\"",
        ),
        (|world| world.hold(&["a"], &["a"]), "\"a\" to itself"),
        (
            |world| world.clog("b", "b", Duration::ZERO),
            "\"b\" to itself",
        ),
        (
            |world| world.flap("a", "x", ms(1), ms(1)),
            "flapping names the host \"x\"",
        ),
        (
            |world| world.set_link("a", "b", Link::lan().loss(2.0)),
            "is 2, which is no probability",
        ),
        (
            |world| world.set_link("a", "a", Link::lan()),
            "\"a\" to itself",
        ),
        (
            |world| world.forget_flows("a", "x"),
            "forgetting names the host \"x\"",
        ),
    ];
    for (act, cause) in acts {
        let failure = world().at(Duration::from_secs(1), act).run();
        let failure = failure.expect_err("it makes no sense");
        assert_eq!(*failure.kind(), FailureKind::Setup);
        assert!(failure.message().contains(cause), "{failure} for {cause}");
        assert_eq!(failure.virtual_time(), Duration::from_secs(1));
        // By hand as well.
        let mut driven = world().build();
        driven.run_for(ms(1)).expect("nothing happened yet");
        act(&mut driven);
        let failure = driven.run_for(ms(1)).expect_err("it makes no sense");
        assert!(failure.message().contains(cause), "{failure} for {cause}");
    }
}

// SIM63
#[test]
fn a_script_in_the_past_is_refused() {
    let second = Duration::from_secs;
    let mut driven = world().build();
    driven.at(second(2), |world| world.isolate("a"));
    driven.run_for(second(3)).expect("it is isolated");
    let isolated = driven.trace().into_iter().map(|line| line.event().time());
    assert!(isolated.into_iter().any(|time| time == 2 * SECOND));
    driven.at(second(3), World::heal);
    driven.run_for(second(1)).expect("just in time");
    driven.at(second(1), World::heal);
    let failure = driven.run_for(second(1)).expect_err("it is over");
    assert_eq!(*failure.kind(), FailureKind::Setup);
    let cause = "something is to happen at 1s, but the world is 4s old";
    assert_eq!(failure.message(), cause);
    // A script may add to itself, and hears the same.
    let late = world().at(second(5), |world| {
        world.at(Duration::from_secs(6), World::heal);
        world.at(Duration::from_secs(4), World::heal);
    });
    let failure = late.run().expect_err("it is over");
    assert!(failure.message().contains("4s"), "{failure}");
}

#[test]
#[should_panic(expected = "a link names the host \"c\", which does not exist")]
fn building_it_by_hand_panics_with_the_cause() {
    world().link("a", "c", Link::lan()).build();
}
