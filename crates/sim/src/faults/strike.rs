//! A fault strikes, and ends.

use super::{FaultKind, Origin};
use crate::World;
use crate::event::Event;
use crate::machine::{Role, WallClock};
use crate::script::Crash;
use crate::state::State;
use crate::trace::EventKind;
use crate::wire::{Flapping, Way, Wire};
use std::ops::Range;
use std::time::Duration;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

/// No job ends later by more than this, however often it is hit.
const MOST_STALL: u64 = 10 * SECOND;

/// How a fault that lasts ends.
#[derive(Debug)]
pub(crate) enum Undo {
    /// Unless it is in another life by then.
    Restart {
        host: u32,
        incarnation: u32,
    },
    Resume(u32, Origin),
    Hurry(u32, Origin),
    Mend(Vec<Way>, Origin),
    Release(Vec<Way>, Origin),
    Steady(Vec<Way>, Origin),
}

/// Whom a kind of fault may hit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// Those that serve.
    Hosts,
    /// Clients too.
    Anyone,
}

/// Lets a fault of `kind` happen, if there is anybody to hit, and the next one come.
pub(crate) fn strike(world: &mut World, kind: FaultKind) {
    let crash = match kind {
        FaultKind::Kill => Some(Crash::Kill),
        FaultKind::PowerLoss => Some(Crash::PowerLoss),
        _ => None,
    };
    let struck = match crash {
        None => world.act(|state| state.strike(kind)),
        Some(crash) => world
            .act(|state| state.victim(kind, Whom::Hosts))
            .filter(|&host| world.crash_host(host, crash))
            .map(|host| {
                let incarnation = world.act(|state| state.machines[host as usize].incarnation);
                let undo = Undo::Restart { host, incarnation };
                (undo, 50 * MILLISECOND..10 * SECOND)
            })
            .map(Some),
    };
    world.act(|state| {
        if let Some(lasting) = struck {
            *state.plague.counts.entry(kind.name()).or_insert(0) += 1;
            if let Some((undo, span)) = lasting {
                let span = state.lasts(kind, span);
                state.push_fault(Event::Undo(undo), span);
            }
        }
        if let Some(&gap) = state.plague.gaps.get(&kind) {
            state.await_strike(kind, gap);
        }
    });
}

/// Ends a fault.
pub(crate) fn undo(world: &mut World, undo: Undo) {
    match undo {
        Undo::Restart { host, incarnation } => {
            // The script may have been faster, or want it to stay down.
            let is_ours = world.act(|state| {
                let machine = &state.machines[host as usize];
                machine.crashed && machine.incarnation == incarnation && !machine.kept_down
            });
            if is_ours {
                world.restart_host(host);
            }
        }
        lasting => world.act(|state| state.undo(lasting)),
    }
}

/// How a fault ends, and after how long.
type End = Option<(Undo, Range<u64>)>;

impl State {
    /// A time between the two, in nanoseconds.
    fn span(&mut self, kind: FaultKind, between: Range<u64>) -> u64 {
        between.start + self.draw(kind, between.end - between.start)
    }

    /// How long a fault lasts: the more often they come, the shorter they are, or there would never
    /// be a time without.
    fn lasts(&mut self, kind: FaultKind, between: Range<u64>) -> u64 {
        let gap = self.plague.gaps.get(&kind).copied().unwrap_or(SECOND);
        let most = between.end.min(4 * gap);
        self.span(kind, between.start.min(most / 4)..most)
    }

    /// One of those that run.
    fn victim(&mut self, kind: FaultKind, whom: Whom) -> Option<u32> {
        let hit = |role| match role {
            Role::Host | Role::FaithfulHost => true,
            Role::Client => whom == Whom::Anyone,
            Role::Main => false,
        };
        let hosts = self.machines.iter().zip(0..);
        let alive = hosts.filter(|(machine, _)| machine.life.is_alive() && hit(machine.role));
        let alive: Vec<u32> = alive.map(|(_, host)| host).collect();
        let index = self.draw(kind, alive.len() as u64);
        alive.get(index as usize).copied()
    }

    /// The way from one host to another.
    fn victims(&mut self, kind: FaultKind) -> Option<Way> {
        let count = self.machines.len() as u64;
        if count < 2 {
            return None;
        }
        let from = self.draw(kind, count);
        let to = (from + 1 + self.draw(kind, count - 1)) % count;
        Some((from as u32, to as u32))
    }

    /// Does what `kind` is; nothing where there is nobody to hit.
    fn strike(&mut self, kind: FaultKind) -> Option<End> {
        let origin = self.plague.origin();
        match kind {
            FaultKind::Pause => {
                let host = self.victim(kind, Whom::Anyone)?;
                let paused = self.pause(host, origin);
                let undo = Undo::Resume(host, origin);
                paused.then_some(Some((undo, 10 * MILLISECOND..5 * SECOND)))
            }
            FaultKind::Slow => {
                let host = self.victim(kind, Whom::Anyone)?;
                let factor = 2 + self.draw(kind, 999) as u32;
                self.slow(host, factor, origin);
                let undo = Undo::Hurry(host, origin);
                Some(Some((undo, 100 * MILLISECOND..5 * SECOND)))
            }
            FaultKind::Drift => {
                let host = self.victim(kind, Whom::Anyone)?;
                let drift = self.draw(kind, 401) as i32 - 200;
                self.set_drift(host, drift);
                Some(None)
            }
            FaultKind::ClockStep => {
                let host = self.victim(kind, Whom::Anyone)?;
                let by = Duration::from_nanos(self.span(kind, MILLISECOND..3600 * SECOND));
                let forward = self.draw(kind, 2) == 0;
                self.step_wall_clock(host, by, forward);
                Some(None)
            }
            FaultKind::StallBlocking => {
                let host = self.victim(kind, Whom::Anyone)?;
                let by = self.lasts(kind, 10 * MILLISECOND..5 * SECOND);
                self.record(EventKind::Fault, "stall", u64::from(host), by);
                self.stall_jobs(host, by, MOST_STALL);
                Some(None)
            }
            FaultKind::Partition => {
                let count = self.machines.len() as u32;
                let sides: Vec<u64> = (0..count).map(|_| self.draw(kind, 2)).collect();
                let apart = |from: u32, to: u32| sides[from as usize] != sides[to as usize];
                let ways = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
                self.cut_for_a_while(ways.filter(|way| apart(way.0, way.1)).collect(), origin)
            }
            FaultKind::Isolation => {
                let host = self.victim(kind, Whom::Anyone)?;
                let others = (0..self.machines.len() as u32).filter(|&other| other != host);
                self.cut_for_a_while(
                    others
                        .flat_map(|other| [(host, other), (other, host)])
                        .collect(),
                    origin,
                )
            }
            FaultKind::OneWay => {
                let way = self.victims(kind)?;
                self.cut_for_a_while(vec![way], origin)
            }
            FaultKind::Hold => {
                let (one, other) = self.victims(kind)?;
                let ways = vec![(one, other), (other, one)];
                for &way in &ways {
                    self.change_wire("hold", way, |wire| wire.holds.begin(origin, ()));
                }
                let undo = Undo::Release(ways, origin);
                Some(Some((undo, 10 * MILLISECOND..5 * SECOND)))
            }
            FaultKind::Clog => {
                let (one, other) = self.victims(kind)?;
                for way in [(one, other), (other, one)] {
                    let span = self.lasts(kind, 10 * MILLISECOND..3 * SECOND);
                    self.clog_wire(way, span);
                }
                Some(None)
            }
            FaultKind::Spike => {
                let (one, other) = self.victims(kind)?;
                let longer = self.span(kind, MILLISECOND..2 * SECOND);
                let span = self.lasts(kind, 100 * MILLISECOND..5 * SECOND);
                let now = self.now;
                let until = now.saturating_add(span);
                for way in [(one, other), (other, one)] {
                    self.change_wire("spike", way, |wire| wire.spike(origin, now, until, longer));
                }
                Some(None)
            }
            FaultKind::Flapping => {
                let (one, other) = self.victims(kind)?;
                let flapping = Flapping {
                    since: self.now,
                    up: self.span(kind, 10 * MILLISECOND..SECOND),
                    down: self.span(kind, 10 * MILLISECOND..SECOND),
                };
                let ways = vec![(one, other), (other, one)];
                for &way in &ways {
                    self.change_wire("flap", way, |wire| wire.flapping.begin(origin, flapping));
                }
                Some(Some((Undo::Steady(ways, origin), SECOND..10 * SECOND)))
            }
            _ => None,
        }
    }

    /// Ends what lasts.
    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Restart { .. } => {}
            Undo::Resume(host, origin) => self.resume(host, origin),
            Undo::Hurry(host, origin) => self.slow(host, 1, origin),
            Undo::Mend(ways, origin) => self.undo_on("mend", ways, |wire| {
                wire.cuts.end(origin);
            }),
            Undo::Release(ways, origin) => self.undo_on("release", ways, |wire| {
                wire.holds.end(origin);
            }),
            Undo::Steady(ways, origin) => self.undo_on("steady", ways, |wire| {
                wire.flapping.end(origin);
            }),
        }
    }

    fn undo_on(&mut self, label: &'static str, ways: Vec<Way>, undo: impl Fn(&mut Wire)) {
        for way in ways {
            self.change_wire(label, way, &undo);
        }
    }

    /// Ends what lasts of drawn faults, and lets none strike any more. Hosts that crashed stay so.
    pub(crate) fn call_off_faults(&mut self) {
        self.plague.gaps.clear();
        for key in std::mem::take(&mut self.plague.pending) {
            if let Some(Event::Undo(undo)) = self.events.cancel(key) {
                self.undo(undo);
            }
        }
    }

    fn cut_for_a_while(&mut self, ways: Vec<Way>, origin: Origin) -> Option<End> {
        if ways.is_empty() {
            return None;
        }
        self.cut(&ways, origin);
        let undo = Undo::Mend(ways, origin);
        Some(Some((undo, 10 * MILLISECOND..10 * SECOND)))
    }

    fn step_wall_clock(&mut self, host: u32, by: Duration, forward: bool) {
        let machine = &mut self.machines[host as usize];
        let at = machine.clock.shows(self.now);
        let shown = machine.wall_clock.shows(at);
        let set_to = match forward {
            true => shown.saturating_add(by),
            false => shown.saturating_sub(by),
        };
        machine.wall_clock = WallClock { set_to, at };
        let seconds = set_to.as_secs();
        self.record(EventKind::Clock, "", u64::from(host), seconds);
    }
}
