//! What is due when on a connection.

use std::task::Context;

use bowline_backend::stream::ByteStream;
use bowline_backend::time::{self, Instant};

use super::{Driver, Host};
use crate::proto::BrokenKind;

impl<S: ByteStream, H: Host> Driver<S, H> {
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let due = self.machine.poll_timeout().unwrap_or(Instant::NEVER);
        let stall = self.stalls_at.unwrap_or(Instant::NEVER);
        let leave = self.leaving.map_or(Instant::NEVER, |(at, _)| at);
        let last_words = self.last_words.unwrap_or(Instant::NEVER);
        let deadline = due.min(stall).min(leave).min(last_words);
        if deadline == Instant::NEVER {
            return false;
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(time::sleep_until(deadline)));
        // A timer that is early costs one look; moving it for every call would cost more.
        if timer.deadline() > deadline || timer.deadline() <= now {
            timer.as_mut().reset(deadline);
        }
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        let now = time::now();
        if due <= now {
            self.machine.handle_timeout(now);
            self.release();
        }
        if leave <= now
            && let Some((_, within)) = self.leaving.take()
        {
            self.leave(now, within);
        }
        if stall <= now {
            self.broken(BrokenKind::Stalled);
        }
        if last_words <= now {
            self.writing = false;
        }
        true
    }
}
