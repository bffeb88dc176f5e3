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
// I2 `open` holds the values still to begin in each open container, or `ENDLESS`; never more than
//    are allowed to be open.
// I3 `owed` is how many values and breaks are still to begin, each of at least one byte.
#[derive(Clone, Debug)]
struct Scan {
    at: usize,
    open: Stack,
    owed: u128,
}

/// One number per level. What is not deeper than usual needs no memory of its own.
#[derive(Clone, Debug)]
struct Stack {
    usual: [u64; DEPTH],
    deeper: Vec<u64>,
    depth: usize,
}

impl Stack {
    const EMPTY: Self = Self {
        usual: [0; DEPTH],
        deeper: Vec::new(),
        depth: 0,
    };

    fn top(&mut self) -> Option<&mut u64> {
        match self.deeper.last_mut() {
            None => self.usual[..self.depth].last_mut(),
            top => top,
        }
    }

    fn push(&mut self, number: u64) {
        match self.usual.get_mut(self.depth) {
            Some(top) => {
                *top = number;
                self.depth += 1;
            }
            None => self.deeper.push(number),
        }
    }

    fn pop(&mut self) {
        if self.deeper.pop().is_none() {
            self.depth -= 1;
        }
    }

    fn len(&self) -> usize {
        self.depth + self.deeper.len()
    }
}

/// How long and how deep a value may be.
#[derive(Clone, Copy, Debug)]
struct Most {
    bytes: usize,
    depth: usize,
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
        open: Stack::EMPTY,
        owed: 1,
    };

    fn advance(
        &mut self,
        src: &[u8],
        read: fn(&[u8]) -> Head,
        most: Most,
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
                    self.take(head, payload, most.bytes)?;
                    // Not more than bytes, or `take` had refused.
                    self.open(children as u64, most.depth)?;
                }
                Head::Endless { head } => {
                    self.begin();
                    self.owed += 1;
                    self.take(head, 0, most.bytes)?;
                    self.open(ENDLESS, most.depth)?;
                }
                Head::Break => {
                    if !matches!(self.open.top(), Some(&mut ENDLESS)) {
                        return Err(DecodeErrorKind::BadFrame);
                    }
                    self.owed -= 1;
                    self.take(1, 0, most.bytes)?;
                    self.open.pop();
                }
            }
            while let Some(0) = self.open.top() {
                self.open.pop();
            }
        }
    }

    /// Counts the value that begins here.
    fn begin(&mut self) {
        match self.open.top() {
            Some(&mut ENDLESS) => {}
            Some(left) => {
                *left -= 1;
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

    fn open(&mut self, children: u64, limit: usize) -> Result<(), DecodeErrorKind> {
        if children > 0 {
            if self.open.len() == limit {
                return Err(DecodeErrorKind::Depth { limit });
            }
            self.open.push(children);
        }
        Ok(())
    }
}

/// Both directions of such a framing.
#[derive(Clone, Debug)]
pub(super) struct Items {
    read: fn(&[u8]) -> Head,
    most: Most,
    scan: Scan,
    need: usize,
    place: Place,
}

impl Items {
    pub(super) fn new(read: fn(&[u8]) -> Head) -> Self {
        Self {
            read,
            most: Most {
                bytes: DEFAULT_MAX_FRAME,
                depth: DEPTH,
            },
            scan: Scan::START,
            need: 1,
            place: Place::default(),
        }
    }

    pub(super) fn set_max_frame(&mut self, bytes: usize) {
        assert!(bytes > 0, "max_frame must not be zero");
        self.most.bytes = bytes;
    }

    pub(super) fn set_max_depth(&mut self, levels: usize) {
        assert!(levels > 0, "max_depth must not be zero");
        self.most.depth = levels;
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            max_frame: Some(self.most.bytes),
            max_depth: Some(self.most.depth),
            ..Limits::default()
        }
    }

    pub(super) fn need(&self) -> usize {
        self.need
    }

    pub(super) fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        self.place.check()?;
        match self.scan.advance(src, self.read, self.most) {
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
        let (limit, actual) = (self.most.bytes, payload.len());
        if actual > limit {
            return Err(EncodeError::new(EncodeErrorKind::TooLong { limit, actual }));
        }
        let mut scan = Scan::START;
        match scan.advance(payload, self.read, self.most) {
            Ok(Step::Whole(len)) if len == actual => Ok(()),
            Err(DecodeErrorKind::Depth { limit }) => {
                Err(EncodeError::new(EncodeErrorKind::Depth { limit }))
            }
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
