//! What limits add up to.

use std::fmt;

use super::Limits;

/// The worst case of [`Limits`], in bytes. `Display` prints it by parts, and how many connections are accepted:
/// those that the broker opens itself, one for each endpoint it was told to, come on top.
#[derive(Clone, Debug)]
pub struct LimitsReport {
    pub(super) limits: Limits,
}

/// What a connection holds besides bodies: fixed tables, control frames, the queue of events.
const FIXED: usize = 2 * 1024 * 1024;
/// Table entry, queue entry and event of one call, with room for doubling tables.
const PER_CALL: usize = 1024;
/// Extensions of one call besides its metadata.
pub(crate) const KNOWN: usize = 1024;
/// A received body keeps at most so many times its size.
pub(crate) const PINNED: usize = 8;
/// Messages of the peer's calls that may be let in beyond the budget: arguments of each hop level, and an item.
const BEYOND_OF_THEIRS: usize = 10;
/// Those of our calls: a reply and an item.
const BEYOND_OF_OURS: usize = 2;
/// One advertised method: its name and its entries.
const PER_METHOD: usize = 1024;

impl LimitsReport {
    /// Most bytes of calls of ours that wait for a slot.
    pub fn queue(&self) -> usize {
        self.limits.queue_bytes + self.limits.queue_calls * PER_CALL
    }

    /// Most bytes of calls in flight, both directions: arguments and items not yet taken by the program,
    /// what handlers and callers send and the transport has not taken, replies not yet taken by the caller.
    pub fn in_flight(&self) -> usize {
        self.called() + self.calling()
    }

    /// The part of it that a peer can cause by its calls, whatever it asks for and however little it takes
    /// of the answers. What handlers hold is not in it, what they were given and did not take included: they are
    /// no more than the workers of the executor, and each may have one long item that waits for room.
    pub fn called(&self) -> usize {
        let limits = &self.limits;
        let (frame, window) = (limits.max_frame as usize, limits.call_window as usize);
        let open = 4 * usize::from(limits.max_metadata) + KNOWN;
        // What was received is a window, and the arguments of a call with items besides, which count as taken.
        // Items of a handler are a window, and its answer is another or an error; longer ones share their own
        // limit.
        let received = 2 * PINNED * window + open;
        let per_slot = received + window + window.max(frame) + 2 * PER_CALL;
        let notifications = limits.notify_window as usize * (PINNED * frame + open + PER_CALL);
        let long = limits.reassembly + BEYOND_OF_THEIRS * limits.max_message as usize;
        limits.slots() * per_slot + notifications + limits.reply_bytes + long
    }

    /// The part of it that is due to calls of ours that the peer answers.
    pub fn calling(&self) -> usize {
        let limits = &self.limits;
        let (frame, window) = (limits.max_frame as usize, limits.call_window as usize);
        // Replies and items, or the error; and our own items. Long ones share the limit of the queue.
        let per_slot = PINNED * window + frame + window + 2 * PER_CALL;
        let long = limits.reassembly + BEYOND_OF_OURS * limits.max_message as usize;
        limits.slots() * per_slot + limits.queue_bytes + long
    }

    /// Most bytes of the table of the peer's methods and of changes to it not yet taken.
    pub fn methods(&self) -> usize {
        2 * self.limits.max_methods as usize * PER_METHOD
    }

    /// Most bytes of the protocol state of one connection, buffers of the driver not counted.
    pub fn connection(&self) -> usize {
        FIXED + self.queue() + self.in_flight() + self.methods()
    }
}

impl fmt::Display for LimitsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "queue      {:>14} bytes", self.queue())?;
        writeln!(f, "called     {:>14} bytes", self.called())?;
        writeln!(f, "calling    {:>14} bytes", self.calling())?;
        writeln!(f, "methods    {:>14} bytes", self.methods())?;
        writeln!(f, "connection {:>14} bytes", self.connection())?;
        write!(f, "accepted   {:>14}", self.limits.connections)
    }
}
