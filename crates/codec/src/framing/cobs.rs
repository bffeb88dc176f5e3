//! Consistent overhead byte stuffing: frames without zeros between zeros.

use bytes::{Buf, Bytes, BytesMut};

use super::place::Place;
use super::work;
use crate::{
    Decode, DecodeError, DecodeErrorKind, Encode, EncodeError, EncodeErrorKind, Framing, Limits,
    OutputBatch,
};

/// Frames encoded by COBS, each ended by a zero byte.
///
/// An encoded frame contains no zero, so a reader that joins in the middle, or sees a damaged
/// frame, finds the next one after the next zero. Zeros with nothing between them are skipped and
/// count as part of the frame after them.
///
/// | limit | default | set by | passed |
/// |---|---|---|---|
/// | payload | 1 MiB | [`max_frame`](Self::max_frame) | decode: discarded in constant memory, reported once, at its zero; encode: refused |
/// | bytes of a frame that is discarded | 1 MiB, at least what a payload of `max_frame` takes | [`max_skip`](Self::max_skip) | fatal |
///
/// # Examples
///
/// ```
/// use bowline_codec::{Cobs, Decode};
/// use bytes::BytesMut;
///
/// let mut frames = Cobs::new();
/// let mut input = BytesMut::from(&b"\x03ab\x02c\x00\x09broken\x00\x02d\x00"[..]);
/// assert_eq!(frames.decode(&mut input)?.as_deref(), Some(&b"ab\0c"[..]));
/// assert!(frames.decode(&mut input).unwrap_err().is_recoverable());
/// assert_eq!(frames.decode(&mut input)?.as_deref(), Some(&b"d"[..]));
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
// Invariants
// O1 `used` bytes of the present frame, leading zeros included, are gone from the input.
// O2 `discarded` of them belong to a frame that is too long; if any do, all that came do.
// O3 The first `searched` bytes of the input are not zero.
#[derive(Clone, Debug)]
pub struct Cobs {
    max_frame: usize,
    max_skip: usize,
    used: usize,
    discarded: usize,
    searched: usize,
    place: Place,
}

const DEFAULT_MAX_FRAME: usize = 1024 * 1024;
const DEFAULT_MAX_SKIP: usize = 1024 * 1024;
/// Bytes a block carries at most, besides its code.
const BLOCK: usize = 254;

impl Cobs {
    /// Frames of at most 1 MiB.
    pub fn new() -> Self {
        Self {
            max_frame: DEFAULT_MAX_FRAME,
            max_skip: DEFAULT_MAX_SKIP,
            used: 0,
            discarded: 0,
            searched: 0,
            place: Place::default(),
        }
    }

    /// Sets the largest payload in bytes, both ways; 1 MiB by default, and at most `u32::MAX`.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "max_frame must not be zero");
        self.max_frame = bytes.min(u32::MAX as usize);
        self
    }

    /// Sets how many bytes of one frame are discarded before the error is fatal; 1 MiB by default.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_skip(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "max_skip must not be zero");
        self.max_skip = bytes;
        self
    }

    /// The longest encoded form of a payload that is not too long.
    fn max_encoded(&self) -> usize {
        self.max_frame
            .saturating_add(self.max_frame / BLOCK)
            .saturating_add(1)
    }

    /// The longest encoded frame whose end is waited for.
    fn patience(&self) -> usize {
        self.max_skip.max(self.max_encoded())
    }

    fn too_long(&self) -> DecodeErrorKind {
        DecodeErrorKind::TooLong {
            limit: self.max_frame,
            declared: None,
        }
    }

    /// Takes bytes out of the input that no frame needs.
    fn discard(&mut self, bytes: usize, src: &mut BytesMut) {
        src.advance(bytes);
        self.used = self.used.saturating_add(bytes);
    }

    /// Ends the present frame, all of which is out of the input by now.
    fn finish(&mut self) -> usize {
        self.discarded = 0;
        self.searched = 0;
        std::mem::take(&mut self.used)
    }

    fn lose(&mut self, kind: DecodeErrorKind) -> DecodeError {
        let whole = self.finish();
        self.place.lose(kind, whole)
    }

    /// Gives up: the frame is longer than [`patience`](Self::patience), of which exactly so many
    /// bytes are used up, however they came.
    fn give_up(&mut self, src: &mut BytesMut) -> DecodeError {
        self.discard(self.patience() - self.discarded, src);
        self.place.fail(self.too_long(), self.used)
    }

    /// The frame that the zero at `at` ends.
    fn frame(&mut self, at: usize, src: &mut BytesMut) -> Result<Bytes, DecodeError> {
        let encoded = self.discarded.saturating_add(at);
        if encoded > self.patience() {
            return Err(self.give_up(src));
        }
        if encoded > self.max_encoded() {
            self.discard(at + 1, src);
            let kind = self.too_long();
            return Err(self.lose(kind));
        }
        let mut frame = src.split_to(at);
        src.advance(1);
        self.used = self.used.saturating_add(at + 1);
        match decode_in_place(&mut frame) {
            Some(len) if len <= self.max_frame => {
                frame.truncate(len);
                let whole = self.finish();
                self.place.finish(whole);
                Ok(frame.freeze())
            }
            Some(_) => {
                let kind = self.too_long();
                Err(self.lose(kind))
            }
            None => Err(self.lose(DecodeErrorKind::BadFrame)),
        }
    }

    fn put(&self, payload: &[u8], out: &mut OutputBatch) -> Result<(), EncodeError> {
        let (limit, actual) = (self.max_frame, payload.len());
        if actual > limit {
            return Err(EncodeError::new(EncodeErrorKind::TooLong { limit, actual }));
        }
        put_encoded(payload, out.tail());
        out.put_u8(0);
        out.frame_done();
        Ok(())
    }
}

/// Appends the encoded form of `payload`, without the zero that ends it.
fn put_encoded(payload: &[u8], out: &mut BytesMut) {
    out.reserve(payload.len() + payload.len() / BLOCK + 2);
    let mut rest = payload;
    loop {
        let run = &rest[..rest.len().min(BLOCK)];
        let len = memchr::memchr(0, run).unwrap_or(run.len());
        out.extend_from_slice(&[len as u8 + 1]);
        out.extend_from_slice(&run[..len]);
        rest = &rest[len..];
        if len == BLOCK {
            // A full block says nothing of a zero after it, so it may be the last.
            if rest.is_empty() {
                return;
            }
        } else if rest.is_empty() {
            return;
        } else {
            // The zero that the code stands for.
            rest = &rest[1..];
        }
    }
}

/// Decodes `frame` over itself; the length of the payload, or `None` if a code runs past the end.
fn decode_in_place(frame: &mut [u8]) -> Option<usize> {
    let (mut read, mut written) = (0, 0);
    while read < frame.len() {
        let code = usize::from(frame[read]);
        let next = read + code;
        if next > frame.len() {
            return None;
        }
        // A block is written before the place it was read from: its code made room.
        frame.copy_within(read + 1..next, written);
        written += code - 1;
        if code <= BLOCK && next < frame.len() {
            frame[written] = 0;
            written += 1;
        }
        read = next;
    }
    Some(written)
}

impl Default for Cobs {
    fn default() -> Self {
        Self::new()
    }
}

impl Decode for Cobs {
    type Item = Bytes;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        self.place.check()?;
        self.discard(self.padding(src), src);
        work::looked_at(src.len() - self.searched);
        if let Some(at) = memchr::memchr(0, &src[self.searched..]) {
            return self.frame(self.searched + at, src).map(Some);
        }
        let seen = self.discarded.saturating_add(src.len());
        if seen > self.patience() {
            return Err(self.give_up(src));
        }
        if seen > self.max_encoded() {
            self.discard(src.len(), src);
            self.discarded = seen;
        }
        self.searched = src.len();
        Ok(None)
    }

    fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        match self.decode(src)? {
            Some(frame) => Ok(Some(frame)),
            // Zeros alone are no frame.
            None if self.discarded == 0 && src.is_empty() => Ok(None),
            None => {
                let have = self.used.saturating_add(src.len());
                Err(self.place.truncated(have, 1))
            }
        }
    }

    fn in_frame(&self, src: &[u8]) -> bool {
        self.discarded > 0 || !src.is_empty()
    }

    fn padding(&self, src: &[u8]) -> usize {
        match (self.discarded, self.searched) {
            (0, 0) => src.iter().take_while(|byte| **byte == 0).count(),
            _ => 0,
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            max_frame: Some(self.max_frame),
            max_skip: Some(self.max_skip),
            ..Limits::default()
        }
    }

    fn need(&self) -> usize {
        // A frame is a code and a zero at least.
        if self.discarded == 0 && self.searched == 0 {
            2
        } else {
            1
        }
    }
}

impl Encode<[u8]> for Cobs {
    fn encode(&mut self, payload: &[u8], out: &mut OutputBatch) -> Result<(), EncodeError> {
        self.put(payload, out)
    }
}

impl Encode<Bytes> for Cobs {
    fn encode(&mut self, payload: &Bytes, out: &mut OutputBatch) -> Result<(), EncodeError> {
        self.put(payload, out)
    }
}

impl Framing for Cobs {}
