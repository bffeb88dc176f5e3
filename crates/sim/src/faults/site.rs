//! Fault sites: places in a program where a harness lets the world decide whether something goes
//! wrong there.
//!
//! Invariants
//! 1. A site draws from streams that are its own: one more site, or one more question at it, changes
//!    no other choice.
//! 2. Closed sites draw nothing and say no, before the world has such faults, without them, and
//!    after the heal.

use super::Plague;
use crate::current;
use crate::oracle::{Label, Scope};
use crate::sim::Sim;
use crate::state::State;
use crate::trace::EventKind;
use std::collections::BTreeMap;

/// A run has one site in so many, each on average; and one says yes that often.
const ODDS: u64 = 4;

#[derive(Debug, Default)]
pub(super) struct Sites {
    open: bool,
    reached: BTreeMap<&'static str, Site>,
}

#[derive(Clone, Copy, Debug)]
struct Site {
    /// Whether this run has it.
    active: bool,
    fired: u64,
}

impl Sim {
    /// Whether something goes wrong here, at the fault site `name`.
    ///
    /// For harnesses, which simulate what a program talks to (a disk, a clock, a foreign service);
    /// production code needs none, since the world does its faults below the backend. Only worlds
    /// with [`FaultKind::Sites`](crate::FaultKind::Sites) ever say yes, such as those under
    /// [`Faults::swarm`](crate::Faults::swarm): each seed first draws which sites its run has, and one
    /// that it has says yes a quarter of the time. After the heal it is no again, as it is outside a
    /// world. [`Report::sites`](crate::Report) counts them.
    ///
    /// ```
    /// use bowline_sim::{FaultKind, Faults, Sim};
    ///
    /// fn write_to_disk() -> Result<(), &'static str> {
    ///     match Sim::site("the disk is full") {
    ///         true => Err("no space left"),
    ///         false => Ok(()),
    ///     }
    /// }
    ///
    /// let world = Sim::builder().client("store", || async {
    ///     let full = (0..100).filter(|_| write_to_disk().is_err()).count();
    ///     Sim::note("full", full as u64);
    /// });
    /// let tame = world.run()?;
    /// assert_eq!(tame.sites["the disk is full"], 0);
    /// let sites = |seed| world.clone().seed(seed).faults(Faults::of([FaultKind::Sites])).run();
    /// let full = |seed| sites(seed).map(|report| report.sites["the disk is full"]);
    /// assert!((0..20).any(|seed| full(seed).is_ok_and(|full| full > 10)));
    /// # Ok::<(), bowline_sim::Failure>(())
    /// ```
    pub fn site(name: &'static str) -> bool {
        match current::shared() {
            Some(shared) => shared.act(|state| state.site(name)),
            None => false,
        }
    }
}

impl Plague {
    pub(super) fn open_sites(&mut self) {
        self.sites.open = true;
    }

    pub(super) fn close_sites(&mut self) {
        self.sites.open = false;
    }

    /// How often each site said yes that was reached.
    pub(crate) fn sites(&self) -> BTreeMap<&'static str, u64> {
        let reached = self.sites.reached.iter();
        reached.map(|(name, site)| (*name, site.fired)).collect()
    }
}

impl State {
    fn site(&mut self, name: &'static str) -> bool {
        let closed = Site {
            active: false,
            fired: 0,
        };
        if !self.plague.sites.open {
            self.plague.sites.reached.entry(name).or_insert(closed);
            return false;
        }
        let label = Label::of_site(name);
        let oracle = &mut self.oracle;
        let site = self.plague.sites.reached.entry(name).or_insert_with(|| {
            let active = oracle.choose(label, Scope::World, ODDS) == ODDS - 1;
            Site { active, fired: 0 }
        });
        if !site.active {
            return false;
        }
        let scope = Scope::Host(self.running.map_or(u32::MAX, |running| running.host));
        let fires = self.oracle.choose(label, scope, ODDS) == ODDS - 1;
        if fires {
            site.fired += 1;
            self.record(EventKind::Fault, name, 1, 0);
        }
        fires
    }
}
