//! Sockets by reference.
//!
//! Invariant: a reference names one socket for ever. Slots are used again, serials are not.

use slab::Slab;

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

pub(crate) struct Table<T> {
    slots: Slab<(u32, T)>,
    next_serial: u32,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Table<T> {
        Table {
            slots: Slab::new(),
            next_serial: 0,
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> SocketRef {
        let serial = self.next_serial;
        self.next_serial = self.next_serial.wrapping_add(1);
        let slot = self.slots.insert((serial, value));
        SocketRef {
            slot: u32::try_from(slot).expect("fewer than 2^32 sockets"),
            serial,
        }
    }

    pub(crate) fn find(&mut self, socket: SocketRef) -> Option<&mut T> {
        self.slots
            .get_mut(socket.slot as usize)
            .filter(|(serial, _)| *serial == socket.serial)
            .map(|(_, value)| value)
    }

    pub(crate) fn peek(&self, socket: SocketRef) -> Option<&T> {
        self.slots
            .get(socket.slot as usize)
            .filter(|(serial, _)| *serial == socket.serial)
            .map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, socket: SocketRef) -> Option<T> {
        self.peek(socket)?;
        Some(self.slots.remove(socket.slot as usize).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().map(|(_, (_, value))| value)
    }

    /// The sockets for which `wanted` holds, by slot.
    pub(crate) fn select(&self, wanted: impl Fn(&T) -> bool) -> Vec<SocketRef> {
        self.slots
            .iter()
            .filter(|(_, (_, value))| wanted(value))
            .map(|(slot, (serial, _))| SocketRef {
                slot: slot as u32,
                serial: *serial,
            })
            .collect()
    }
}
