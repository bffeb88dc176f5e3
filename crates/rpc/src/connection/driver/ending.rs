//! How a connection ends, and what ends with it.

use bowline_backend::stream::ByteStream;
use bowline_backend::time::Instant;

use super::{Driver, Host, LINGER};
use crate::context::DISCONNECTED;
use crate::proto::{CloseCause, Event};

impl<S: ByteStream, H: Host> Driver<S, H> {
    /// The connection is over, which everybody hears of at once; what is left is to say why.
    pub(super) fn over(&mut self, now: Instant, cause: CloseCause) {
        match cause {
            // It does not listen, or nobody knows who it is.
            CloseCause::Broken(_) | CloseCause::HeartbeatTimeout | CloseCause::HandshakeTimeout => {
                self.writing = false;
            }
            // Answers are under way to a peer that reads them, however slowly.
            CloseCause::Closed(_) => {}
            _ => self.last_words = Some(now.saturating_add(LINGER)),
        }
        self.host.event(Event::Closed(cause.clone()));
        self.cause = Some(cause);
        self.stop();
    }

    /// Whether this side closes the connection amid its handshake: nobody waits for what strangers make of
    /// that, who may come again.
    pub(super) fn is_of_a_stranger_cut_off(&self) -> bool {
        matches!(self.cause, Some(CloseCause::Closed(_))) && self.mailbox.peer().is_none()
    }

    /// Ends what others wait for here; again is fine.
    pub(super) fn stop(&mut self) {
        // Invariant D5.
        while self.host.rouse() {}
        if !self.running.is_empty() {
            self.host.abandoned(self.running.len());
        }
        self.request_all(DISCONNECTED);
        self.running.clear();
        self.flows.clear();
        self.mailbox.end();
    }
}

impl<S: ByteStream, H: Host> Drop for Driver<S, H> {
    fn drop(&mut self) {
        self.stop();
    }
}
