//! Frames behind their length in decimal digits.

use bytes::{Buf, Bytes, BytesMut};

use super::enclosed::{Enclose, encloses};
use super::place::Place;
use super::work;
use crate::{
    Decode, DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Limits, OutputBatch,
};

/// Netstrings: the length in decimal digits, a colon, so many bytes, a comma.
///
/// The length has no sign, no space and no leading zero. Every error is fatal: a peer that gets
/// this wrong does not speak netstrings.
///
/// | limit | default | set by | passed |
/// |---|---|---|---|
/// | payload | 64 KiB | [`max_frame`](Self::max_frame) | decode: fatal, from the header alone; encode: refused |
///
/// # Examples
///
/// ```
/// use bowline_codec::{Decode, Netstring};
/// use bytes::BytesMut;
///
/// let mut strings = Netstring::new();
/// let mut input = BytesMut::from("5:hello,0:,12:he");
/// assert_eq!(strings.decode(&mut input)?.as_deref(), Some(&b"hello"[..]));
/// assert_eq!(strings.decode(&mut input)?.as_deref(), Some(&b""[..]));
/// assert_eq!((strings.decode(&mut input)?, strings.need()), (None, 11));
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
// Invariants
// S1 `payload` is set while the header at the front of the input is read and accepted.
// S2 `need` is at least 1, and exact after `Ok(None)`.
#[derive(Clone, Debug)]
pub struct Netstring {
    max_frame: usize,
    payload: Option<Announced>,
    need: usize,
    place: Place,
}

/// What the header at the front of the input says.
#[derive(Clone, Copy, Debug)]
struct Announced {
    header: usize,
    payload: usize,
}

const DEFAULT_MAX_FRAME: usize = 64 * 1024;
/// Digits of `u64::MAX`.
const MOST_DIGITS: usize = 20;

impl Netstring {
    /// Netstrings of at most 64 KiB.
    pub fn new() -> Self {
        Self {
            max_frame: DEFAULT_MAX_FRAME,
            payload: None,
            need: 1,
            place: Place::default(),
        }
    }

    /// Sets the largest payload in bytes, both ways; 64 KiB by default.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "max_frame must not be zero");
        self.max_frame = bytes;
        self
    }

    /// Reads the header at the front of `src`; `None` if it is partial.
    fn header(&self, src: &[u8]) -> Result<Option<Announced>, DecodeErrorKind> {
        let mut number = 0u64;
        work::looked_at(src.len().min(MOST_DIGITS + 1));
        for (index, byte) in src.iter().enumerate().take(MOST_DIGITS + 1) {
            match byte {
                b':' if index > 0 => return self.announced(index + 1, number).map(Some),
                // A zero is the whole number: nothing but the colon may follow it.
                b'0'..=b'9' if index < MOST_DIGITS && (index == 0 || src[0] != b'0') => {
                    let digit = u64::from(byte - b'0');
                    number = number
                        .checked_mul(10)
                        .and_then(|tens| tens.checked_add(digit))
                        .ok_or(DecodeErrorKind::BadLength)?;
                }
                _ => return Err(DecodeErrorKind::BadLength),
            }
        }
        Ok(None)
    }

    fn announced(&self, header: usize, declared: u64) -> Result<Announced, DecodeErrorKind> {
        let limit = self.max_frame;
        let payload = usize::try_from(declared)
            .ok()
            .filter(|bytes| *bytes <= limit)
            .ok_or(DecodeErrorKind::TooLong {
                limit,
                declared: Some(declared),
            })?;
        match payload.checked_add(header + 1) {
            Some(_) => Ok(Announced { header, payload }),
            None => Err(DecodeErrorKind::BadLength),
        }
    }
}

impl Default for Netstring {
    fn default() -> Self {
        Self::new()
    }
}

impl Decode for Netstring {
    type Item = Bytes;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        self.place.check()?;
        let announced = match self.payload {
            Some(announced) => announced,
            None => match self.header(src) {
                Ok(Some(announced)) => announced,
                Ok(None) => {
                    self.need = 1;
                    return Ok(None);
                }
                Err(kind) => return Err(self.place.fail(kind, 0)),
            },
        };
        self.payload = Some(announced);
        let Announced { header, payload } = announced;
        let whole = header + payload + 1;
        let Some(end) = src.get(whole - 1) else {
            self.need = whole - src.len();
            return Ok(None);
        };
        if *end != b',' {
            return Err(self.place.fail(DecodeErrorKind::BadFrame, 0));
        }
        src.advance(header);
        let frame = src.split_to(payload).freeze();
        src.advance(1);
        self.payload = None;
        self.need = 1;
        self.place.finish(whole);
        Ok(Some(frame))
    }

    fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        match self.decode(src)? {
            Some(frame) => Ok(Some(frame)),
            None if src.is_empty() => Ok(None),
            None => Err(self.place.truncated(src.len(), self.need)),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            max_frame: Some(self.max_frame),
            ..Limits::default()
        }
    }

    fn need(&self) -> usize {
        self.need
    }
}

impl Enclose for Netstring {
    fn open(&self, actual: usize, out: &mut OutputBatch) -> Result<(), EncodeError> {
        let limit = self.max_frame;
        if actual > limit {
            return Err(EncodeError::new(EncodeErrorKind::TooLong { limit, actual }));
        }
        let mut digits = [0; MOST_DIGITS];
        let mut first = MOST_DIGITS;
        let mut left = actual;
        loop {
            first -= 1;
            digits[first] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        out.put_slice(&digits[first..]);
        out.put_u8(b':');
        Ok(())
    }

    #[inline]
    fn close(&self, out: &mut OutputBatch) {
        out.put_u8(b',');
    }
}

encloses!(Netstring);
