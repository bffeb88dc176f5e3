//! What callers and handlers ask of a connection.

use bowline_backend::stream::ByteStream;
use bowline_backend::time::Instant;

use super::{Driver, Host};
use crate::Code;
use crate::connection::mailbox::Mail;
use crate::executor::JobEnd;
use crate::proto::{CallId, CancelReason, Command, Failure};

impl<S: ByteStream, H: Host> Driver<S, H> {
    pub(super) fn handle(&mut self, now: Instant, mail: Mail) {
        match mail {
            Mail::Open { ticket, open } => {
                if !self.mailbox.is_wanted(ticket) {
                    return;
                }
                match self.machine.command(now, Command::Open(open)) {
                    Ok(call) => {
                        let slot = call.slot();
                        if self.tickets.len() <= slot {
                            self.tickets.resize(slot + 1, usize::MAX);
                        }
                        self.tickets[slot] = ticket;
                        if !self.mailbox.sent(ticket, call) {
                            self.cancel(now, call, CancelReason::Dropped);
                        }
                    }
                    Err(rejected) => {
                        self.mailbox
                            .settle_ticket(ticket, Err(rejected.into()), &mut self.wakers)
                    }
                }
            }
            Mail::Cancel(call) => self.cancel(now, call, CancelReason::Dropped),
            Mail::Answer { call, end } => {
                self.running.remove(&call);
                let command = match end {
                    JobEnd::Reply(body) => Command::Reply { call, body },
                    JobEnd::Application(body) => Command::Fail {
                        call,
                        failure: Failure::application(body),
                    },
                    JobEnd::Failed {
                        code,
                        certainty,
                        message,
                    } => Command::Fail {
                        call,
                        failure: Failure::new(code).certainty(certainty).message(message),
                    },
                };
                // Rejected only if the connection is over: then the peer waits no more.
                let _ = self.machine.command(now, command);
            }
            Mail::Close { code, message } => self.close(now, code, message),
            Mail::Drain { within } => {
                self.draining = true;
                // Rejected before the handshake is done: then there is no call to wait for.
                let _ = self.machine.command(now, Command::Leave { within });
            }
            Mail::CancelAll => {
                for job in self.running.values() {
                    job.request("the drain is over");
                }
                for call in self.mailbox.sent_calls() {
                    self.cancel(now, call, CancelReason::Drain);
                }
            }
        }
    }

    /// Closes the connection if no call is in flight; whether it did.
    pub(super) fn close_if_idle(&mut self, now: Instant) -> bool {
        if !self.running.is_empty() || !self.mailbox.is_idle() {
            return false;
        }
        self.draining = false;
        self.close(now, Code::Draining, "");
        true
    }

    fn close(&mut self, now: Instant, code: Code, message: &str) {
        let message = message.into();
        let _ = self.machine.command(now, Command::Close { code, message });
    }

    fn cancel(&mut self, now: Instant, call: CallId, reason: CancelReason) {
        // Rejected if the outcome was faster.
        let _ = self.machine.command(now, Command::Cancel { call, reason });
    }
}
