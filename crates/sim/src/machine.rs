//! What a world keeps of one host.

use crate::errno::Errno;
use crate::event::{EventKey, Scheduled};
use crate::faults::Lasting;
use crate::host::Signal;
use crate::limits::HostLimits;
use crate::ports::PortUse;
use crate::table::SocketRef;
use crate::tcp::TimeWaits;
use crate::unix::{Node, Style};
use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::panic::Location;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub(crate) type MainFuture = Pin<Box<dyn Future<Output = Result<(), String>>>>;
pub(crate) type Start = Rc<dyn Fn() -> MainFuture>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Serves; its end is its own affair.
    Host,
    /// Serves; an error or panic of it fails the run.
    FaithfulHost,
    /// The run ends when all clients are done; an error or panic of one fails it.
    Client,
    /// The one host of `block_on`: its task's panics are contained as on a real runtime.
    Main,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// Its main task is done by itself; what is left of it goes on.
    Settling,
    /// Its tasks are being dropped; what they spawn is dropped unpolled.
    Closing,
    /// It was killed or has lost its power, and its tasks are being dropped: nothing they do has an
    /// effect.
    Void,
    Ended,
}

impl Life {
    /// Whether its code runs.
    pub(crate) fn is_alive(self) -> bool {
        matches!(self, Life::Running | Life::Settling)
    }
}

/// Wall clock when a world begins: 2020-01-01 00:00:00 UTC.
const EPOCH: Duration = Duration::from_secs(1_577_836_800);

/// A clock that only goes forward, faster or slower than the world's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Parts per million by which it is too fast.
    pub(crate) drift: i32,
    /// Since this time of the world.
    since: u64,
    /// What it showed then.
    showed: u64,
}

impl Clock {
    const MILLION: i128 = 1_000_000;

    /// What it shows at a time of the world.
    pub(crate) fn shows(self, world: u64) -> u64 {
        let elapsed = i128::from(world) - i128::from(self.since);
        let gained = elapsed * i128::from(self.drift) / Clock::MILLION;
        u64::try_from(i128::from(self.showed) + elapsed + gained).unwrap_or(u64::MAX)
    }

    /// The first time of the world, not before the last change, at which it shows `time`.
    pub(crate) fn reaches(self, time: u64) -> u64 {
        let ahead = time.saturating_sub(self.showed);
        if self.drift == 0 {
            return self.since.saturating_add(ahead);
        }
        let rate = Clock::MILLION + i128::from(self.drift);
        let world = i128::from(self.since) + i128::from(ahead) * Clock::MILLION / rate;
        let mut world = u64::try_from(world).unwrap_or(u64::MAX).saturating_sub(1);
        world = world.max(self.since);
        while self.shows(world) < time && world < u64::MAX {
            world += 1;
        }
        world
    }

    /// The clock from the world's time `now` on, going at another rate.
    pub(crate) fn at_rate(self, now: u64, drift: i32) -> Clock {
        Clock {
            drift,
            since: now,
            showed: self.shows(now),
        }
    }
}

/// A clock that shows the time of day, and may be set.
#[derive(Clone, Copy)]
pub(crate) struct WallClock {
    pub(crate) set_to: Duration,
    /// What the other clock showed when it was set.
    pub(crate) at: u64,
}

impl WallClock {
    pub(crate) fn shows(self, now: u64) -> Duration {
        self.set_to
            .saturating_add(Duration::from_nanos(now - self.at))
    }
}

pub(crate) type SlotValue = Arc<dyn Any + Send + Sync>;

pub(crate) struct Machine {
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    pub(crate) life: Life,
    /// Whether it has no power.
    pub(crate) off: bool,
    /// Whether it ended by a crash, and was not started since.
    pub(crate) crashed: bool,
    /// Whether it is a client that a crash kept from being done, and that was not started since.
    pub(crate) broken_off: bool,
    /// Whether it is a client whose crash is no matter.
    pub(crate) may_crash: bool,
    /// Whether the script crashed it, and did not start it since.
    pub(crate) kept_down: bool,
    /// What its main task runs, at each start anew; none for the future of `block_on`.
    pub(crate) start: Option<Start>,
    pub(crate) location: Option<&'static Location<'static>>,
    pub(crate) incarnation: u32,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
    pub(crate) next_task: u32,
    pub(crate) outcome: Option<Result<(), String>>,
    /// Insertion ordered, found by type: a type's id is never iterated by.
    pub(crate) slots: Vec<(TypeId, SlotValue)>,
    /// What uses a local port of TCP, if anything does.
    pub(crate) ports: BTreeMap<u16, PortUse>,
    pub(crate) time_waits: TimeWaits,
    pub(crate) listeners: BTreeMap<u16, Vec<SocketRef>>,
    pub(crate) udp_ports: BTreeMap<u16, Vec<SocketRef>>,
    /// Datagrams sent and not arrived, and those that wait to be received.
    pub(crate) datagram_bytes: usize,
    /// What streams, and datagrams of Unix sockets, have in its buffers.
    pub(crate) buffered: usize,
    /// The streams whose writers wait until its sockets buffer less.
    pub(crate) short_of_memory: BTreeSet<SocketRef>,
    /// Paths outlive their sockets and the host's lives.
    pub(crate) paths: BTreeMap<PathBuf, Node>,
    pub(crate) next_inode: u64,
    /// Abstract names of Unix sockets. Streams and datagrams have names of their own.
    pub(crate) names: BTreeMap<(Style, Vec<u8>), SocketRef>,
    /// Those the present life ever listened for.
    pub(crate) handled_signals: Vec<Signal>,
    /// Timers that its tasks hold, due or not.
    pub(crate) timers: usize,
    pub(crate) running_jobs: usize,
    pub(crate) waiting_jobs: VecDeque<usize>,
    /// When it must be gone, if it is done.
    pub(crate) unsettled: Option<EventKey>,
    /// What came due while it was paused.
    pub(crate) put_off: Vec<Scheduled>,
    /// Who paused it.
    pub(crate) paused: Lasting<()>,
    /// By what its polls take longer.
    pub(crate) slowed: Lasting<u32>,
    pub(crate) clock: Clock,
    /// The drift it was built with.
    pub(crate) drift: i32,
    pub(crate) wall_clock: WallClock,
    pub(crate) limits: HostLimits,
    /// Sockets that programs of the host hold.
    descriptors: usize,
}

impl Machine {
    pub(crate) fn new(index: usize, name: &str, role: Role, limits: HostLimits) -> Machine {
        let number = u32::try_from(index + 1).expect("fewer than 2^24 hosts");
        let [_, a, b, c] = number.to_be_bytes();
        Machine {
            name: Arc::from(name),
            role,
            life: Life::Running,
            off: false,
            crashed: false,
            broken_off: false,
            may_crash: false,
            kept_down: false,
            start: None,
            location: None,
            incarnation: 0,
            v4: Ipv4Addr::new(10, a, b, c),
            v6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, (number >> 16) as u16, number as u16),
            next_task: 0,
            outcome: None,
            slots: Vec::new(),
            ports: BTreeMap::new(),
            time_waits: TimeWaits::default(),
            listeners: BTreeMap::new(),
            udp_ports: BTreeMap::new(),
            datagram_bytes: 0,
            buffered: 0,
            short_of_memory: BTreeSet::new(),
            paths: BTreeMap::new(),
            next_inode: 0,
            names: BTreeMap::new(),
            handled_signals: Vec::new(),
            timers: 0,
            running_jobs: 0,
            waiting_jobs: VecDeque::new(),
            unsettled: None,
            put_off: Vec::new(),
            paused: Lasting::default(),
            slowed: Lasting::default(),
            clock: Clock::default(),
            drift: 0,
            wall_clock: WallClock {
                set_to: EPOCH,
                at: 0,
            },
            limits,
            descriptors: 0,
        }
    }

    /// The host that has `ip`, in canonical form, if any has.
    pub(crate) fn numbered_by(ip: IpAddr) -> Option<u32> {
        let number = match ip {
            IpAddr::V4(ip) => u32::from(ip) & 0x00ff_ffff,
            IpAddr::V6(ip) => ip.to_bits() as u32,
        };
        number.checked_sub(1)
    }

    /// Whether `ip`, in canonical form, is an address a socket of this host can have.
    pub(crate) fn owns(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || ip == IpAddr::V4(self.v4) || ip == IpAddr::V6(self.v6)
    }

    /// By what its polls take longer.
    pub(crate) fn slowness(&self) -> u32 {
        self.slowed.iter().copied().max().unwrap_or(1)
    }

    /// Whether the present life ever listened for `signal`.
    pub(crate) fn handles(&self, signal: Signal) -> bool {
        self.handled_signals.contains(&signal)
    }

    /// A descriptor for a socket that is being made.
    pub(crate) fn take_descriptor(&mut self) -> Result<(), Errno> {
        if self.life == Life::Void {
            return Err(Errno::InputOutput);
        }
        if self.descriptors >= self.limits.descriptors {
            return Err(Errno::TooManyFiles);
        }
        self.descriptors += 1;
        Ok(())
    }

    pub(crate) fn descriptors(&self) -> usize {
        self.descriptors
    }

    pub(crate) fn free_descriptor(&mut self) {
        self.descriptors -= 1;
    }

    /// Forgets what an incarnation had; its sockets and tasks are gone already.
    pub(crate) fn reset(&mut self) {
        self.life = Life::Ended;
        self.incarnation += 1;
        self.handled_signals.clear();
        self.running_jobs = 0;
        self.waiting_jobs.clear();
        self.put_off.clear();
        self.paused.end_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_their_host() {
        for index in [0, 1, 254, 255, 65_534, 65_535, 70_000, 16_777_213] {
            let machine = Machine::new(index, "host", Role::Host, HostLimits::default());
            for ip in [IpAddr::V4(machine.v4), IpAddr::V6(machine.v6)] {
                assert_eq!(Machine::numbered_by(ip), Some(index as u32));
                assert!(machine.owns(ip));
            }
        }
        let nobody = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0));
        assert_eq!(Machine::numbered_by(nobody), None);
    }
}
