//! A fault strikes, and ends.

use super::FaultKind;
use crate::World;
use crate::event::Event;
use crate::machine::{Role, WallClock};
use crate::script::Crash;
use crate::state::State;
use crate::trace::EventKind;
use crate::wire::{Flapping, Way};
use std::ops::Range;
use std::time::Duration;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

/// How a fault that lasts ends.
#[derive(Debug)]
pub(crate) enum Undo {
    Restart(u32),
    Resume(u32),
    Hurry(u32),
    Mend(Vec<Way>),
    Release(Vec<Way>),
    Steady(Vec<Way>),
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
            .map(|host| (Undo::Restart(host), 50 * MILLISECOND..10 * SECOND))
            .map(Some),
    };
    world.act(|state| {
        if let Some(lasting) = struck {
            *state.plague.counts.entry(kind.name()).or_insert(0) += 1;
            if let Some((undo, span)) = lasting {
                let span = state.span(kind, span);
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
        Undo::Restart(host) => {
            // The script may have been faster.
            if world.act(|state| state.machines[host as usize].crashed) {
                world.restart_host(host);
            }
        }
        Undo::Resume(host) => world.act(|state| state.resume(host)),
        Undo::Hurry(host) => world.act(|state| state.slow(host, 1)),
        Undo::Mend(ways) => world.act(|state| state.mend(&ways)),
        Undo::Release(ways) => world.act(|state| {
            for way in ways {
                state.change_wire("release", way, |wire| wire.held = false);
            }
        }),
        Undo::Steady(ways) => world.act(|state| {
            for way in ways {
                state.change_wire("steady", way, |wire| wire.flapping = None);
            }
        }),
    }
}

/// How a fault ends, and after how long.
type Lasting = Option<(Undo, Range<u64>)>;

impl State {
    /// A time between the two, in nanoseconds.
    fn span(&mut self, kind: FaultKind, between: Range<u64>) -> u64 {
        between.start + self.draw(kind, between.end - between.start)
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
    fn strike(&mut self, kind: FaultKind) -> Option<Lasting> {
        match kind {
            FaultKind::Pause => {
                let host = self.victim(kind, Whom::Anyone)?;
                let paused = self.pause(host);
                paused.then_some(Some((Undo::Resume(host), 10 * MILLISECOND..5 * SECOND)))
            }
            FaultKind::Slow => {
                let host = self.victim(kind, Whom::Anyone)?;
                let factor = 2 + self.draw(kind, 999) as u32;
                self.slow(host, factor);
                Some(Some((Undo::Hurry(host), 100 * MILLISECOND..5 * SECOND)))
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
                let by = self.span(kind, 10 * MILLISECOND..5 * SECOND);
                self.record(EventKind::Fault, "stall", u64::from(host), by);
                self.stall_jobs(host, by);
                Some(None)
            }
            FaultKind::Partition => {
                let count = self.machines.len() as u32;
                let sides: Vec<u64> = (0..count).map(|_| self.draw(kind, 2)).collect();
                let apart = |from: u32, to: u32| sides[from as usize] != sides[to as usize];
                let ways = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
                self.cut_for_a_while(ways.filter(|way| apart(way.0, way.1)).collect())
            }
            FaultKind::Isolation => {
                let host = self.victim(kind, Whom::Anyone)?;
                let others = (0..self.machines.len() as u32).filter(|&other| other != host);
                self.cut_for_a_while(
                    others
                        .flat_map(|other| [(host, other), (other, host)])
                        .collect(),
                )
            }
            FaultKind::OneWay => {
                let way = self.victims(kind)?;
                self.cut_for_a_while(vec![way])
            }
            FaultKind::Hold => {
                let (one, other) = self.victims(kind)?;
                let ways = vec![(one, other), (other, one)];
                for &way in &ways {
                    self.change_wire("hold", way, |wire| wire.held = true);
                }
                Some(Some((Undo::Release(ways), 10 * MILLISECOND..5 * SECOND)))
            }
            FaultKind::Clog => {
                let (one, other) = self.victims(kind)?;
                for way in [(one, other), (other, one)] {
                    let span = self.span(kind, 10 * MILLISECOND..3 * SECOND);
                    self.clog_wire(way, span);
                }
                Some(None)
            }
            FaultKind::Spike => {
                let (one, other) = self.victims(kind)?;
                let longer = self.span(kind, MILLISECOND..2 * SECOND);
                let span = self.span(kind, 100 * MILLISECOND..5 * SECOND);
                let spike = (self.now.saturating_add(span), longer);
                for way in [(one, other), (other, one)] {
                    self.change_wire("spike", way, |wire| wire.spike = Some(spike));
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
                    self.change_wire("flap", way, |wire| wire.flapping = Some(flapping));
                }
                Some(Some((Undo::Steady(ways), SECOND..10 * SECOND)))
            }
            _ => None,
        }
    }

    fn cut_for_a_while(&mut self, ways: Vec<Way>) -> Option<Lasting> {
        if ways.is_empty() {
            return None;
        }
        self.cut(&ways);
        Some(Some((Undo::Mend(ways), 10 * MILLISECOND..10 * SECOND)))
    }

    fn mend(&mut self, ways: &[Way]) {
        for &way in ways {
            self.change_wire("mend", way, |wire| wire.cut = false);
        }
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
