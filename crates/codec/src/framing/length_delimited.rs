//! Frames behind a header that states their length.

mod header;

use bytes::{Buf, Bytes, BytesMut};

use header::{Header, Read, Unstatable, Width};

use super::enclosed::{Enclose, encloses};
use super::{take_frame, work};
use crate::{
    Decode, DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Limits, OutputBatch,
};

/// Frames of a length header and that many bytes.
///
/// The header is an unsigned integer of a fixed width, big-endian unless [`le`](Self::le), or a
/// LEB128 [`varint`](Self::varint). It states the length of the payload, plus what
/// [`adjust`](Self::adjust) and [`header_included`](Self::header_included) add.
///
/// | limit | default | set by | passed |
/// |---|---|---|---|
/// | payload | 1 MiB | [`max_frame`](Self::max_frame) | decode: fatal, or discarded with [`skip_oversized`](Self::skip_oversized); encode: refused |
/// | discarded beyond `max_frame` | 1 MiB | [`max_skip`](Self::max_skip) | fatal |
///
/// Decoding copies nothing and allocates nothing on the word of a header: a partial frame stays in
/// the caller's buffer, and [`need`](Decode::need) says what is missing.
///
/// # Examples
///
/// ```
/// use bowline_codec::{Decode, LengthDelimited};
/// use bytes::BytesMut;
///
/// let mut frames = LengthDelimited::u16().le().header_included();
/// let mut input = BytesMut::from(&b"\x05\x00abc\x02\x00"[..]);
/// assert_eq!(frames.decode(&mut input)?.as_deref(), Some(&b"abc"[..]));
/// assert_eq!(frames.decode(&mut input)?.as_deref(), Some(&b""[..]));
/// assert_eq!(frames.decode(&mut input)?, None);
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
// Invariants
// L1 `position` is the stream position of the first byte of the frame that `state` is in.
// L2 `need` is at least 1, and exact after `Ok(None)`.
// L3 Once `failed` is set, neither `state` nor the input changes.
// L4 `limit` is the smaller of `max_frame` and the longest payload that `header` can state.
#[derive(Clone, Debug)]
pub struct LengthDelimited {
    header: Header,
    max_frame: usize,
    limit: usize,
    max_skip: usize,
    oversized: Oversized,
    state: State,
    position: u64,
    need: usize,
    failed: Option<DecodeError>,
}

#[derive(Clone, Copy, Debug)]
enum Oversized {
    Fail,
    Skip,
}

#[derive(Clone, Debug)]
enum State {
    /// At the start of a frame.
    Header,
    /// The header is read, and still in the buffer.
    Payload { header: usize, payload: usize },
    /// An oversized frame is being discarded, of which `left` bytes are still to come.
    Skipping { left: u64, error: DecodeError },
}

const DEFAULT_MAX_FRAME: usize = 1024 * 1024;
const DEFAULT_MAX_SKIP: usize = 1024 * 1024;

impl LengthDelimited {
    /// A header of one byte: payloads of at most 255 bytes.
    pub fn u8() -> Self {
        Self::new(Width::Fixed(1))
    }

    /// A header of two bytes: payloads of at most 65 535 bytes.
    pub fn u16() -> Self {
        Self::new(Width::Fixed(2))
    }

    /// A header of four bytes.
    pub fn u32() -> Self {
        Self::new(Width::Fixed(4))
    }

    /// A header of eight bytes.
    pub fn u64() -> Self {
        Self::new(Width::Fixed(8))
    }

    /// A header in LEB128: 7 bits a byte, least significant first, at most 10 bytes.
    ///
    /// Only the shortest form of a number is accepted.
    #[doc(alias = "leb128")]
    pub fn varint() -> Self {
        Self::new(Width::Varint)
    }

    fn new(width: Width) -> Self {
        let header = Header::new(width);
        Self {
            header,
            max_frame: DEFAULT_MAX_FRAME,
            limit: header.max_payload().min(DEFAULT_MAX_FRAME),
            max_skip: DEFAULT_MAX_SKIP,
            oversized: Oversized::Fail,
            state: State::Header,
            position: 0,
            need: header.min_len(),
            failed: None,
        }
    }

    /// Least significant byte first. Changes nothing for a varint.
    pub fn le(mut self) -> Self {
        self.header = self.header.little();
        self
    }

    /// The header states the length of the payload plus `bytes`, which may be negative.
    pub fn adjust(mut self, bytes: i32) -> Self {
        self.header = self.header.adjusted(bytes);
        self.with_limit()
    }

    /// The header states the length of the whole frame, itself included.
    ///
    /// Adds to [`adjust`](Self::adjust).
    pub fn header_included(mut self) -> Self {
        self.header = self.header.counting_whole();
        self.with_limit()
    }

    /// Sets the largest payload in bytes, both ways; 1 MiB by default.
    ///
    /// A payload of exactly this size passes. More than `u32::MAX` is only taken from a header of
    /// eight bytes and counts as `u32::MAX` otherwise; what the header cannot state is refused
    /// whatever the limit.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "max_frame must not be zero");
        self.max_frame = match self.header.width() {
            Width::Fixed(8) => bytes,
            _ => bytes.min(u32::MAX as usize),
        };
        self.with_limit()
    }

    /// Keeps L4.
    fn with_limit(mut self) -> Self {
        self.limit = self.header.max_payload().min(self.max_frame);
        self
    }

    /// Discards a frame over the limit, and goes on with the next one.
    ///
    /// The error is reported once, when the whole frame is discarded, and is then recoverable.
    /// Without this it is fatal, and reported from the header alone.
    pub fn skip_oversized(mut self) -> Self {
        self.oversized = Oversized::Skip;
        self
    }

    /// Sets how many bytes over `max_frame` a payload may be to be discarded with
    /// [`skip_oversized`](Self::skip_oversized); 1 MiB by default. Beyond, the error is fatal, and
    /// reported from the header alone.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_skip(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "max_skip must not be zero");
        self.max_skip = bytes;
        self
    }

    /// The largest payload that is sent and accepted, in bytes: the smaller of
    /// [`max_frame`](Self::max_frame) and what the header can state.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Reads the header at the front of `src` and decides what to do with its frame.
    ///
    /// `None` if the header is partial.
    fn start(&mut self, src: &[u8]) -> Result<Option<State>, DecodeError> {
        let at = |kind| DecodeError::new(kind).with_offset(self.position);
        work::looked_at(src.len().min(self.header.min_len()));
        let (header, payload) = match self.header.read(src) {
            Read::Whole { header, payload } => (header, payload),
            Read::Bad => return Err(at(DecodeErrorKind::BadLength)),
            Read::Partial(need) => {
                self.need = need;
                return Ok(None);
            }
        };
        let limit = self.limit;
        let kind = DecodeErrorKind::TooLong {
            limit,
            declared: Some(payload),
        };
        if payload > limit as u64 {
            let skippable = (limit as u64).saturating_add(self.max_skip as u64);
            return match self.oversized {
                Oversized::Skip if payload <= skippable => {
                    let whole = payload.saturating_add(header as u64);
                    let error = at(kind).with_skipped(whole).recoverable();
                    Ok(Some(State::Skipping { left: whole, error }))
                }
                Oversized::Skip | Oversized::Fail => Err(at(kind).fatal()),
            };
        }
        match usize::try_from(payload)
            .ok()
            .filter(|bytes| bytes.checked_add(header).is_some())
        {
            Some(payload) => Ok(Some(State::Payload { header, payload })),
            None => Err(at(DecodeErrorKind::BadLength)),
        }
    }

    /// Back to the start of a frame, after one of `whole` bytes.
    fn finish(&mut self, whole: u64) {
        self.position = self.position.saturating_add(whole);
        self.state = State::Header;
        self.need = self.header.min_len();
    }
}

impl Decode for LengthDelimited {
    type Item = Bytes;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if matches!(self.state, State::Header) {
            match self.start(src) {
                Ok(Some(state)) => self.state = state,
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            }
        }
        match &mut self.state {
            State::Header => Ok(None),
            &mut State::Payload { header, payload } => {
                let whole = header + payload;
                if src.len() < whole {
                    self.need = whole - src.len();
                    return Ok(None);
                }
                src.advance(header);
                let frame = take_frame(src, payload);
                self.finish(whole as u64);
                Ok(Some(frame))
            }
            State::Skipping { left, error } => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(src.len());
                src.advance(taken);
                *left -= taken as u64;
                if *left > 0 {
                    self.need = usize::try_from(*left).unwrap_or(usize::MAX);
                    return Ok(None);
                }
                let error = error.clone();
                self.finish(error.skipped());
                Err(error)
            }
        }
    }

    fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        if let Some(frame) = self.decode(src)? {
            return Ok(Some(frame));
        }
        let discarded = match &self.state {
            State::Skipping { left, error } => error.skipped() - left,
            State::Header | State::Payload { .. } => 0,
        };
        let have = usize::try_from(discarded)
            .unwrap_or(usize::MAX)
            .saturating_add(src.len());
        if have == 0 {
            return Ok(None);
        }
        let error =
            DecodeError::truncated(have, have.saturating_add(self.need)).with_offset(self.position);
        self.failed = Some(error.clone());
        Err(error)
    }

    fn in_frame(&self, src: &[u8]) -> bool {
        !matches!(self.state, State::Header) || !src.is_empty()
    }

    fn limits(&self) -> Limits {
        Limits {
            max_frame: Some(self.limit),
            max_skip: match self.oversized {
                Oversized::Fail => None,
                Oversized::Skip => Some(self.max_skip),
            },
            ..Limits::default()
        }
    }

    fn need(&self) -> usize {
        self.need
    }
}

impl Enclose for LengthDelimited {
    fn open(&self, actual: usize, out: &mut OutputBatch) -> Result<(), EncodeError> {
        let limit = self.limit;
        let written = if actual > limit {
            Err(Unstatable::TooLong)
        } else {
            self.header.write(actual, out)
        };
        written.map_err(|why| {
            EncodeError::new(match why {
                Unstatable::TooLong => EncodeErrorKind::TooLong { limit, actual },
                Unstatable::TooShort(minimum) => EncodeErrorKind::TooShort { minimum, actual },
            })
        })
    }
}

encloses!(LengthDelimited);
