//! Describing a world: its options here, its hosts and how it is made below.

mod build;
mod config;
mod hosts;

pub(crate) use config::Config;
pub use hosts::HostOutcome;

use crate::World;
use crate::checker::Checker;
use crate::choices::Choices;
use crate::faults::Faults;
use crate::link::{Link, nanos};
use crate::names::{Answer, Names};
use crate::replay::{SEED_VARIABLE, SeedOf};
use crate::script::Act;
use crate::setup::SetupError;
use crate::strategy::Strategy;
use crate::trace::Keep;
use config::HORIZON;
use hosts::Planned;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The seed the environment asks for.
pub(crate) fn seed_of_environment() -> Option<u64> {
    let text = std::env::var(SEED_VARIABLE).ok()?;
    match text.parse() {
        Ok(seed) => Some(seed),
        Err(why) => panic!("{SEED_VARIABLE}={text:?} is not a seed: {why}"),
    }
}

/// Describes a world; made by [`Sim::builder`](crate::Sim::builder).
///
/// It can be built any number of times: host closures are called for each world anew.
#[derive(Clone)]
#[must_use = "a builder does nothing until it is run or built"]
pub struct Builder {
    config: Config,
    /// Whether the horizon is one that was asked for.
    has_horizon: bool,
    hosts: Vec<Planned>,
    /// From one host to another, this direction alone.
    links: Vec<(String, String, Link)>,
    names: Names,
    answers: Vec<(String, Answer)>,
    script: Vec<Act>,
    checkers: Vec<Rc<dyn Fn() -> Box<dyn Checker>>>,
    /// The first thing that cannot be as it was said.
    wrong: Option<SetupError>,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        let mut config = Config::new(0);
        config.horizon = Some(HORIZON);
        Builder {
            config,
            has_horizon: false,
            hosts: Vec::new(),
            links: Vec::new(),
            names: Names::default(),
            answers: Vec::new(),
            script: Vec::new(),
            checkers: Vec::new(),
            wrong: None,
        }
    }

    /// Sets the seed every choice comes from (default 0).
    pub fn seed(mut self, seed: u64) -> Builder {
        self.config.seed = seed;
        self.config.seed_of = SeedOf::Code;
        self
    }

    /// As [`seed`](Self::seed), for one of a row.
    pub(crate) fn seed_of(mut self, seed: u64, of: SeedOf) -> Builder {
        self.config.seed = seed;
        self.config.seed_of = of;
        self
    }

    /// Takes the seed from the environment variable `BOWLINE_SIM_SEED`, if it is set: the line that
    /// a failure then prints by default sets it. Call it after [`seed`](Self::seed).
    ///
    /// # Panics
    /// If it is set to something else than a number.
    pub fn seed_from_env(mut self) -> Builder {
        if let Some(seed) = seed_of_environment() {
            self.config.seed = seed;
        }
        self.config.seed_of = SeedOf::Environment;
        self
    }

    /// Sets the line that a failure prints to run it again. `{seed}`, `{event}` and `{scenario}` in
    /// it become the seed, the number of the event at which it failed, and the
    /// [scenario](Self::scenario).
    ///
    /// By default the line sets, for `cargo test`, the environment variable that
    /// [`seed_from_env`](Self::seed_from_env) asks; where that was not called it says what to run: the
    /// same again, as its seed stands in the code, or [`Sim::seeds`](crate::Sim::seeds) of one seed.
    ///
    /// ```
    /// use bowline_sim::{Sim, host};
    ///
    /// let world = Sim::builder()
    ///     .replay_with("BOWLINE_SIM_SEED={seed} cargo test -p shop orders # event {event}")
    ///     .seed_from_env()
    ///     .client("stuck", || host::Sleep::new(host::Sleep::NEVER));
    /// let failure = world.seed(7).run().expect_err("it never wakes");
    /// let line = failure.replay_line();
    /// assert!(line.starts_with("BOWLINE_SIM_SEED=7 cargo test -p shop orders # event "));
    /// ```
    pub fn replay_with(mut self, line: &str) -> Builder {
        self.config.replay_with = Some(Arc::from(line));
        self
    }

    /// Names the scenario in the line that a failure prints to run it again.
    ///
    /// Unless [`replay_with`](Self::replay_with) says otherwise the line is then `cargo xtask sim
    /// SCENARIO --seed N --until EVENT`: a program of the project, which gives the first two to its
    /// scenarios and the last to [`World::run_past`].
    pub fn scenario(mut self, name: &str) -> Builder {
        self.config.scenario = Some(name.to_owned());
        self
    }

    /// Sets the virtual time at which live clients are a failure (default: four hours). A world without
    /// clients ends there well, and has to be given one to be run to its end. `Duration::MAX` is never.
    pub fn horizon(mut self, horizon: Duration) -> Builder {
        self.has_horizon = true;
        self.config.horizon = Some(nanos(horizon));
        self
    }

    /// Sets how the next task is picked (default [`Strategy::Random`]).
    pub fn strategy(mut self, strategy: Strategy) -> Builder {
        self.config.strategy = strategy;
        self
    }

    /// Sets after how many polls in a row the run fails in which no byte moved, no timer fired, no
    /// task ended and nothing else happened but that the polls took their time (default 1 000 000).
    /// First polls of tasks do not count.
    ///
    /// Where other things happen meanwhile, the run fails after four times as many polls each of which
    /// was woken by the one before it: a task that spins beside the timers of others.
    ///
    /// Raise it for programs that compute for long without ever waiting.
    pub fn livelock_after(mut self, polls: u64) -> Builder {
        self.config.livelock = polls;
        self
    }

    /// Sets by how much, at most, timers fire late (default 0).
    pub fn timer_jitter(mut self, jitter: Duration) -> Builder {
        self.config.timer_jitter = nanos(jitter);
        self
    }

    /// Drops whatever is left of a host that is done, instead of making a failure of it.
    ///
    /// Where this is not called, a host or client whose future is done without an error goes on until it has no tasks,
    /// sockets, timers, blocking jobs and paths of Unix sockets any more. When all clients are done
    /// the hosts that listen for [`Terminate`](crate::host::Signal::Terminate) are sent it, and must
    /// be done as well; the others are killed by it, and a kernel cleans up after those. What is left
    /// after the time to [`settle`](Self::settle) is named by a failure of kind
    /// [`Leak`](crate::FailureKind::Leak).
    pub fn ignore_leaks(mut self) -> Builder {
        self.config.leak_check = false;
        self
    }

    /// Lets the world do faults to itself (default [`Faults::none`]): each run draws what happens
    /// when and to whom. They go on until [`heal_at`](Self::heal_at), if that is given, or until all
    /// clients are done: while hosts stop nothing strikes, and what lasted of such faults is over.
    pub fn faults(mut self, faults: Faults) -> Builder {
        self.config.faults = faults;
        self
    }

    /// Ends all faults when the world is `time` old, those of [`faults`](Self::faults) and those of
    /// the script: nothing strikes any more, hosts that stand still or are slow go on, jobs that were
    /// stalled end, the network is healed, hosts have the limits they were given, timers and tasks the
    /// order that the world says, and hosts that crashed are started again. What a socket buffers stays
    /// what it was when it was made. The clients must then be done within the time to [`settle`](Self::settle), or the run fails with
    /// [`Horizon`](crate::FailureKind::Horizon).
    pub fn heal_at(mut self, time: Duration) -> Builder {
        self.config.heal_at = Some(nanos(time));
        self
    }

    /// Sets how long clients may take to be done after the world was [healed](Self::heal_at), and
    /// hosts to be gone after they were done or asked to stop (default 120 s of virtual time), unless
    /// leaks are [ignored](Self::ignore_leaks).
    pub fn settle(mut self, time: Duration) -> Builder {
        self.config.settle = nanos(time);
        self
    }

    /// Sets how long, outside the world, code of the world may run in one go: a poll, a blocking job,
    /// a destructor, an act of the script, a condition or a checker (default 10 s for jobs and 60 s for
    /// the others; `Duration::MAX` is for ever).
    ///
    /// All of them run on the world's thread and must not wait for what the world does. One that does
    /// waits for ever: after this long the failure is printed, with its seed, and the process ended.
    pub fn watchdog(mut self, patience: Duration) -> Builder {
        self.config.watchdog = Some(patience);
        self
    }

    /// Leaves the bytes that programs write out of the trace; their number stays in it.
    ///
    /// By default each write is recorded with a hash of its bytes, so that runs of one seed which differ
    /// in nothing else are found to differ. This is for those whose bytes the seed does not decide, as
    /// with TLS, which draws randomness of its own.
    pub fn ignore_payloads(mut self) -> Builder {
        self.config.hash_payloads = false;
        self
    }

    /// Sets how much of the trace is kept (default: the last 10 000 events).
    pub fn trace(mut self, keep: Keep) -> Builder {
        self.config.keep = keep;
        self
    }

    /// Keeps the hash of the trace after every so many events, for [`Report::checkpoints`](crate::Report::checkpoints); 0, the
    /// default, for never.
    ///
    /// Where two runs of one seed differ that are too long to keep their traces, or run in two
    /// places, their checkpoints say between which events.
    pub fn checkpoint_every(mut self, events: u64) -> Builder {
        self.config.checkpoint_every = events;
        self
    }

    /// Records up to `limit` choices for [`Report::choices`](crate::Report::choices) and [`Failure::choices`](crate::Failure::choices) (default 0).
    pub fn record_choices(mut self, limit: usize) -> Builder {
        self.config.record_choices = limit;
        self
    }

    /// Takes every choice from `choices` instead of the seed; 0, the tame one, beyond its end.
    pub fn replay(mut self, choices: Choices) -> Builder {
        self.config.replay = Some(Arc::new(choices));
        self
    }

    /// Sets the link between hosts that have none of their own (default [`Link::lan`]).
    pub fn default_link(mut self, link: Link) -> Builder {
        self.config.default_link = link;
        self
    }

    /// Sets the link between two hosts, in both directions.
    pub fn link(self, one: &str, other: &str, link: Link) -> Builder {
        self.link_one_way(one, other, link)
            .link_one_way(other, one, link)
    }

    /// Sets the link from one host to another; the way back is not concerned.
    pub fn link_one_way(mut self, from: &str, to: &str, link: Link) -> Builder {
        self.links.push((from.to_owned(), to.to_owned(), link));
        self
    }

    /// Sets how look-ups of names go.
    pub fn names(mut self, names: Names) -> Builder {
        self.names = names;
        self
    }

    /// Makes `name` mean something, also one that is the name of a host;
    /// [`World::set_name`] changes it later.
    pub fn name(mut self, name: &str, answer: Answer) -> Builder {
        self.answers.push((name.to_owned(), answer));
        self
    }

    /// Does something to the world when it is `time` old, such as
    /// [sending a signal](World::signal). Acts of one time are done in the order added.
    ///
    /// The world turns meanwhile, so the act must not drive it.
    pub fn at(mut self, time: Duration, act: impl Fn(&mut World) + 'static) -> Builder {
        self.script.push(Act::new(nanos(time), act));
        self
    }

    /// Adds a rule that every event is checked against; `make` makes one for each world.
    pub fn checker<C: Checker + 'static>(mut self, make: impl Fn() -> C + 'static) -> Builder {
        self.checkers.push(Rc::new(move || Box::new(make())));
        self
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.hosts.iter().map(|host| &host.name).collect();
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("hosts", &names)
            .field("links", &self.links)
            .finish()
    }
}
