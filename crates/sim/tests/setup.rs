//! Worlds that make no sense say so, and name the cause.

use bowline_sim::host::Signal;
use bowline_sim::net::{UdpOptions, UdpSocket};
use bowline_sim::{
    Builder, Crash, FailureKind, HostLimits, Latency, Link, SetupError, Sim, World, host,
};
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
        assert_eq!(failure.seed(), 9);
    }
    let error = world().link("a", "c", lan()).check();
    let Err(SetupError::UnknownHost { name, hosts, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        (name.as_str(), hosts),
        ("c", vec!["a".to_owned(), "b".to_owned()])
    );
    let many = (0..25).fold(Sim::builder(), |world, index| {
        world.client(&format!("c{index}"), || host::Sleep::new(1))
    });
    let error = many.limits("c25", HostLimits::default()).check();
    let told = error.expect_err("it is not there").to_string();
    assert!(told.ends_with("\"c19\" and 5 more"), "{told}");
}

// SIM63
#[test]
fn an_impossible_act_fails_the_run_where_it_happens() {
    type Act = fn(&mut World);
    let acts: [(Act, &str); 21] = [
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
            |world| world.flap("a", "b", Duration::ZERO, Duration::ZERO),
            "the time up and down of flapping between \"a\" and \"b\" is empty or out of range",
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
        (
            |world| world.crash("x", Crash::Kill),
            "a crash names the host \"x\", which does not exist: there is \"a\", \"b\"",
        ),
        (
            |world| world.crash("x", Crash::PowerLoss),
            "a crash names the host \"x\"",
        ),
        (|world| world.restart("x"), "a restart names the host \"x\""),
        (|world| world.pause("x"), "a pause names the host \"x\""),
        (
            |world| world.resume("x"),
            "a resumption names the host \"x\"",
        ),
        (
            |world| world.signal("x", Signal::Terminate),
            "a signal names the host \"x\"",
        ),
        (|world| world.slow("x", 2), "slowness names the host \"x\""),
        (
            |world| world.stall_blocking("x", ms(1)),
            "a stall names the host \"x\"",
        ),
        (
            |world| world.set_wall_clock("x", ms(1)),
            "a wall clock names the host \"x\"",
        ),
        (
            |world| world.set_clock_drift("x", 1),
            "a clock drift names the host \"x\"",
        ),
        (
            |world| world.set_clock_drift("a", -1_000_000),
            "the clock drift of the host \"a\", -1000000 parts per million, is empty or out of range",
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

// SIM63
#[test]
fn options_that_contradict_each_other_are_refused() {
    let seconds = Duration::from_secs;
    let idle = || host::Sleep::new(SECOND);
    let possible = world().horizon(seconds(20)).heal_at(seconds(20));
    assert_eq!(possible.at(seconds(20), World::heal).check(), Ok(()));
    let few = HostLimits::default();
    let cases = [
        (world().client("a", idle), "there are two hosts named \"a\""),
        (world().host("b", idle), "there are two hosts named \"b\""),
        (
            world().host_must_not_fail("c"),
            "host_must_not_fail names the host \"c\", which does not exist: there is \"a\", \"b\"",
        ),
        (
            world().limits("c", few),
            "a limit names the host \"c\", which does not exist: there is \"a\", \"b\"",
        ),
        // What is named has to be there before.
        (
            world().limits("c", few).host("c", idle),
            "a limit names the host \"c\", which does not exist: there is \"a\", \"b\"",
        ),
        (
            Sim::builder().limits("c", few).client("c", idle),
            "a limit names the host \"c\", which does not exist: no host was added",
        ),
        (
            world().clock_drift("c", 1),
            "a clock drift names the host \"c\", which does not exist: there is \"a\", \"b\"",
        ),
        (
            world().clock_drift("a", -2_000_000),
            "the clock drift of the host \"a\", -2000000 parts per million, is empty or out of range",
        ),
        (
            world().horizon(seconds(20)).heal_at(seconds(30)),
            "the heal at 30s and the horizon at 20s contradict each other",
        ),
        (
            world().at(seconds(21), World::heal).horizon(seconds(20)),
            "an act of the script at 21s and the horizon at 20s contradict each other",
        ),
        (
            world().at(seconds(14_401), World::heal),
            "an act of the script at 14401s and the horizon at 14400s contradict each other",
        ),
        (
            world().livelock_after(0),
            "the livelock_after is empty or out of range",
        ),
        (
            world().watchdog(Duration::ZERO),
            "the watchdog is empty or out of range",
        ),
    ];
    for (world, cause) in cases {
        let error = world.check().expect_err("it makes no sense");
        assert_eq!(error.to_string(), cause);
        let failure = world.seed(9).run().expect_err("it makes no sense");
        assert_eq!(*failure.kind(), FailureKind::Setup);
        assert_eq!(failure.message(), cause);
    }
}

#[test]
fn statistics_of_an_unknown_host_are_an_error_and_no_failure() {
    let mut driven = Sim::builder()
        .client("a", || async {
            host::spawn(host::Sleep::new(2 * SECOND));
            host::spawn_blocking(Box::new(|| ()));
            let any = ([0, 0, 0, 0], 53).into();
            let socket = UdpSocket::bind(any, UdpOptions::default());
            host::Sleep::new(2 * SECOND).await;
            drop(socket);
        })
        .client("b", || host::Sleep::new(3 * SECOND))
        .build();
    let Err(SetupError::UnknownHost { name, .. }) = driven.stats("x") else {
        panic!("there is no such host");
    };
    assert_eq!(name, "x");
    driven.run_for(ms(1)).expect("it runs");
    driven.pause("b");
    let stats = driven.stats("a").expect("it is there");
    assert!(stats.running && !stats.paused);
    assert_eq!((stats.tasks, stats.timers, stats.sockets), (2, 2, 1));
    assert!(stats.jobs <= 1 && stats.ended == 0);
    assert!(driven.stats("b").expect("it is there").paused);
    driven.resume("b");
    driven.run_for(Duration::from_secs(2)).expect("it runs");
    let stats = driven.stats("a").expect("it is still known");
    assert!(!stats.running && stats.ended == 1);
    let left = (stats.tasks, stats.timers, stats.sockets, stats.jobs);
    assert_eq!(left, (0, 0, 0, 0));
    driven.finish().expect("it ends");
}

#[test]
#[should_panic(expected = "a link names the host \"c\", which does not exist")]
fn building_it_by_hand_panics_with_the_cause() {
    world().link("a", "c", Link::lan()).build();
}
