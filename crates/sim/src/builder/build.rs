//! From the description of a world to the world, or to what is wrong with it.

use super::Builder;
use crate::event::Event;
use crate::faults::Faults;
use crate::limits::HostLimits;
use crate::link::Link;
use crate::machine::{Clock, Role};
use crate::names::Names;
use crate::report::Report;
use crate::script::check_drift;
use crate::setup::SetupError;
use crate::state::State;
use crate::trace::Keep;
use crate::wire::Way;
use crate::world::World;
use crate::xxhash::xxh64;
use crate::{Failure, compare};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

impl Builder {
    fn index(&self, by: &str, name: &str) -> Result<u32, SetupError> {
        let index = self.hosts.iter().position(|host| host.name == name);
        index
            .map(|index| index as u32)
            .ok_or_else(|| SetupError::unknown(by, name, self.host_names()))
    }

    /// The names of all hosts, in the order they were added.
    fn host_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.hosts.iter().map(|host| host.name.as_str())
    }

    /// Whether the world can be built.
    ///
    /// # Errors
    /// The first [`SetupError`]: an unknown name or one used twice, a link to itself, a value that
    /// makes no sense, options that contradict each other.
    pub fn check(&self) -> Result<(), SetupError> {
        self.ways().map(drop)
    }

    /// Whether the options make sense, each and together.
    fn check_options(&self) -> Result<(), SetupError> {
        let config = &self.config;
        if config.livelock == 0 {
            return Err(SetupError::no_value("livelock_after"));
        }
        if config.watchdog.is_some_and(|patience| patience.is_zero()) {
            return Err(SetupError::no_value("watchdog"));
        }
        let Some(horizon) = config.horizon else {
            return Ok(());
        };
        let beyond = |what: &str, at: u64| SetupError::Contradiction {
            one: format!("{what} at {:?}", Duration::from_nanos(at)),
            other: format!("the horizon at {:?}", Duration::from_nanos(horizon)),
        };
        if let Some(at) = config.heal_at.filter(|at| *at > horizon) {
            return Err(beyond("the heal", at));
        }
        match self.script.iter().find(|act| act.at > horizon) {
            Some(act) => Err(beyond("an act of the script", act.at)),
            None => Ok(()),
        }
    }

    /// Whether the hosts make sense, each and together.
    fn check_hosts(&self) -> Result<(), SetupError> {
        let mut names = BTreeSet::new();
        for host in &self.hosts {
            let name = &host.name;
            if !names.insert(name) {
                let name = name.clone();
                return Err(SetupError::TwoHosts { name });
            }
            check_drift(name, host.clock.drift)?;
        }
        Ok(())
    }

    /// The links, by number of host.
    fn ways(&self) -> Result<Vec<(Way, Link)>, SetupError> {
        if let Some(wrong) = &self.wrong {
            return Err(wrong.clone());
        }
        self.check_options()?;
        self.check_hosts()?;
        if let Some(wrong) = self.config.default_link.wrong {
            return Err(SetupError::wrong(wrong, "the default link"));
        }
        self.names.check()?;
        for (name, answer) in &self.answers {
            answer.check(name, self.host_names())?;
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

    /// As [`build`](Self::build), for a run to its end; a world that makes no sense, or has nothing
    /// that would end it, is a failure of its run.
    pub(crate) fn try_build(&self) -> Result<World, Failure> {
        let ends = self.has_horizon || self.hosts.iter().any(|host| host.role == Role::Client);
        match self.ways() {
            Ok(_) if !ends => Err(SetupError::NoClient),
            Ok(ways) => Ok(self.world(ways)),
            Err(error) => Err(error),
        }
        .map_err(|error| Failure::of_setup(&self.config, error.to_string()))
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
    /// [`Setup`](crate::FailureKind::Setup) if the world cannot be built, or has neither a client nor
    /// a [horizon](Self::horizon) of its own that would end it.
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
