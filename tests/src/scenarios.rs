//! Scenarios that run in the simulator under any seed: `cargo xtask sim NAME --seed 7`.

mod calls;
mod echo;
mod relay;
mod store;

use std::time::Duration;

use bowline::sim::{Builder, Failure, Report, Seeds};

/// When all faults end.
const HEAL: Duration = Duration::from_secs(30);
/// How long clients may take then: who waited for long waits for longer the next time.
const SETTLE: Duration = Duration::from_secs(300);
/// A client went on after its connection had failed.
const RECONNECTED: &str = "reconnected";

/// How long a client waits for an answer after so many waits in vain: longer and longer, as buffers
/// may be a byte and links slow, and the answer has to come at last.
fn patience(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(6))
}

/// A world that can be built for any seed.
#[derive(Copy, Clone, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens in it, in a sentence.
    pub about: &'static str,
    world: fn() -> Builder,
    /// What has to be true under one of many seeds: faults do reach it.
    sometimes: &'static [&'static str],
}

/// Every scenario.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "echo",
        about: "two clients talk to an echo server over TCP, and connect again whatever befalls them",
        world: echo::world,
        sometimes: &[RECONNECTED, "ended"],
    },
    Scenario {
        name: "calls",
        about: "two callers and an executor: replies, a typed error, a timeout, an unknown method",
        world: calls::world,
        sometimes: &[RECONNECTED, "outran its deadline"],
    },
    Scenario {
        name: "relay",
        about: "callers, a router, two workers, strangers; retries, keys, items both ways, notifications: how far a call got is what it is told, over hops",
        world: relay::world,
        sometimes: &[
            RECONNECTED,
            "gave up",
            "lost after it ran",
            "lost before it ran",
            "read slowly",
            "had to begin a stream again",
            "gave a stream up",
            "every notice came",
            "ran again",
            "got its answer over the next connection",
            "two had one answer",
            "ran after one that was cut off",
            "strangers were told",
        ],
    },
    Scenario {
        name: "store",
        about: "two clients of a store over datagrams that come late or never and are sent again",
        world: store::world,
        sometimes: &["asked again"],
    },
];

impl Scenario {
    /// The scenario called `name`.
    pub fn named(name: &str) -> Option<Scenario> {
        ALL.iter().find(|scenario| scenario.name == name).copied()
    }

    /// Its world for `seed`.
    pub fn builder(self, seed: u64) -> Builder {
        (self.world)().scenario(self.name).seed(seed)
    }

    /// The row of seeds with what has to be true under one of them.
    pub fn under(self, seeds: Seeds) -> Seeds {
        let expected = self.sometimes.iter();
        expected.fold(seeds, |seeds, id| seeds.expect_sometimes(id))
    }

    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// The failure of the run, which prints the line that replays it.
    pub fn run(self, seed: u64) -> Result<Report, Failure> {
        self.builder(seed).run()
    }
}
