//! What faults a run has: drawn before anything else happens.

use super::{FaultKind, Faults};
use crate::event::Event;
use crate::link::Link;
use crate::oracle::Scope;
use crate::state::State;
use crate::strategy::Ready;
use crate::task::Task;
use std::time::Duration;

const MILLISECOND: u64 = 1_000_000;
/// How long it takes on average until a kind of fault strikes again; the first is the tame one.
const GAPS: [u64; 5] = [
    10_000 * MILLISECOND,
    3_000 * MILLISECOND,
    1_000 * MILLISECOND,
    300 * MILLISECOND,
    100 * MILLISECOND,
];
const LOSSES: [f64; 4] = [0.001, 0.01, 0.05, 0.2];
const DESCRIPTORS: [usize; 4] = [512, 128, 64, 32];
const PORTS: [u16; 4] = [1000, 500, 200, 100];
/// How probable it is that a burst of losses begins with a packet, and that it ends with one.
const BEGINS: [f64; 3] = [0.001, 0.005, 0.02];
const ENDS: [f64; 3] = [0.7, 0.5, 0.3];
/// Bytes a second.
const BANDWIDTHS: [u64; 3] = [1_000_000, 200_000, 50_000];
const QUEUES: [u64; 3] = [256 * 1024, 64 * 1024, 16 * 1024];
/// The least that IPv6 asks for, that IPv4 does, and that there is.
const MTUS: [u32; 3] = [1_280, 576, 68];
const FORGET_AFTER: [u64; 4] = [300, 60, 15, 5];
const BUFFERS: [usize; 5] = [16 * 1024, 4096, 512, 16, 1];
/// The last are the least that Linux has.
const SEND_BUFFERS: [usize; 4] = [64 * 1024, 16 * 1024, 8 * 1024, 4608];
const RECV_BUFFERS: [usize; 4] = [64 * 1024, 16 * 1024, 8 * 1024, 2304];
const DATAGRAM_BYTES: [usize; 4] = [1024 * 1024, 256 * 1024, 64 * 1024, 16 * 1024];
const BUFFERED_BYTES: [usize; 4] = [16 * 1024 * 1024, 4 * 1024 * 1024, 1024 * 1024, 256 * 1024];
/// The longest that an answer takes, in milliseconds.
const NAME_DELAYS: [u64; 4] = [50, 300, 1_000, 4_000];
const NAME_FAILURES: [f64; 4] = [0.01, 0.05, 0.2, 0.5];
const NAME_SILENCES: [f64; 4] = [0.0, 0.01, 0.05, 0.2];

impl State {
    /// A choice about faults of a kind.
    pub(super) fn draw(&mut self, kind: FaultKind, count: u64) -> u64 {
        self.oracle.choose(kind.label(), Scope::World, count)
    }

    fn draw_of<T: Copy>(&mut self, kind: FaultKind, values: &[T]) -> T {
        values[self.draw(kind, values.len() as u64) as usize]
    }

    /// Draws the faults of the run and starts them.
    pub(crate) fn infect(&mut self, faults: &Faults) {
        for &kind in &faults.kinds {
            if faults.drawn && self.draw(kind, 2) == 0 {
                continue;
            }
            if kind.strikes() {
                let gap = self.draw_of(kind, &GAPS);
                self.plague.gaps.insert(kind, gap);
                self.await_strike(kind, gap);
            } else {
                *self.plague.counts.entry(kind.name()).or_insert(0) += 1;
                self.hold_until_the_heal(kind);
            }
        }
    }

    /// Lets a kind strike after half to one and a half of `gap`.
    pub(super) fn await_strike(&mut self, kind: FaultKind, gap: u64) {
        let after = gap / 2 + self.draw(kind, gap);
        self.push_fault(Event::Fault(kind), after);
    }

    pub(super) fn push_fault(&mut self, event: Event, after: u64) {
        let at = self.now.saturating_add(after);
        let key = self.events.push(at, 0, event, self.cause);
        self.plague.pending.insert(key);
    }

    fn hold_until_the_heal(&mut self, kind: FaultKind) {
        match kind {
            FaultKind::Loss => {
                let probability = self.draw_of(kind, &LOSSES);
                self.change_links(|link| link.loss(probability));
            }
            FaultKind::Bursts => {
                let begin = self.draw_of(kind, &BEGINS);
                let end = self.draw_of(kind, &ENDS);
                self.change_links(|link| link.loss_bursts(begin, end, 1.0));
            }
            FaultKind::Bandwidth => {
                let bandwidth = self.draw_of(kind, &BANDWIDTHS);
                let queue = self.draw_of(kind, &QUEUES);
                self.change_links(|link| link.bandwidth(bandwidth).queue(queue));
            }
            FaultKind::Mtu => {
                let mtu = self.draw_of(kind, &MTUS);
                self.change_links(|link| link.mtu(mtu));
            }
            FaultKind::Forgetting => {
                let after = Duration::from_secs(self.draw_of(kind, &FORGET_AFTER));
                self.change_links(|link| link.forget_idle(after));
            }
            FaultKind::Jitter => {
                let most = Duration::from_millis(1 + self.draw(kind, 100));
                self.change_links(|link| link.jitter(most));
            }
            FaultKind::Datagrams => {
                let doubled = self.draw_of(kind, &LOSSES);
                let overtaken = self.draw_of(kind, &LOSSES);
                let later = Duration::from_millis(1 + self.draw(kind, 50));
                let change = |link: Link| link.duplication(doubled).reordering(overtaken, later);
                self.change_links(change);
            }
            FaultKind::TimerJitter => {
                self.plague.timer_jitter = Some(self.draw(kind, MILLISECOND) + 1);
            }
            FaultKind::Scheduling => {
                let hosts = self.machines.len() as u64;
                let ready = match self.draw(kind, 2 + hosts) {
                    0 => Ready::by_hosts(),
                    1 => Ready::line(false),
                    host => {
                        self.starved_host = Some((host - 2) as u32);
                        Ready::starving()
                    }
                };
                let starved = self.starved_host;
                let starves = |task: &Task| task.starved || Some(task.host) == starved;
                self.tasks.pick_by(ready, self.now, starves);
                self.plague.picks = true;
            }
            FaultKind::Names => self.trouble_names(),
            FaultKind::Sites => self.plague.open_sites(),
            _ => self.limit_hosts(kind),
        }
    }

    /// Gives each host less of what it has, until the heal.
    fn limit_hosts(&mut self, kind: FaultKind) {
        if self.plague.limits.is_empty() {
            let limits = self.machines.iter().map(|machine| machine.limits);
            self.plague.limits = limits.collect();
        }
        for host in 0..self.machines.len() {
            let mut limits = self.machines[host].limits;
            match kind {
                FaultKind::Buffers => {
                    let send = self.draw_of(kind, &BUFFERS);
                    let receive = self.draw_of(kind, &BUFFERS);
                    limits.tcp_send_buffer = limits.tcp_send_buffer.min(send);
                    limits.tcp_recv_buffer = limits.tcp_recv_buffer.min(receive);
                }
                FaultKind::UdpBuffers => {
                    let send = self.draw_of(kind, &SEND_BUFFERS);
                    let receive = self.draw_of(kind, &RECV_BUFFERS);
                    limits.udp_send_buffer = limits.udp_send_buffer.min(send);
                    limits.udp_recv_buffer = limits.udp_recv_buffer.min(receive);
                }
                FaultKind::UnixBuffers => {
                    let send = self.draw_of(kind, &SEND_BUFFERS);
                    limits.unix_send_buffer = limits.unix_send_buffer.min(send);
                }
                FaultKind::Memory => {
                    let datagrams = self.draw_of(kind, &DATAGRAM_BYTES);
                    let all = self.draw_of(kind, &BUFFERED_BYTES);
                    limits.datagram_bytes = limits.datagram_bytes.min(datagrams);
                    limits.buffered_bytes = limits.buffered_bytes.min(all);
                }
                FaultKind::Threads => {
                    let threads = 8 - self.draw(kind, 8) as usize;
                    limits.blocking_threads = limits.blocking_threads.min(threads);
                }
                FaultKind::Descriptors => {
                    let descriptors = self.draw_of(kind, &DESCRIPTORS);
                    limits.descriptors = limits.descriptors.min(descriptors);
                }
                FaultKind::Ports => {
                    let ports = self.draw_of(kind, &PORTS);
                    limits.ephemeral_ports = limits.ephemeral_ports.min(ports);
                }
                _ => {}
            }
            self.machines[host].limits = limits;
        }
    }

    /// Makes look-ups go wrong, until the heal.
    fn trouble_names(&mut self) {
        let kind = FaultKind::Names;
        let longest = Duration::from_millis(self.draw_of(kind, &NAME_DELAYS));
        let failure = self.draw_of(kind, &NAME_FAILURES);
        let silence = self.draw_of(kind, &NAME_SILENCES);
        let before = self.names.names;
        let after = before
            .delay(Duration::from_micros(100)..longest)
            .failure(failure)
            .silence(silence);
        self.plague.names = Some((before, after));
        self.names.names = after;
    }

    /// Makes all links other ones, until the heal.
    fn change_links(&mut self, change: impl Fn(Link) -> Link) {
        if self.plague.links.is_empty() {
            let links = self.net.wires.links().into_iter();
            self.plague.links = links.map(|(way, link)| (way, link, link)).collect();
        }
        for (way, _, now) in &mut self.plague.links {
            *now = change(*now);
            self.net.wires.set_link(*way, *now);
        }
    }
}
