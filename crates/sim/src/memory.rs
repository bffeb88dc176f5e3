//! What the sockets of a host buffer together.
//!
//! Invariants
//! 1. `buffered` of a host is what its TCP streams have unsent, in flight and unread, and what its Unix
//!    sockets have unread; `datagram_bytes` is the same of UDP. The limit is on the sum.
//!    `net.buffered` is that of all hosts.
//! 2. What a peer was promised always fits: the limit stops who sends, and datagrams that arrive.
//! 3. A TCP stream without bytes of its own never waits for memory, so no two wait for each other.
//! 4. Who waits for memory is in `short_of_memory`, and is woken when there is some.

use crate::machine::Machine;
use crate::state::State;

impl Machine {
    /// What its sockets buffer.
    pub(crate) fn buffered_in_all(&self) -> usize {
        self.buffered + self.datagram_bytes
    }

    /// So many bytes more may be buffered.
    pub(crate) fn spare(&self) -> usize {
        let limit = self.limits.buffered_bytes;
        limit.saturating_sub(self.buffered_in_all())
    }

    /// So many bytes more of datagrams may be.
    pub(crate) fn datagram_spare(&self) -> usize {
        let limit = self.limits.datagram_bytes;
        limit.saturating_sub(self.datagram_bytes).min(self.spare())
    }
}

impl State {
    /// Bytes came into a buffer of `host`.
    pub(crate) fn occupy(&mut self, host: u32, bytes: usize) {
        self.machines[host as usize].buffered += bytes;
        self.net.gain(bytes);
    }

    /// Bytes left a buffer of `host`.
    pub(crate) fn vacate(&mut self, host: u32, bytes: usize) {
        self.machines[host as usize].buffered -= bytes;
        self.net.buffered -= bytes;
        self.share_memory(host);
    }

    /// Datagrams came into a buffer of `host`, with their records.
    pub(crate) fn occupy_datagrams(&mut self, host: u32, bytes: usize) {
        self.machines[host as usize].datagram_bytes += bytes;
        self.net.gain(bytes);
    }

    /// Datagrams left a buffer of `host`, with their records.
    pub(crate) fn vacate_datagrams(&mut self, host: u32, bytes: usize) {
        self.machines[host as usize].datagram_bytes -= bytes;
        self.net.buffered -= bytes;
        self.share_memory(host);
    }

    /// Wakes who waits for memory, if there is some.
    pub(crate) fn share_memory(&mut self, host: u32) {
        let machine = &mut self.machines[host as usize];
        if machine.short_of_memory.is_empty() || machine.spare() == 0 {
            return;
        }
        for socket in std::mem::take(&mut machine.short_of_memory) {
            let stream = self.net.stream(socket);
            let writer = stream.and_then(|stream| stream.write_waker.take());
            self.wake(writer);
        }
    }
}
