use std::collections::{BTreeSet, VecDeque};

use bowline_backend::time::Instant;
use bytes::{Bytes, BytesMut};

use super::pace::Pace;
use super::{Advertised, MethodId};

/// What the peer is told of the methods of this side.
// Invariants
// A1 `told` has the methods that the peer knows once all of `frames` have come to it.
// A2 `entries` adds up those of `frames`.
// A3 there are methods in `hidden` only while the peer has no room for one more.
#[derive(Debug, Default)]
pub(super) struct Adverts {
    /// What is still to be sent, and how many entries each has.
    frames: VecDeque<(u32, Bytes)>,
    entries: usize,
    told: BTreeSet<MethodId>,
    /// Methods that the peer had no room for, the first first.
    hidden: VecDeque<Advertised>,
    pace: Pace,
    /// The peer was asked to open nothing new, so it is told nothing more.
    over: bool,
}

impl Adverts {
    /// Those to a peer that lets `burst` entries through at once.
    pub(super) fn to(burst: u32) -> Self {
        Self {
            pace: Pace::new(burst),
            ..Self::default()
        }
    }

    /// How many methods the peer knows of.
    pub(super) fn told(&self) -> usize {
        self.told.len()
    }

    /// How many methods there are, those that the peer had no room for included.
    pub(super) fn known(&self) -> usize {
        self.told.len() + self.hidden.len()
    }

    /// How many methods the peer has no room for.
    pub(super) fn hidden(&self) -> usize {
        self.hidden.len()
    }

    /// The peer has no room for these.
    pub(super) fn hide(&mut self, methods: Vec<Advertised>) {
        self.hidden.extend(methods);
    }

    /// These are offered no longer, so the peer need never hear of those it had no room for.
    pub(super) fn unhide(&mut self, methods: &[MethodId]) {
        if !self.hidden.is_empty() {
            let gone: BTreeSet<_> = methods.iter().collect();
            self.hidden.retain(|method| !gone.contains(&method.method));
        }
    }

    /// The first of those that the peer had no room for: it has room for so many now.
    pub(super) fn reveal(&mut self, room: usize) -> Vec<Advertised> {
        let count = room.min(self.hidden.len());
        self.hidden.drain(..count).collect()
    }

    /// Whether the peer is told nothing more.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether all was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether so many more entries may wait, of which `most` may.
    pub(super) fn has_room(&self, entries: usize, most: usize) -> bool {
        self.frames.is_empty() || self.entries + entries <= most
    }

    /// Most entries of one frame, except of the first ones.
    pub(super) fn most_of_frame(&self) -> usize {
        self.pace.most_of_frame()
    }

    /// Queues a frame.
    pub(super) fn push(&mut self, entries: usize, frame: Bytes) {
        self.entries += entries;
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        self.frames.push_back((entries, frame));
    }

    /// The peer knows of `method` once it has what is queued.
    pub(super) fn tell(&mut self, method: MethodId) {
        self.told.insert(method);
    }

    /// The peer knows of `method` no longer once it has what is queued; whether it did.
    pub(super) fn untell(&mut self, method: MethodId) -> bool {
        self.told.remove(&method)
    }

    /// The next frame, if there is one and the peer lets it through.
    pub(super) fn next(&mut self, now: Instant) -> Option<Bytes> {
        let entries = self.frames.front()?.0;
        if !self.pace.take(now, entries) {
            return None;
        }
        self.entries -= entries as usize;
        self.frames.pop_front().map(|(_, frame)| frame)
    }

    /// What to ask the peer before it lets the next frame through.
    pub(super) fn question(&mut self) -> Option<[u8; 8]> {
        self.frames.front()?;
        self.pace.question()
    }

    /// Whether this PONG answers such a question.
    pub(super) fn is_answer(&mut self, now: Instant, pong: &[u8; 8]) -> bool {
        self.pace.is_answer(now, pong)
    }

    /// When the peer lets the next frame through, if that is known and the frame waits for it.
    pub(super) fn due(&self) -> Option<Instant> {
        self.pace.due(self.frames.front()?.0)
    }

    /// Counts what the peer lets through by `now`.
    pub(super) fn pass(&mut self, now: Instant) {
        if let Some((entries, _)) = self.frames.front() {
            self.pace.pass(now, *entries);
        }
    }

    /// The peer is about to be asked to open nothing new: `out` gets what it lets through before; the
    /// rest would be news of methods that it will not call.
    pub(super) fn leave(&mut self, now: Instant, out: &mut BytesMut) {
        while let Some(frame) = self.next(now) {
            out.extend_from_slice(&frame);
        }
        self.clear();
        self.over = true;
    }

    /// Nothing more is sent.
    pub(super) fn clear(&mut self) {
        self.frames = VecDeque::new();
        self.hidden = VecDeque::new();
        self.entries = 0;
    }

    pub(super) fn memory(&self) -> usize {
        let frames: usize = self.frames.iter().map(|(_, frame)| frame.len()).sum();
        let hidden: usize = self.hidden.iter().map(Advertised::wire_len).sum();
        // Of the nodes of the set half are in use, at worst.
        frames
            + hidden
            + self.hidden.capacity() * size_of::<Advertised>()
            + self.frames.capacity() * size_of::<(u32, Bytes)>()
            + self.told.len() * 16
    }
}
