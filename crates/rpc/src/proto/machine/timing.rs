//! What is due when.

use bowline_backend::time::Instant;
use bytes::BytesMut;

use super::{Machine, Phase, Sent};
use crate::Code;
use crate::proto::frame::PING;
use crate::proto::{CancelReason, CloseCause};

impl Machine {
    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.phase != Phase::Over
            && let Some(call) = self.outgoing.expired(now)
        {
            if let Some(ended) = self.outgoing.give_up(call, Some(CancelReason::Deadline)) {
                self.settle(ended, Code::DeadlineExceeded, Sent::HandedOut);
            }
        }
        match self.phase {
            // The silence before a CLOSE ends by itself: `poll_transmit` looks at the time.
            Phase::Over => {}
            Phase::Open => {
                self.adverts.pass(now);
                self.outlets.give_up_due(now);
                if now >= self.next_beat() {
                    if self.pinged_at.is_some() {
                        self.close(CloseCause::HeartbeatTimeout, Sent::HandedOut, None);
                    } else {
                        self.pinged_at = Some(now);
                        self.put_control(PING, 0, &now.as_nanos().to_be_bytes());
                    }
                }
            }
            _ => {
                if now >= self.handshake_deadline() {
                    self.close(CloseCause::HandshakeTimeout, Sent::HandedOut, None);
                    self.control = BytesMut::new();
                }
            }
        }
    }

    fn handshake_deadline(&self) -> Instant {
        self.started
            .saturating_add(self.config.limits.handshake_timeout)
    }

    fn next_beat(&self) -> Instant {
        match self.pinged_at {
            Some(at) => at.saturating_add(self.interval * 2),
            None => self.received_at.saturating_add(self.interval),
        }
    }

    /// When there is something to do next: by [`handle_timeout`](Self::handle_timeout), or once the
    /// connection is over, by [`poll_transmit`](Self::poll_transmit) if a last frame still waits;
    /// `None` if nothing is.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Over => return self.silent_until,
            Phase::Open => self
                .next_beat()
                .min(self.adverts.due().unwrap_or(Instant::NEVER))
                .min(self.outlets.next_due().unwrap_or(Instant::NEVER)),
            _ => self.handshake_deadline(),
        };
        Some(
            self.outgoing
                .next_deadline()
                .map_or(own, |deadline| deadline.min(own)),
        )
    }
}
