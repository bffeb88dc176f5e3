//! Sockets by reference.
//!
//! Invariant: a reference names one socket for ever. Slots are used again, serials are not.

use crate::by_host::{ByHost, OfHost};

/// Names one socket of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SocketRef {
    pub(crate) slot: u32,
    pub(crate) serial: u32,
}

impl SocketRef {
    /// Names no socket.
    pub(crate) const NOBODY: SocketRef = SocketRef {
        slot: u32::MAX,
        serial: 0,
    };
}

struct Numbered<T> {
    serial: u32,
    value: T,
}

impl<T: OfHost> OfHost for Numbered<T> {
    fn host(&self) -> u32 {
        self.value.host()
    }
}

pub(crate) struct Table<T> {
    sockets: ByHost<Numbered<T>>,
    next_serial: u32,
}

impl<T: OfHost> Table<T> {
    pub(crate) fn new() -> Table<T> {
        Table {
            sockets: ByHost::new(),
            next_serial: 0,
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> SocketRef {
        let serial = self.next_serial;
        self.next_serial = self.next_serial.wrapping_add(1);
        let slot = self.sockets.insert(Numbered { serial, value });
        SocketRef {
            slot: u32::try_from(slot).expect("fewer than 2^32 sockets"),
            serial,
        }
    }

    pub(crate) fn find(&mut self, socket: SocketRef) -> Option<&mut T> {
        self.sockets
            .get_mut(socket.slot as usize)
            .filter(|found| found.serial == socket.serial)
            .map(|found| &mut found.value)
    }

    pub(crate) fn peek(&self, socket: SocketRef) -> Option<&T> {
        self.sockets
            .get(socket.slot as usize)
            .filter(|found| found.serial == socket.serial)
            .map(|found| &found.value)
    }

    pub(crate) fn remove(&mut self, socket: SocketRef) -> Option<T> {
        self.peek(socket)?;
        Some(self.sockets.remove(socket.slot as usize).value)
    }

    /// The sockets of `host`, by slot.
    pub(crate) fn of_host(&self, host: u32) -> impl Iterator<Item = &T> {
        self.sockets.of_host(host).map(|found| &found.value)
    }

    /// The names of the sockets of `host`, by slot.
    pub(crate) fn refs_of(&self, host: u32) -> Vec<SocketRef> {
        let slots = self.sockets.slots_of(host).into_iter();
        let name = |slot: usize| SocketRef {
            slot: slot as u32,
            serial: self.sockets[slot].serial,
        };
        slots.map(name).collect()
    }
}
