//! zlib streams one after another, each of which tells where it ends.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use super::{Inflated, Inflating, Zlib};
use crate::framing::place::Place;
use crate::{
    Compress, Decode, DecodeError, DecodeErrorKind, Encode, EncodeError, EncodeErrorKind,
    Expansion, Framing, Limits, OutputBatch,
};

/// Frames that are one zlib stream each, with nothing between them; see [`Zlib::framing`].
///
/// A frame is inflated as its bytes come. Every error is fatal: where the next stream begins cannot
/// be told.
///
/// | limit | default | set by | passed |
/// |---|---|---|---|
/// | inflated frame, and its ratio to what came of it | 1 MiB, 256 | [`Zlib::within`] | decode: fatal; encode: refused if the frame is too long |
/// | compressed frame | twice the output and 64 KiB | [`max_compressed`](Self::max_compressed) | decode: fatal; encode: refused |
///
/// A clone is at the start of a stream, wherever the original is.
// Invariants
// Z1 `inflating` has been fed the first `fed` bytes of the input, which are the front of a frame;
//    `out` is all that came out of them.
// Z2 What is fed at once cannot pass a limit anywhere but at its last byte, so that limits are
//    passed at the same byte however the input is cut.
pub struct ZlibFraming {
    zlib: Zlib,
    max_compressed: usize,
    inflating: Option<Inflating>,
    fed: usize,
    out: Expansion,
    place: Place,
}

/// The most bytes that one byte of deflated data stands for: four matches of 258.
const STEEPEST: usize = 4 * 258;

impl ZlibFraming {
    /// Frames compressed as `zlib` does it.
    pub fn new(zlib: Zlib) -> Self {
        let most = zlib.expansion_limits().cap(usize::MAX);
        Self {
            zlib,
            max_compressed: most.saturating_mul(2).saturating_add(64 * 1024),
            inflating: None,
            fed: 0,
            out: Expansion::new(0),
            place: Place::default(),
        }
    }

    /// Sets the longest compressed frame in bytes, both ways; twice as much as may come out of it,
    /// and 64 KiB, by default.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_compressed(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "max_compressed must not be zero");
        self.max_compressed = bytes;
        self
    }

    /// How many of `come` bytes to feed at once.
    fn piece(&self, come: usize) -> usize {
        // Half a match may be waiting for its other half.
        let room = (self.out.limit() - self.out.len()).saturating_sub(2 * 258);
        come.min((room / STEEPEST).max(1))
    }

    /// Inflates what came; whether the frame is whole.
    fn feed(&mut self, src: &[u8]) -> Result<Inflated, DecodeError> {
        let limit = self.max_compressed;
        while self.fed < src.len() {
            if self.fed == limit {
                let declared = None;
                return Err(DecodeError::new(DecodeErrorKind::TooLong {
                    limit,
                    declared,
                }));
            }
            self.out
                .allow(self.zlib.expansion_limits().cap(self.fed + 1));
            let piece = self.piece((src.len() - self.fed).min(limit - self.fed));
            let inflating = self.inflating.get_or_insert_with(Inflating::new);
            let piece = &src[self.fed..self.fed + piece];
            let inflated = inflating.feed(piece, &mut self.out)?;
            self.fed = inflating.used();
            if let Inflated::Whole = inflated {
                return Ok(inflated);
            }
        }
        Ok(Inflated::Partial)
    }

    /// Appends `payload` as a stream to `out`, which may be left with half of it.
    fn deflate(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        let before = out.len();
        self.zlib.deflate(payload, out)?;
        if !self.inflates(&out[before..], payload.len()) {
            out.truncate(before);
            self.zlib.deflate_less(payload, out)?;
        }
        let (limit, actual) = (self.max_compressed, out.len() - before);
        match actual > limit {
            true => Err(EncodeError::new(EncodeErrorKind::TooLong { limit, actual })),
            false => Ok(()),
        }
    }

    /// Whether a reader with our limits takes `frame`, a stream of `len` bytes. The ratio of each of
    /// its beginnings counts, and no sum over the whole shows it.
    fn inflates(&self, frame: &[u8], len: usize) -> bool {
        let limits = self.zlib.expansion_limits();
        limits.is_small(len) || self.clone().feed(frame).is_ok()
    }

    fn put(&self, payload: &[u8], out: &mut OutputBatch) -> Result<(), EncodeError> {
        let limits = self.zlib.expansion_limits();
        limits.check(payload.len(), usize::MAX)?;
        let mark = out.mark();
        let written = self.deflate(payload, out.tail());
        match written {
            Ok(()) => out.frame_done(),
            Err(_) => out.rollback(mark),
        }
        written
    }
}

impl Decode for ZlibFraming {
    type Item = Bytes;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        self.place.check()?;
        match self.feed(src) {
            Ok(Inflated::Partial) => Ok(None),
            Ok(Inflated::Whole) => {
                src.advance(self.fed);
                self.place.finish(self.fed);
                let frame = self.out.take();
                self.inflating = None;
                self.fed = 0;
                self.out = Expansion::new(0);
                Ok(Some(frame))
            }
            Err(error) => Err(self.place.fail(error.kind(), 0)),
        }
    }

    fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        match self.decode(src)? {
            Some(frame) => Ok(Some(frame)),
            None if src.is_empty() => Ok(None),
            None => Err(self.place.truncated(src.len(), 1)),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            max_compressed: Some(self.max_compressed),
            ..self.zlib.expansion_limits().limits()
        }
    }

    fn need(&self) -> usize {
        1
    }
}

impl Encode<[u8]> for ZlibFraming {
    fn encode(&mut self, payload: &[u8], out: &mut OutputBatch) -> Result<(), EncodeError> {
        self.put(payload, out)
    }
}

impl Encode<Bytes> for ZlibFraming {
    fn encode(&mut self, payload: &Bytes, out: &mut OutputBatch) -> Result<(), EncodeError> {
        self.put(payload, out)
    }
}

impl Framing for ZlibFraming {}

impl Clone for ZlibFraming {
    fn clone(&self) -> Self {
        Self::new(self.zlib).max_compressed(self.max_compressed)
    }
}

impl fmt::Debug for ZlibFraming {
    // Never the bytes: a log line is no place for payloads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZlibFraming")
            .field("zlib", &self.zlib)
            .field("fed", &self.fed)
            .field("inflated", &self.out.len())
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
