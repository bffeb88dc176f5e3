//! What framings that end a frame by a string of bytes have in common.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;

use super::place::Place;
use super::work;
use crate::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Limits, OutputBatch};

/// What to do with bytes after the last delimiter when the input ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unterminated {
    /// They are a frame as well.
    Accept,
    /// They are [`Truncated`](DecodeErrorKind::Truncated).
    #[default]
    Refuse,
}

/// What an item is of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Strip,
    Keep,
}

/// What becomes of an empty payload.
#[derive(Clone, Copy, Debug)]
pub(super) enum Empty {
    Send,
    Skip,
}

/// Both directions of a delimited framing.
// Invariants
// N1 `discarded` bytes of the present frame are gone from the input; they are not part of a
//    delimiter.
// N2 The first `searched` bytes of the input contain no start of a delimiter.
// N3 `need` is at least 1, and exact after `Ok(None)`.
#[derive(Clone, Debug)]
pub(super) struct Delimited {
    finder: Finder<'static>,
    pub(super) end: End,
    pub(super) empty: Empty,
    pub(super) last: Unterminated,
    max_frame: usize,
    max_skip: usize,
    discarded: usize,
    searched: usize,
    need: usize,
    place: Place,
}

const DEFAULT_MAX_FRAME: usize = 64 * 1024;
const DEFAULT_MAX_SKIP: usize = 1024 * 1024;

impl Delimited {
    pub(super) fn new(finder: Finder<'static>) -> Self {
        Self {
            need: finder.needle().len(),
            finder,
            end: End::Strip,
            empty: Empty::Send,
            last: Unterminated::Refuse,
            max_frame: DEFAULT_MAX_FRAME,
            max_skip: DEFAULT_MAX_SKIP,
            discarded: 0,
            searched: 0,
            place: Place::default(),
        }
    }

    pub(super) fn delimiter(&self) -> &[u8] {
        self.finder.needle()
    }

    pub(super) fn set_max_frame(&mut self, bytes: usize) {
        assert!(bytes > 0, "max_frame must not be zero");
        self.max_frame = bytes;
    }

    pub(super) fn set_max_skip(&mut self, bytes: usize) {
        assert!(bytes > 0, "max_skip must not be zero");
        self.max_skip = bytes;
    }

    pub(super) fn need(&self) -> usize {
        self.need
    }

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self.delimiter() {
            [byte] => memchr::memchr(*byte, bytes),
            _ => self.finder.find(bytes),
        }
    }

    /// The longest frame whose end is waited for.
    fn patience(&self) -> usize {
        self.max_skip.max(self.max_frame)
    }

    fn too_long(&self) -> DecodeErrorKind {
        DecodeErrorKind::TooLong {
            limit: self.max_frame,
            declared: None,
        }
    }

    /// Back to the start of a frame.
    fn restart(&mut self) {
        self.discarded = 0;
        self.searched = 0;
        self.need = self.delimiter().len();
    }

    /// Gives up: the frame is longer than [`patience`](Self::patience).
    ///
    /// Exactly so many of its bytes are used up, however they came.
    fn give_up(&mut self, src: &mut BytesMut) -> DecodeError {
        src.advance(self.patience() - self.discarded);
        self.place.fail(self.too_long(), self.patience())
    }

    /// A frame of `body` bytes in all, those discarded included, followed by `delimiter` bytes.
    fn frame(
        &mut self,
        body: usize,
        delimiter: usize,
        src: &mut BytesMut,
    ) -> Result<Bytes, DecodeError> {
        let whole = body.saturating_add(delimiter);
        if body > self.patience() {
            Err(self.give_up(src))
        } else if body > self.max_frame {
            src.advance(whole - self.discarded);
            self.restart();
            Err(self.place.lose(self.too_long(), whole))
        } else {
            // Nothing was discarded of a frame that is not too long.
            let mut frame = src.split_to(whole).freeze();
            if let End::Strip = self.end {
                frame.truncate(body);
            }
            self.restart();
            self.place.finish(whole);
            Ok(frame)
        }
    }

    /// Bytes at the end of `unsearched` that a delimiter may have begun with.
    fn begun(&self, unsearched: &[u8]) -> usize {
        let delimiter = self.delimiter();
        let most = (delimiter.len() - 1).min(unsearched.len());
        work::looked_at(most);
        (1..=most)
            .rev()
            .find(|len| unsearched.ends_with(&delimiter[..*len]))
            .unwrap_or(0)
    }

    /// Keeps what a delimiter may have begun with, and drops the rest of a frame known to be too
    /// long.
    fn wait(&mut self, src: &mut BytesMut) {
        let delimiter = self.delimiter().len();
        let begun = self.begun(&src[self.searched..]);
        let clear = src.len() - begun;
        let seen = self.discarded.saturating_add(src.len());
        if seen >= self.max_frame.saturating_add(delimiter) {
            // Not beyond where giving up is due.
            let dropped = clear.min(self.patience() - self.discarded);
            src.advance(dropped);
            self.discarded += dropped;
            self.searched = clear - dropped;
        } else {
            self.searched = clear;
        }
        let to_fatal = self.patience().saturating_add(delimiter) - seen;
        self.need = (delimiter - begun).min(to_fatal);
    }

    pub(super) fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        self.place.check()?;
        let delimiter = self.delimiter().len();
        work::looked_at(src.len() - self.searched);
        if let Some(at) = self.find(&src[self.searched..]) {
            let body = self.discarded.saturating_add(self.searched + at);
            return self.frame(body, delimiter, src).map(Some);
        }
        let seen = self.discarded.saturating_add(src.len());
        if seen >= self.patience().saturating_add(delimiter) {
            return Err(self.give_up(src));
        }
        self.wait(src);
        Ok(None)
    }

    pub(super) fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        if let Some(frame) = self.decode(src)? {
            return Ok(Some(frame));
        }
        let have = self.discarded.saturating_add(src.len());
        match self.last {
            _ if have == 0 => Ok(None),
            Unterminated::Accept => self.frame(have, 0, src).map(Some),
            Unterminated::Refuse => Err(self.place.truncated(have, self.need)),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            max_frame: Some(self.max_frame),
            max_skip: Some(self.max_skip),
            ..Limits::default()
        }
    }

    pub(super) fn in_frame(&self, src: &[u8]) -> bool {
        self.discarded > 0 || !src.is_empty()
    }

    /// Refuses a payload in which the delimiter, which will follow it, is found too early.
    pub(super) fn check(&self, payload: &[u8]) -> Result<(), EncodeError> {
        if payload.len() > self.max_frame {
            let (limit, actual) = (self.max_frame, payload.len());
            return Err(EncodeError::new(EncodeErrorKind::TooLong { limit, actual }));
        }
        match self.find(payload).or_else(|| self.early(payload)) {
            Some(at) => Err(EncodeError::new(EncodeErrorKind::Delimiter { at })),
            None => Ok(()),
        }
    }

    /// Where the delimiter starts in `payload` if it ends in the delimiter after it, as `aa` does
    /// in `xa` and `aa`.
    fn early(&self, payload: &[u8]) -> Option<usize> {
        let delimiter = self.delimiter();
        let most = (delimiter.len() - 1).min(payload.len());
        let before = (1..=most).rev().find(|before| {
            payload.ends_with(&delimiter[..*before]) && delimiter.starts_with(&delimiter[*before..])
        })?;
        Some(payload.len() - before)
    }

    /// Whether nothing is sent for `payload`.
    pub(super) fn skips(&self, payload: &[u8]) -> bool {
        payload.is_empty() && matches!(self.empty, Empty::Skip)
    }

    /// Ends a frame whose payload was put.
    pub(super) fn close(&self, out: &mut OutputBatch) {
        out.put_slice(self.delimiter());
        out.frame_done();
    }
}
