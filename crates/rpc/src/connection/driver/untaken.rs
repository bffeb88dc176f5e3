//! What the program has not taken, and what it waits for.

use bowline_backend::stream::ByteStream;
use bowline_backend::time::Instant;

use super::{Driver, Host};
use crate::connection::Untaken;
use crate::proto::{CallId, Command, IncomingCall, Starving, charge};

impl<S: ByteStream, H: Host> Driver<S, H> {
    /// The arguments of a call of the peer, if the machine is to hear when a handler has got them.
    pub(super) fn untaken(&self, incoming: &IncomingCall) -> Option<Untaken> {
        let charge = charge(incoming.body.len());
        let untaken = self.machine.is_untaken(incoming.call);
        untaken.then(|| Untaken::new(&self.mailbox, incoming.call, charge))
    }

    /// The program took what it had of a call, or so much of what came on it.
    pub(super) fn consumed(&mut self, now: Instant, call: CallId, amount: u64) {
        if amount > 0 {
            // Rejected if the call is over: then nothing is granted any more.
            let _ = self
                .machine
                .command(now, Command::Consumed { call, amount });
        }
    }

    /// Asks the program for which messages it waits of those that wait for it to take others.
    pub(super) fn ask(&mut self) {
        for Starving { call, reply } in self.machine.starving() {
            if !reply {
                let flow = self.flows.get(&call);
                if let Some(pipe) = flow.and_then(|it| it.pipes.from_peer.as_ref()) {
                    self.wakers.extend(pipe.ask());
                }
            } else if let Some((ticket, _)) = self.tickets.get(call.slot()) {
                // Invariant D2.
                self.wakers.extend(self.mailbox.ask(*ticket));
            }
        }
    }
}
