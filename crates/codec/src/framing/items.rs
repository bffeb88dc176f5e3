//! Values of a binary format one after another, each of which tells where it ends.

use bytes::{Bytes, BytesMut};

use super::place::Place;
use super::{take_frame, work};
use crate::limits::DEPTH;
use crate::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Limits, OutputBatch};

const DEFAULT_MAX_FRAME: usize = 1024 * 1024;
/// Instead of a count, for a container that a break ends.
const ENDLESS: u64 = u64::MAX;

/// What the bytes where a value should begin say.
pub(super) enum Head {
    /// At least so many more bytes are needed to tell.
    Partial(usize),
    /// `head` bytes, then `payload` bytes, then so many values that belong to this one.
    Value {
        head: usize,
        payload: u64,
        children: u128,
    },
    /// `head` bytes, then values up to a break.
    Endless { head: usize },
    /// The end of such values, in one byte.
    Break,
    /// No value begins so.
    Bad,
}

impl Head {
    /// A value of `head` bytes that nothing belongs to.
    pub(super) fn alone(head: usize) -> Self {
        Self::with_payload(head, 0)
    }

    pub(super) fn with_payload(head: usize, payload: u64) -> Self {
        Self::Value {
            head,
            payload,
            children: 0,
        }
    }

    pub(super) fn with_children(head: usize, children: u128) -> Self {
        Self::Value {
            head,
            payload: 0,
            children,
        }
    }
}

/// The big-endian number of `width` bytes after the first of `src`; the missing bytes if partial.
pub(super) fn number_after_first(src: &[u8], width: usize) -> Result<u64, usize> {
    match src.get(1..=width) {
        Some(bytes) => Ok(bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))),
        None => Err(width + 1 - src.len()),
    }
}

/// How far into a value we are: no parse, one counter per open container.
// Invariants
// I1 `at` is where the next value begins; it may lie beyond what has come.
// I2 `open[..depth]` holds the values still to begin in each open container, or `ENDLESS`.
// I3 `owed` is how many values and breaks are still to begin, each of at least one byte.
#[derive(Clone, Debug)]
struct Scan {
    at: usize,
    open: [u64; DEPTH],
    depth: usize,
    owed: u128,
}

enum Step {
    /// At least so many more bytes are needed.
    Partial(usize),
    /// The value has so many bytes.
    Whole(usize),
}

impl Scan {
    const START: Self = Self {
        at: 0,
        open: [0; DEPTH],
        depth: 0,
        owed: 1,
    };

    fn advance(
        &mut self,
        src: &[u8],
        read: fn(&[u8]) -> Head,
        limit: usize,
    ) -> Result<Step, DecodeErrorKind> {
        loop {
            let beyond = self.at.saturating_sub(src.len());
            if self.owed == 0 {
                return Ok(match beyond {
                    0 => Step::Whole(self.at),
                    missing => Step::Partial(missing),
                });
            }
            if self.at >= src.len() {
                return Ok(Step::Partial(beyond + 1));
            }
            work::looked_at(1);
            match read(&src[self.at..]) {
                Head::Partial(missing) => return Ok(Step::Partial(missing)),
                Head::Bad => return Err(DecodeErrorKind::BadFrame),
                Head::Value {
                    head,
                    payload,
                    children,
                } => {
                    self.begin();
                    self.owed = self.owed.saturating_add(children);
                    self.take(head, payload, limit)?;
                    // At most `limit`, or `take` had refused.
                    self.open(children as u64)?;
                }
                Head::Endless { head } => {
                    self.begin();
                    self.owed += 1;
                    self.take(head, 0, limit)?;
                    self.open(ENDLESS)?;
                }
                Head::Break => {
                    if self.depth == 0 || self.open[self.depth - 1] != ENDLESS {
                        return Err(DecodeErrorKind::BadFrame);
                    }
                    self.owed -= 1;
                    self.take(1, 0, limit)?;
                    self.depth -= 1;
                }
            }
            while self.depth > 0 && self.open[self.depth - 1] == 0 {
                self.depth -= 1;
            }
        }
    }

    /// Counts the value that begins here.
    fn begin(&mut self) {
        match self.depth.checked_sub(1) {
            Some(inner) if self.open[inner] == ENDLESS => {}
            Some(inner) => {
                self.open[inner] -= 1;
                self.owed -= 1;
            }
            None => self.owed -= 1,
        }
    }

    /// Goes past `head` and `payload` bytes, unless the whole value passes `limit` with them.
    fn take(&mut self, head: usize, payload: u64, limit: usize) -> Result<(), DecodeErrorKind> {
        let at = self.at as u128 + head as u128 + u128::from(payload);
        let least = at.saturating_add(self.owed);
        if least > limit as u128 {
            return Err(DecodeErrorKind::TooLong {
                limit,
                declared: Some(u64::try_from(least).unwrap_or(u64::MAX)),
            });
        }
        self.at = at as usize;
        Ok(())
    }

    fn open(&mut self, children: u64) -> Result<(), DecodeErrorKind> {
        if children > 0 {
            let limit = DEPTH;
            let top = self.open.get_mut(self.depth);
            *top.ok_or(DecodeErrorKind::Depth { limit })? = children;
            self.depth += 1;
        }
        Ok(())
    }
}

/// Both directions of such a framing.
#[derive(Clone, Debug)]
pub(super) struct Items {
    read: fn(&[u8]) -> Head,
    max_frame: usize,
    scan: Scan,
    need: usize,
    place: Place,
}

impl Items {
    pub(super) fn new(read: fn(&[u8]) -> Head) -> Self {
        Self {
            read,
            max_frame: DEFAULT_MAX_FRAME,
            scan: Scan::START,
            need: 1,
            place: Place::default(),
        }
    }

    pub(super) fn set_max_frame(&mut self, bytes: usize) {
        assert!(bytes > 0, "max_frame must not be zero");
        self.max_frame = bytes;
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            max_frame: Some(self.max_frame),
            max_depth: Some(DEPTH),
            ..Limits::default()
        }
    }

    pub(super) fn need(&self) -> usize {
        self.need
    }

    pub(super) fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        self.place.check()?;
        match self.scan.advance(src, self.read, self.max_frame) {
            Ok(Step::Partial(missing)) => {
                self.need = missing;
                Ok(None)
            }
            Ok(Step::Whole(len)) => {
                self.scan = Scan::START;
                self.need = 1;
                self.place.finish(len);
                Ok(Some(take_frame(src, len)))
            }
            Err(kind) => Err(self.place.fail(kind, 0)),
        }
    }

    pub(super) fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        match self.decode(src)? {
            Some(frame) => Ok(Some(frame)),
            None if src.is_empty() => Ok(None),
            None => Err(self.place.truncated(src.len(), self.need)),
        }
    }

    fn check(&self, payload: &[u8]) -> Result<(), EncodeError> {
        let (limit, actual) = (self.max_frame, payload.len());
        if actual > limit {
            return Err(EncodeError::new(EncodeErrorKind::TooLong { limit, actual }));
        }
        let mut scan = Scan::START;
        match scan.advance(payload, self.read, limit) {
            Ok(Step::Whole(len)) if len == actual => Ok(()),
            _ => Err(EncodeError::new(EncodeErrorKind::Value)
                .with_message("the payload is not one value of the format")),
        }
    }

    pub(super) fn put_slice(
        &self,
        payload: &[u8],
        out: &mut OutputBatch,
    ) -> Result<(), EncodeError> {
        self.check(payload)?;
        out.put_slice(payload);
        out.frame_done();
        Ok(())
    }

    pub(super) fn put_bytes(
        &self,
        payload: &Bytes,
        out: &mut OutputBatch,
    ) -> Result<(), EncodeError> {
        self.check(payload)?;
        out.put_shared(payload);
        out.frame_done();
        Ok(())
    }
}
