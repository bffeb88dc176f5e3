//! Hosts that lose their power.
//!
//! Invariants
//! 1. What a host has ends before its futures are dropped: their destructors run in a void, and
//!    nothing they do reaches the network, a timer, a path or another host.
//! 2. While the power is off whatever is sent to the host is lost. A host that has power again knows
//!    of nothing that was before, and answers what belongs to it as a kernel answers a stranger.

use crate::machine::Life;
use crate::state::{Running, State};
use crate::table::SocketRef;
use crate::tcp::TimeWaits;
use crate::trace::EventKind;

impl State {
    /// Takes the power from `host`; whether it had any. Its futures are still there.
    pub(crate) fn cut_power(&mut self, host: u32) -> bool {
        let machine = &mut self.machines[host as usize];
        if machine.off {
            return false;
        }
        machine.off = true;
        if machine.life.is_alive() {
            machine.life = Life::Void;
        }
        self.running = Some(Running {
            host,
            task: None,
            number: 0,
        });
        self.cause = self.record(EventKind::Fault, "power loss", u64::from(host), 0);
        for socket in self.net.of_host(host) {
            self.leave_unanswered(socket);
            self.remove_socket(socket);
        }
        for socket in self.udp.refs_of(host) {
            self.close_udp(socket);
        }
        for socket in self.unix.refs_of(host) {
            self.close_unix(socket);
        }
        for listener in self.signals.refs_of(host) {
            self.drop_signal(listener);
        }
        self.drop_timers(host);
        // What a kernel remembers of its connections goes with the kernel.
        self.machines[host as usize].time_waits = TimeWaits::default();
        self.running = None;
        true
    }

    /// Whether a segment from one socket to another comes to a host without power.
    pub(crate) fn is_to_the_void(&mut self, from: SocketRef, to: SocketRef) -> bool {
        if self.net.stream(to).is_some() {
            return false;
        }
        // The host that had the socket is the sender's remote host.
        let host = self.net.stream(from).map(|stream| stream.remote_host);
        host.is_some_and(|host| self.machines[host as usize].off)
    }
}
