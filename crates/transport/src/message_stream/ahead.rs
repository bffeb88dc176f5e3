//! Writing ahead of a flush.

use std::mem;

/// Frames from which on those that were only fed are written all the same, at first and at most.
/// The first is as many as a receiver hands out in one turn, whose end writes, too.
const AHEAD_MIN: usize = 32;
const AHEAD_MAX: usize = 512;

/// Bytes that count as a frame, where frames are long.
const AHEAD_FRAME: usize = 128;

/// When to write frames that are only fed: the peer works on the first of many while the others are
/// still made, instead of both waiting for each other's whole batch. The longer a batch, the more
/// goes into one write.
pub(super) struct Ahead {
    from: usize,
    /// It was due, and nothing was queued since.
    wrote: bool,
}

impl Default for Ahead {
    fn default() -> Ahead {
        Ahead {
            from: AHEAD_MIN,
            wrote: false,
        }
    }
}

impl Ahead {
    /// Whether to write, now that a frame was fed and so much is queued.
    pub(super) fn is_due(&mut self, queued: Queued) -> bool {
        if queued.alone && !mem::take(&mut self.wrote) {
            self.from = AHEAD_MIN;
        }
        if queued.frames < self.from && queued.bytes < self.from * AHEAD_FRAME {
            return false;
        }
        self.from = (self.from * 2).min(AHEAD_MAX);
        self.wrote = true;
        true
    }
}

/// What is queued behind that which the stream is about to take.
pub(super) struct Queued {
    /// The last frame is the only one.
    pub(super) alone: bool,
    pub(super) frames: usize,
    pub(super) bytes: usize,
}
