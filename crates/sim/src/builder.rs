//! Describing a world.

use crate::checker::Checker;
use crate::choices::Choices;
use crate::event::Event;
use crate::faults::Faults;
use crate::limits::HostLimits;
use crate::link::{Link, nanos};
use crate::machine::{Clock, MainFuture, Role, Start};
use crate::names::{Answer, Names};
use crate::replay::SEED_VARIABLE;
use crate::report::Report;
use crate::script::{Act, check_drift};
use crate::setup::SetupError;
use crate::state::State;
use crate::strategy::Strategy;
use crate::trace::{Keep, TRACE_VERSION};
use crate::wire::Way;
use crate::world::World;
use crate::xxhash::xxh64;
use crate::{Failure, compare, watchdog};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// So long things take to settle, in nanoseconds of the world.
const SETTLE: u64 = 120_000_000_000;

/// So many polls that move nothing are a livelock.
const LIVELOCK: u64 = 1_000_000;

/// The seed the environment asks for.
pub(crate) fn seed_of_environment() -> Option<u64> {
    let text = std::env::var(SEED_VARIABLE).ok()?;
    match text.parse() {
        Ok(seed) => Some(seed),
        Err(why) => panic!("{SEED_VARIABLE}={text:?} is not a seed: {why}"),
    }
}

/// What a world is made of, apart from its hosts.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) seed: u64,
    pub(crate) scenario: Option<String>,
    pub(crate) replay_with: Option<Arc<str>>,
    pub(crate) horizon: Option<u64>,
    pub(crate) strategy: Strategy,
    /// Polls in a row that move nothing.
    pub(crate) livelock: u64,
    pub(crate) timer_jitter: u64,
    pub(crate) leak_check: bool,
    pub(crate) faults: Faults,
    pub(crate) heal_at: Option<u64>,
    /// So long hosts may take to be gone after they were done, and worlds after they were healed.
    pub(crate) settle: u64,
    pub(crate) watchdog: Duration,
    pub(crate) keep: Keep,
    pub(crate) checkpoint_every: u64,
    pub(crate) record_choices: usize,
    pub(crate) replay: Option<Arc<Choices>>,
    pub(crate) default_link: Link,
    pub(crate) hosts_hash: u64,
}

impl Config {
    pub(crate) fn new(seed: u64) -> Config {
        Config {
            seed,
            scenario: None,
            replay_with: None,
            horizon: None,
            strategy: Strategy::Random,
            livelock: LIVELOCK,
            timer_jitter: 0,
            leak_check: false,
            faults: Faults::none(),
            heal_at: None,
            settle: SETTLE,
            watchdog: watchdog::PATIENCE,
            keep: Keep::Tail(10_000),
            checkpoint_every: 0,
            record_choices: 0,
            replay: None,
            default_link: Link::lan(),
            hosts_hash: 0,
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        let words = [
            TRACE_VERSION,
            self.horizon.unwrap_or(u64::MAX),
            self.strategy.number(),
            self.timer_jitter,
            u64::from(self.leak_check),
            self.settle,
            self.hosts_hash,
        ];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        xxh64(&bytes, 0)
    }
}

/// What the future of a host or client may end with: `()` or a `Result<(), E>`.
pub trait HostOutcome {
    /// The outcome with its error as text.
    ///
    /// # Errors
    /// The text of the error it ended with.
    fn into_outcome(self) -> Result<(), String>;
}

impl HostOutcome for () {
    fn into_outcome(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: fmt::Display> HostOutcome for Result<(), E> {
    fn into_outcome(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

#[derive(Clone)]
struct Planned {
    name: String,
    role: Role,
    start: Start,
    limits: HostLimits,
    clock: Clock,
    may_crash: bool,
    location: &'static Location<'static>,
}

/// Describes a world; made by [`Sim::builder`](crate::Sim::builder).
///
/// It can be built any number of times: host closures are called for each world anew.
#[derive(Clone)]
#[must_use = "a builder does nothing until it is run or built"]
pub struct Builder {
    config: Config,
    hosts: Vec<Planned>,
    /// From one host to another, this direction alone.
    links: Vec<(String, String, Link)>,
    names: Names,
    answers: Vec<(String, Answer)>,
    script: Vec<Act>,
    checkers: Vec<Rc<dyn Fn() -> Box<dyn Checker>>>,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder {
            config: Config::new(0),
            hosts: Vec::new(),
            links: Vec::new(),
            names: Names::default(),
            answers: Vec::new(),
            script: Vec::new(),
            checkers: Vec::new(),
        }
    }

    /// Sets the seed every choice comes from (default 0).
    pub fn seed(mut self, seed: u64) -> Builder {
        self.config.seed = seed;
        self
    }

    /// Takes the seed from the environment variable `BOWLINE_SIM_SEED`, if it is set: the line that
    /// a failure prints by default sets it. Call it after [`seed`](Self::seed).
    ///
    /// # Panics
    /// If it is set to something else than a number.
    pub fn seed_from_env(mut self) -> Builder {
        if let Some(seed) = seed_of_environment() {
            self.config.seed = seed;
        }
        self
    }

    /// Sets the line that a failure prints to run it again. `{seed}`, `{event}` and `{scenario}` in
    /// it become the seed, the number of the event at which it failed, and the
    /// [scenario](Self::scenario).
    ///
    /// By default the line sets the environment variable that
    /// [`seed_from_env`](Self::seed_from_env) asks, for `cargo test`.
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

    /// Sets the virtual time at which live clients are a failure (default: none).
    pub fn horizon(mut self, horizon: Duration) -> Builder {
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

    /// Makes it a failure to leave anything behind (default: whatever is left of a host that is done
    /// is dropped).
    ///
    /// A host or client whose future is done without an error goes on until it has no tasks,
    /// sockets, timers, blocking jobs and paths of Unix sockets any more. When all clients are done
    /// the hosts that listen for [`Terminate`](crate::host::Signal::Terminate) are sent it, and must
    /// be done as well; the others are killed by it, and a kernel cleans up after those. What is left
    /// after the time to [`settle`](Self::settle) is named by a failure of kind
    /// [`Leak`](crate::FailureKind::Leak).
    pub fn check_leaks(mut self) -> Builder {
        self.config.leak_check = true;
        self
    }

    /// Lets the world do faults to itself (default [`Faults::none`]): each run draws what happens
    /// when and to whom. They go on until [`heal_at`](Self::heal_at), if that is given, or until all
    /// clients are done.
    pub fn faults(mut self, faults: Faults) -> Builder {
        self.config.faults = faults;
        self
    }

    /// Ends all faults when the world is `time` old, those of [`faults`](Self::faults) and those of
    /// the script: nothing strikes any more, hosts that stand still or are slow go on, the network is
    /// healed, and hosts that crashed are started again. The clients must then be done within the
    /// time to [`settle`](Self::settle), or the run fails with
    /// [`Horizon`](crate::FailureKind::Horizon).
    pub fn heal_at(mut self, time: Duration) -> Builder {
        self.config.heal_at = Some(nanos(time));
        self
    }

    /// Sets how long clients may take to be done after the world was [healed](Self::heal_at), and
    /// hosts to be gone after they were done or asked to stop where that is
    /// [checked](Self::check_leaks) (default 120 s of virtual time).
    pub fn settle(mut self, time: Duration) -> Builder {
        self.config.settle = nanos(time);
        self
    }

    /// Sets how long, outside the world, a blocking job may run (default 10 s).
    ///
    /// A job runs on the world's thread and must not wait for what the world does. One that does
    /// waits for ever: after this long the failure is printed and the process ended.
    pub fn watchdog(mut self, patience: Duration) -> Builder {
        self.config.watchdog = patience;
        self
    }

    /// Sets how much of the trace is kept (default: the last 10 000 events).
    pub fn trace(mut self, keep: Keep) -> Builder {
        self.config.keep = keep;
        self
    }

    /// Keeps the hash of the trace after every so many events, for [`Report::checkpoints`]; 0, the
    /// default, for never.
    ///
    /// Where two runs of one seed differ that are too long to keep their traces, or run in two
    /// places, their checkpoints say between which events.
    pub fn checkpoint_every(mut self, events: u64) -> Builder {
        self.config.checkpoint_every = events;
        self
    }

    /// Records up to `limit` choices for [`Report::choices`] and [`Failure::choices`] (default 0).
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

    /// Adds a host that serves. Its error or panic is a crash, counted in the report.
    #[track_caller]
    pub fn host<F, T>(self, name: &str, main: impl Fn() -> F + 'static) -> Builder
    where
        F: Future<Output = T> + 'static,
        T: HostOutcome,
    {
        self.add(name, Role::Host, main, Location::caller())
    }

    /// Adds a client. The run ends when all clients are done; an error or panic of one fails it.
    #[track_caller]
    pub fn client<F, T>(self, name: &str, main: impl Fn() -> F + 'static) -> Builder
    where
        F: Future<Output = T> + 'static,
        T: HostOutcome,
    {
        self.add(name, Role::Client, main, Location::caller())
    }

    /// Makes an error or panic of the host `name`, added before, a failure of the run.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn host_must_not_fail(mut self, name: &str) -> Builder {
        let host = self.planned(name);
        if host.role == Role::Host {
            host.role = Role::FaithfulHost;
        }
        self
    }

    /// Makes it no matter if the client `name`, added before, [crashes](World::crash) and is not
    /// started again: it is then done. No client is by default, and a run without one fails.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn client_may_crash(mut self, name: &str) -> Builder {
        self.planned(name).may_crash = true;
        self
    }

    /// Sets what the host or client `name`, added before, has at most.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn limits(mut self, name: &str, limits: HostLimits) -> Builder {
        self.planned(name).limits = limits;
        self
    }

    /// Makes the clocks of the host or client `name`, added before, too fast by so many parts per
    /// million, or too slow (default 0). Its sleeps and timeouts go by them.
    ///
    /// # Panics
    /// If there is no such host, or the clock would not go forward.
    pub fn clock_drift(mut self, name: &str, parts_per_million: i32) -> Builder {
        check_drift(parts_per_million);
        self.planned(name).clock.drift = parts_per_million;
        self
    }

    fn planned(&mut self, name: &str) -> &mut Planned {
        match self.hosts.iter_mut().find(|host| host.name == name) {
            Some(host) => host,
            None => panic!("there is no host {name:?}"),
        }
    }

    fn add<F, T>(
        mut self,
        name: &str,
        role: Role,
        main: impl Fn() -> F + 'static,
        location: &'static Location<'static>,
    ) -> Builder
    where
        F: Future<Output = T> + 'static,
        T: HostOutcome,
    {
        assert!(
            self.hosts.iter().all(|host| host.name != name),
            "there are two hosts named {name:?}"
        );
        let start = move || -> MainFuture {
            let main = main();
            Box::pin(async move { main.await.into_outcome() })
        };
        self.hosts.push(Planned {
            name: name.to_owned(),
            role,
            start: Rc::new(start),
            limits: HostLimits::default(),
            clock: Clock::default(),
            may_crash: false,
            location,
        });
        self
    }

    fn index(&self, by: &str, name: &str) -> Result<u32, SetupError> {
        let index = self.hosts.iter().position(|host| host.name == name);
        index
            .map(|index| index as u32)
            .ok_or_else(|| SetupError::unknown(by, name))
    }

    /// Whether the world can be built.
    ///
    /// # Errors
    /// The first [`SetupError`]: an unknown name, a link to itself, a value that makes no sense.
    pub fn check(&self) -> Result<(), SetupError> {
        self.ways().map(drop)
    }

    /// The links, by number of host.
    fn ways(&self) -> Result<Vec<(Way, Link)>, SetupError> {
        if let Some(wrong) = self.config.default_link.wrong {
            return Err(SetupError::wrong(wrong, "the default link"));
        }
        self.names.check()?;
        for (name, answer) in &self.answers {
            let hosts = self.hosts.iter().map(|host| host.name.as_str());
            answer.check(name, hosts)?;
        }
        let mut ways = Vec::new();
        for (from, to, link) in &self.links {
            let way = (self.index("a link", from)?, self.index("a link", to)?);
            if way.0 == way.1 {
                let name = from.clone();
                return Err(SetupError::LinkToItself { name });
            }
            if let Some(wrong) = link.wrong {
                let place = format!("the link from {from:?} to {to:?}");
                return Err(SetupError::wrong(wrong, &place));
            }
            ways.push((way, *link));
        }
        Ok(ways)
    }

    /// Makes the world, to be driven by hand. Nothing has run yet.
    ///
    /// # Panics
    /// With the [`SetupError`] that [`check`](Self::check) finds.
    pub fn build(&self) -> World {
        match self.ways() {
            Ok(ways) => self.world(ways),
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`build`](Self::build); a world that makes no sense is a failure of its run.
    pub(crate) fn try_build(&self) -> Result<World, Failure> {
        match self.ways() {
            Ok(ways) => Ok(self.world(ways)),
            Err(error) => Err(Failure::of_setup(&self.config, error.to_string())),
        }
    }

    fn world(&self, ways: Vec<(Way, Link)>) -> World {
        let mut config = self.config.clone();
        let mut text = String::new();
        for host in &self.hosts {
            text.push_str(&format!("{}={:?};", host.name, host.role));
            if host.may_crash {
                text.push_str("may crash;");
            }
            if host.limits != HostLimits::default() {
                text.push_str(&format!("{:?};", host.limits));
            }
            if host.clock != Clock::default() {
                text.push_str(&format!("{:?};", host.clock));
            }
        }
        text.push_str(&format!("{:?};", config.default_link));
        for (from, to, link) in &self.links {
            text.push_str(&format!("{from}-{to}={link:?};"));
        }
        if self.names != Names::default() || !self.answers.is_empty() {
            text.push_str(&format!("{:?}{:?};", self.names, self.answers));
        }
        for act in &self.script {
            text.push_str(&format!("at {};", act.at));
        }
        if config.faults != Faults::none() || config.heal_at.is_some() {
            text.push_str(&format!("{:?} until {:?};", config.faults, config.heal_at));
        }
        config.hosts_hash = xxh64(text.as_bytes(), 0);
        let mut state = State::new(config);
        if !self.checkers.is_empty() {
            state.trace.keep_fresh();
        }
        for host in &self.hosts {
            let start = Rc::clone(&host.start);
            state.add_machine(
                &host.name,
                host.role,
                host.limits,
                Some(start),
                host.location,
            );
            if let Some(machine) = state.machines.last_mut() {
                machine.clock = host.clock;
                machine.may_crash = host.may_crash;
                machine.drift = host.clock.drift;
            }
        }
        state.names.names = self.names;
        state.names.answers.extend(self.answers.iter().cloned());
        for (way, link) in ways {
            state.net.wires.set_link(Some(way), link);
        }
        for act in &self.script {
            let event = Event::Act(act.clone());
            state.events.push(act.at, 0, event, 0);
        }
        if let Some(at) = state.config.heal_at {
            state.events.push(at, 0, Event::Heal, 0);
        }
        let faults = state.config.faults.clone();
        state.infect(&faults);
        let checkers = self.checkers.iter().map(|make| make()).collect();
        World::new(state, checkers)
    }

    /// Makes the world and runs it to its end.
    ///
    /// # Errors
    /// The first [`Failure`], with the line that runs it again; one of kind
    /// [`Setup`](crate::FailureKind::Setup) if the world cannot be built.
    ///
    /// # Panics
    /// If a world turns on this thread already.
    pub fn run(&self) -> Result<Report, Failure> {
        self.try_build()?.finish()
    }

    /// Runs the world twice and names the first event in which the runs differ.
    ///
    /// # Errors
    /// The [`Difference`](crate::Difference): something outside the world has a say in the run.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn compare(&self) -> Result<(), compare::Difference> {
        compare::compare(&self.clone().trace(Keep::Full))
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
