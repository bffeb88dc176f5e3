//! Scenarios that run in the simulator under any seed: `cargo xtask sim NAME --seed 7`.

mod calls;
mod echo;
mod store;

use bowline::sim::{Builder, Failure, Report};

/// A world that can be built for any seed.
#[derive(Copy, Clone, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens in it, in a sentence.
    pub about: &'static str,
    world: fn() -> Builder,
}

/// Every scenario.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "echo",
        about: "two clients talk to an echo server over TCP, short reads and all",
        world: echo::world,
    },
    Scenario {
        name: "calls",
        about: "two callers and an executor: replies, a typed error, a timeout, an unknown method",
        world: calls::world,
    },
    Scenario {
        name: "store",
        about: "two clients of a store over datagrams that come late or never and are sent again",
        world: store::world,
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

    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// The failure of the run, which prints the line that replays it.
    pub fn run(self, seed: u64) -> Result<Report, Failure> {
        self.builder(seed).run()
    }
}
