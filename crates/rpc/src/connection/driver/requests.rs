//! What callers and handlers ask of a connection.

use std::cmp::Reverse;
use std::time::Duration;

use bowline_backend::stream::ByteStream;
use bowline_backend::time::Instant;

use super::{Driver, Host, SETTLING};
use crate::Code;
use crate::connection::mailbox::Mail;
use crate::executor::JobEnd;
use crate::proto::{CallId, CancelReason, Command, Failure, Rejected, StreamEnd};
use crate::span::Unnumbered;

impl<S: ByteStream, H: Host> Driver<S, H> {
    pub(super) fn handle(&mut self, now: Instant, mail: Mail) {
        match mail {
            Mail::Open {
                ticket,
                open,
                flow,
                span,
            } => {
                if !self.mailbox.is_wanted(ticket) {
                    return;
                }
                match self.machine.command(now, Command::Open(open)) {
                    Ok(call) => {
                        let slot = call.slot();
                        if self.tickets.len() <= slot {
                            let none = (usize::MAX, Unnumbered::default());
                            self.tickets.resize(slot + 1, none);
                        }
                        self.tickets[slot] = (ticket, span);
                        if !self.mailbox.sent(ticket, call) {
                            self.cancel(now, call, CancelReason::Dropped);
                        } else if let Some(flow) = flow {
                            self.open_flow(now, call, *flow);
                        }
                    }
                    Err(rejected) => {
                        let (refused, wakers) = (Err(rejected.into()), &mut self.wakers);
                        self.mailbox.settle_ticket(ticket, refused, None, wakers);
                    }
                }
            }
            Mail::Cancel(call) => self.cancel(now, call, CancelReason::Dropped),
            Mail::Answer { call, end } => {
                if self.flows.is_empty() {
                    self.answer(now, call, end);
                } else {
                    self.answer_behind_items(now, call, end);
                }
            }
            Mail::LookAt(call) => self.look_at(now, call),
            Mail::Took { call, amount } => self.consumed(now, call, amount),
            Mail::Awaits(call) => self.machine.awaited(call),
            Mail::NotificationTaken { dropped } => {
                if dropped {
                    self.machine.drop_notification();
                } else {
                    let call = CallId::CONNECTION;
                    let _ = self
                        .machine
                        .command(now, Command::Consumed { call, amount: 1 });
                }
            }
            Mail::Close { code, message } => self.close(now, code, message),
            Mail::Drain { within } => {
                // What is on its way from the peer is still taken, and it sends no more; so none of its
                // calls has to be refused.
                if let Some(withdraw) = self.host.leaving() {
                    // Rejected before the handshake is done: then nothing was offered.
                    let _ = self.machine.command(now, withdraw);
                }
                if self.machine.command(now, Command::Drain { within }).is_ok() {
                    let settled = now + SETTLING.min(within / 4);
                    self.leaving = Some((settled, within));
                } else {
                    self.leave(now, within);
                }
            }
            // Before, nothing was told that could be stale.
            Mail::Refresh => {
                self.stale = self.machine.is_ready();
                self.tell_changes(now);
            }
            // The turn looks whether the connection is to end.
            Mail::Release => {}
            Mail::CancelAll => {
                self.request_all("the drain is over");
                self.give_up_answered(now);
                for call in self.mailbox.sent_calls() {
                    self.cancel(now, call, CancelReason::Drain);
                }
            }
        }
    }

    /// Answers a call of the peer.
    pub(super) fn answer(&mut self, now: Instant, call: CallId, end: JobEnd) {
        if self.running.remove(&call).is_some() {
            self.host.ended(&end);
        }
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
            } => {
                let mut failure = Failure::new(code).certainty(certainty).message(message);
                if code == Code::Overloaded && certainty.did_not_run() {
                    let after = self.host.retry_after();
                    failure = failure.retry_after(after.unwrap_or_default());
                }
                Command::Fail { call, failure }
            }
        };
        // Rejected only if the connection is over: then the peer waits no more.
        let _ = self.machine.command(now, command);
    }

    /// Has the machine tell what is offered, as far as it takes that; whether it took any.
    pub(super) fn tell_changes(&mut self, now: Instant) -> bool {
        let mut taken = false;
        loop {
            let Some(change) = self.changes.pop_front() else {
                // Asked as late as can be: what came and went meanwhile, the peer need not hear of.
                if !std::mem::take(&mut self.stale) {
                    return taken;
                }
                self.changes
                    .extend(self.host.refresh().into_iter().flatten());
                continue;
            };
            match self.machine.command(now, change.clone()) {
                Ok(_) => taken = true,
                Err(Rejected::NoRoom) => {
                    self.changes.push_front(change);
                    return taken;
                }
                // It never takes it: there are more than this side may have, or the connection is over.
                Err(_) => {}
            }
        }
    }

    /// Cancels what the peer called, the last first, so that none begins in the place of one that ends.
    #[expect(clippy::disallowed_methods, reason = "what it gives is sorted")]
    pub(super) fn request_all(&self, reason: &'static str) {
        let mut running: Vec<_> = self.running.iter().collect();
        running.sort_unstable_by_key(|(call, _)| Reverse(**call));
        for (_, job) in running {
            job.request(reason);
        }
    }

    /// Takes no new call from now on.
    pub(super) fn leave(&mut self, now: Instant, within: Duration) {
        self.draining = Some(within);
        // Rejected before the handshake is done: then the peer hears of it when it is.
        let _ = self.machine.command(now, Command::Leave { within });
    }

    /// Closes the connection, once all that came is dealt with, if no call is in flight and the host needs it
    /// no more; whether it did.
    pub(super) fn close_if_idle(&mut self, now: Instant) -> bool {
        if self.machine.has_partial_calls() {
            return false;
        }
        if !std::mem::replace(&mut self.left, true) {
            self.host.left();
        }
        if !self.running.is_empty()
            || !self.mailbox.is_idle()
            || self.machine.is_sending()
            || self.host.is_needed()
        {
            return false;
        }
        self.draining = None;
        self.close(now, Code::Draining, "");
        true
    }

    fn close(&mut self, now: Instant, code: Code, message: &str) {
        if let Some(kind) = self.broken.take() {
            // Nobody would hear why it ends, and what the stream has not taken was never sent.
            self.reading = false;
            self.machine.handle_end(now, StreamEnd::Broken(kind));
            return;
        }
        let message = message.into();
        let _ = self.machine.command(now, Command::Close { code, message });
    }

    pub(super) fn cancel(&mut self, now: Instant, call: CallId, reason: CancelReason) {
        // Rejected if the outcome was faster.
        let _ = self.machine.command(now, Command::Cancel { call, reason });
    }
}
