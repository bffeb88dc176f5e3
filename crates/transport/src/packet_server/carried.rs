//! Descriptors that wait with their packets.

#[cfg(all(unix, feature = "ancillary"))]
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::datagram::Came;

/// Room for the descriptors that wait, of all peers of a server together.
///
/// Invariant: `held` are those of the [`Carried`] that have a room, and at most `most`.
pub(super) struct Room {
    most: usize,
    held: AtomicUsize,
}

impl Room {
    pub(super) fn new(most: usize) -> Room {
        Room {
            most,
            held: AtomicUsize::new(0),
        }
    }

    /// Lets what came with a packet wait with it. `None` where there is no room for all of it; then
    /// it is closed.
    pub(super) fn admit(self: &Arc<Self>, came: Came) -> Option<Carried> {
        let count = came.count();
        if count == 0 {
            return Some(Carried { came, room: None });
        }
        let more = |held: usize| held.checked_add(count).filter(|sum| *sum <= self.most);
        let relaxed = Ordering::Relaxed; // nothing else is told by the count
        self.held.fetch_update(relaxed, relaxed, more).ok()?;
        Some(Carried {
            came,
            room: Some(self.clone()),
        })
    }
}

/// What came with a packet that waits. Dropped, it is closed, and others have the room.
#[derive(Default)]
pub(super) struct Carried {
    came: Came,
    room: Option<Arc<Room>>,
}

impl Carried {
    /// That of a packet for which there was no room.
    pub(super) fn stripped() -> Carried {
        Carried {
            came: Came::cut(),
            room: None,
        }
    }

    /// Whether it has nothing to close.
    pub(super) fn is_empty(&self) -> bool {
        self.room.is_none()
    }

    /// What came, for whoever wants it.
    #[cfg(all(unix, feature = "ancillary"))]
    pub(super) fn take(mut self) -> Came {
        let came = mem::take(&mut self.came);
        self.leave(came.count());
        came
    }

    fn leave(&mut self, count: usize) {
        if let Some(room) = self.room.take() {
            room.held.fetch_sub(count, Ordering::Relaxed);
        }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        let count = self.came.count();
        self.came = Came::default(); // closed before others come in its place
        self.leave(count);
    }
}
