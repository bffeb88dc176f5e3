//! JSON documents one after another, found by their brackets.

mod scan;

use bytes::{Buf, Bytes, BytesMut};

use scan::Scan;

use super::place::Place;
use super::{take_frame, work};
use crate::{
    Decode, DecodeError, DecodeErrorKind, Encode, EncodeError, EncodeErrorKind, Framing, Limits,
    OutputBatch,
};

/// JSON documents with nothing, or space, between them.
///
/// A document that begins with `{`, `[` or `"` ends where that kind of bracket closes: inside
/// strings only the closing quote counts, a backslash takes the next byte with it, and brackets of
/// the other kind are left to the parser. So a document with a wrong bracket inside costs that
/// document. Any other document is a plain value such as `12`, which ends before the first byte
/// outside `20..7E`; a newline is sent after it, and after nothing else.
///
/// Space, tab, LF and CR in front of a document are skipped and count as part of it. A run of other
/// bytes outside `20..7E` there is one recoverable [`Syntax`](DecodeErrorKind::Syntax) for the
/// whole run.
///
/// | limit | default | set by | passed |
/// |---|---|---|---|
/// | document | 64 KiB | [`max_frame`](Self::max_frame) | decode: discarded to its end in constant memory, reported once, there; encode: refused |
/// | bytes of one document, or run, that are discarded | 1 MiB | [`max_skip`](Self::max_skip) | fatal |
///
/// # Examples
///
/// ```
/// use bowline_codec::{Decode, JsonFraming};
/// use bytes::BytesMut;
///
/// let mut documents = JsonFraming::new();
/// let mut input = BytesMut::from("{\"a\":[\"}\"]} 12\n[");
/// assert_eq!(documents.decode(&mut input)?.unwrap(), "{\"a\":[\"}\"]}");
/// assert_eq!(documents.decode(&mut input)?.unwrap(), "12");
/// assert_eq!(documents.decode(&mut input)?, None);
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
// Invariants
// J1 `skipped` bytes of space in front of the present frame are gone from the input.
// J2 `discarded` bytes of the frame itself are; if any are, all that came are.
// J3 `scan` has seen the first `scanned` bytes of the input.
#[derive(Clone, Debug)]
pub struct JsonFraming {
    max_frame: usize,
    max_skip: usize,
    scan: Option<Scan>,
    skipped: usize,
    discarded: usize,
    scanned: usize,
    place: Place,
}

const DEFAULT_MAX_FRAME: usize = 64 * 1024;
const DEFAULT_MAX_SKIP: usize = 1024 * 1024;

impl JsonFraming {
    /// Documents of at most 64 KiB.
    pub fn new() -> Self {
        Self {
            max_frame: DEFAULT_MAX_FRAME,
            max_skip: DEFAULT_MAX_SKIP,
            scan: None,
            skipped: 0,
            discarded: 0,
            scanned: 0,
            place: Place::default(),
        }
    }

    /// Sets the longest document in bytes, both ways; 64 KiB by default.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "max_frame must not be zero");
        self.max_frame = bytes;
        self
    }

    /// Sets how many bytes of one document are discarded before the error is fatal; 1 MiB by
    /// default. At least `max_frame` are.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_skip(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "max_skip must not be zero");
        self.max_skip = bytes;
        self
    }

    /// The longest document whose end is waited for.
    fn patience(&self) -> usize {
        self.max_skip.max(self.max_frame)
    }

    /// What is wrong with a frame that cannot be given out.
    fn fault(&self) -> DecodeErrorKind {
        match self.scan {
            Some(Scan::Noise) => DecodeErrorKind::Syntax { line: 1, column: 1 },
            _ => DecodeErrorKind::TooLong {
                limit: self.max_frame,
                declared: None,
            },
        }
    }

    /// Ends the present frame; `left` of its bytes are still in the input. Gives all it took.
    fn finish(&mut self, left: usize) -> usize {
        let whole = self
            .skipped
            .saturating_add(self.discarded)
            .saturating_add(left);
        self.scan = None;
        self.skipped = 0;
        self.discarded = 0;
        self.scanned = 0;
        whole
    }

    /// Gives up: the frame is longer than [`patience`](Self::patience), of which exactly so many
    /// bytes are used up, however they came.
    fn give_up(&mut self, src: &mut BytesMut) -> DecodeError {
        src.advance(self.patience() - self.discarded);
        let used = self.skipped.saturating_add(self.patience());
        self.place.fail(self.fault(), used)
    }

    /// The frame that ends after `end` bytes of the input.
    fn frame(&mut self, end: usize, src: &mut BytesMut) -> Result<Bytes, DecodeError> {
        let len = self.discarded.saturating_add(end);
        let fault = self.fault();
        let lost = len > self.max_frame || matches!(self.scan, Some(Scan::Noise));
        let whole = self.finish(end);
        if lost {
            src.advance(end);
            Err(self.place.lose(fault, whole))
        } else {
            self.place.finish(whole);
            Ok(take_frame(src, end))
        }
    }

    /// What follows `payload` on the wire, if it is one document.
    fn ending(&self, payload: &[u8]) -> Result<&'static [u8], EncodeError> {
        let (limit, actual) = (self.max_frame, payload.len());
        if actual > limit {
            return Err(EncodeError::new(EncodeErrorKind::TooLong { limit, actual }));
        }
        let first = payload.first().filter(|byte| !scan::is_space(**byte));
        let mut scan = first.map(|byte| Scan::starting(*byte));
        let end = scan.as_mut().and_then(|scan| scan.advance(payload));
        match (scan, end) {
            (Some(Scan::Document(_)), Some(end)) if end == actual => Ok(b""),
            (Some(Scan::Plain), None) => Ok(b"\n"),
            _ => Err(EncodeError::new(EncodeErrorKind::Value)
                .with_message("the payload is not one JSON document")),
        }
    }
}

impl Default for JsonFraming {
    fn default() -> Self {
        Self::new()
    }
}

impl Decode for JsonFraming {
    type Item = Bytes;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        self.place.check()?;
        if self.scan.is_none() {
            let space = self.padding(src);
            src.advance(space);
            self.skipped = self.skipped.saturating_add(space);
            self.scan = src.first().map(|byte| Scan::starting(*byte));
        }
        let Some(scan) = &mut self.scan else {
            return Ok(None);
        };
        work::looked_at(src.len() - self.scanned);
        let end = scan.advance(&src[self.scanned..]);
        let end = end.map(|end| self.scanned + end);
        let seen = self.discarded.saturating_add(end.unwrap_or(src.len()));
        if seen > self.patience() {
            return Err(self.give_up(src));
        }
        if let Some(end) = end {
            return self.frame(end, src).map(Some);
        }
        if seen > self.max_frame || matches!(self.scan, Some(Scan::Noise)) {
            src.clear();
            self.discarded = seen;
        }
        self.scanned = src.len();
        Ok(None)
    }

    fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        if let Some(frame) = self.decode(src)? {
            return Ok(Some(frame));
        }
        match self.scan {
            None => Ok(None),
            // A run that the end ends.
            Some(Scan::Noise) => self.frame(src.len(), src).map(Some),
            Some(_) => {
                let have = self.skipped.saturating_add(self.discarded);
                let have = have.saturating_add(src.len());
                Err(self.place.truncated(have, self.need()))
            }
        }
    }

    fn in_frame(&self, _: &[u8]) -> bool {
        self.scan.is_some()
    }

    fn padding(&self, src: &[u8]) -> usize {
        match self.scan {
            None => src.iter().take_while(|byte| scan::is_space(**byte)).count(),
            Some(_) => 0,
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
        let seen = self.discarded.saturating_add(self.scanned);
        let to_fatal = self.patience().saturating_add(1) - seen;
        // Two brackets, or a digit and what ends it.
        let to_end = self.scan.as_ref().map_or(2, Scan::need);
        to_end.min(to_fatal).max(1)
    }
}

impl Encode<[u8]> for JsonFraming {
    fn encode(&mut self, payload: &[u8], out: &mut OutputBatch) -> Result<(), EncodeError> {
        let ending = self.ending(payload)?;
        out.put_slice(payload);
        out.put_slice(ending);
        out.frame_done();
        Ok(())
    }
}

impl Encode<Bytes> for JsonFraming {
    fn encode(&mut self, payload: &Bytes, out: &mut OutputBatch) -> Result<(), EncodeError> {
        let ending = self.ending(payload)?;
        out.put_shared(payload);
        out.put_slice(ending);
        out.frame_done();
        Ok(())
    }
}

impl Framing for JsonFraming {}
