//! What a pipe holds, under its lock.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::Waker;

use super::{BETWEEN_LOOKS, Closed, End};
use crate::connection::Mailbox;
use crate::proto::CallId;
use crate::stream::Bunch;

pub(super) struct State {
    pub(super) items: VecDeque<Bunch>,
    /// Invariant P4.
    pub(super) charge: u64,
    pub(super) end: Option<End>,
    pub(super) closed: bool,
    /// The reader wants no more: items are taken as they come, and dropped.
    pub(super) discards: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// Of who is neither, and waits for the end.
    pub(super) watcher: Option<Waker>,
    pub(super) port: Option<Port>,
    /// The driver wants to know whether the reader waits.
    pub(super) asked: bool,
    /// It does, and was asked.
    pub(super) awaited: bool,
}

/// What a driver does at its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Reads,
    Writes,
}

/// The driver at one end.
pub(super) struct Port {
    pub(super) side: Side,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) call: CallId,
    pub(super) told: bool,
    /// Charge of items that were taken, of which the driver has not heard.
    pub(super) taken: u64,
    /// When it has to hear of it.
    pub(super) until: u64,
}

pub(super) type Post = Option<(Arc<Mailbox>, CallId)>;

impl State {
    /// How the items end for their reader.
    pub(super) fn end(&self) -> Option<End> {
        self.end.or(self.closed.then_some(End::Broken))
    }

    pub(super) fn room(&self, room: u64) -> Option<Result<u64, Closed>> {
        if self.closed {
            return Some(Err(Closed));
        }
        (self.charge < room).then(|| Ok(room - self.charge))
    }

    /// Woken at half of the room, so that it has several items to put in.
    pub(super) fn writer_with_room(&mut self, room: u64) -> Option<Waker> {
        (self.charge <= room / 2)
            .then(|| self.writer.take())
            .flatten()
    }

    /// The reader has taken so much of what it has in hand.
    pub(super) fn reported(&mut self, taken: u64, room: u64) -> (Option<Waker>, Post) {
        // None after its end: then all was given back.
        let taken = taken.min(self.charge);
        if taken == 0 {
            return (None, None);
        }
        self.charge -= taken;
        (self.writer_with_room(room), self.took(taken))
    }

    /// When the reader has to report what it takes, for nobody to wait longer than if it did at each item:
    /// a writer is woken at half of the room, and a driver told when it has to grant.
    pub(super) fn reports_at(&self, room: u64) -> u64 {
        let writer = self.charge.saturating_sub(room / 2);
        let driver = match &self.port {
            Some(port) if port.side == Side::Writes && port.told => port.until.min(BETWEEN_LOOKS),
            Some(port) if port.side == Side::Writes => port.until.saturating_sub(port.taken),
            _ => 0,
        };
        match (writer, driver) {
            (0, 0) => u64::MAX,
            (0, at) | (at, 0) => at,
            (writer, driver) => writer.min(driver),
        }
    }

    /// Something was put in, or its end.
    pub(super) fn came(&mut self) -> Post {
        self.port
            .as_mut()
            .filter(|port| port.side == Side::Reads)?
            .tell()
    }

    /// The reader waits.
    pub(super) fn answers(&mut self) -> Post {
        if !mem::take(&mut self.asked) {
            return None;
        }
        self.awaited = true;
        self.port.as_mut()?.tell()
    }

    /// Items of this charge were taken.
    pub(super) fn took(&mut self, charge: u64) -> Post {
        let port = self
            .port
            .as_mut()
            .filter(|port| port.side == Side::Writes)?;
        port.taken += charge;
        if port.taken < port.until {
            return None;
        }
        port.tell()
    }
}

impl Port {
    // Invariant P3.
    fn tell(&mut self) -> Post {
        let told = mem::replace(&mut self.told, true);
        (!told).then(|| (self.mailbox.clone(), self.call))
    }
}

/// Tells who is to go on; outside of the lock.
pub(super) fn notify(waker: Option<Waker>, post: Post) {
    if let Some((mailbox, call)) = post {
        mailbox.look_at(call);
    }
    if let Some(waker) = waker {
        waker.wake();
    }
}
