//! Lines: text up to a newline.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use crate::{
    Decode, DecodeError, DecodeErrorKind, Encode, EncodeError, EncodeErrorKind, Framed, Framing,
    OutputBatch, Text,
};

/// Frames that end in a newline: LF, CR or CRLF.
///
/// | limit | default | set by | passed |
/// |---|---|---|---|
/// | line without its newline | 64 KiB | [`max_frame`](Self::max_frame) | decode: discarded in constant memory, reported once, at its newline; encode: refused |
/// | bytes of a line that is discarded | 1 MiB | [`max_skip`](Self::max_skip) | fatal |
///
/// Encoding appends the newline unless the payload already ends in it, so an empty payload is sent
/// as a bare newline; a payload with a newline inside is refused.
///
/// # Examples
///
/// ```
/// use bowline_codec::{Decode, Lines};
/// use bytes::BytesMut;
///
/// let mut lines = Lines::crlf().text();
/// let mut input = BytesMut::from("USER anna\r\n\r\nQU");
/// assert_eq!(lines.decode(&mut input)?.as_deref(), Some("USER anna"));
/// assert_eq!(lines.decode(&mut input)?.as_deref(), Some(""));
/// assert_eq!(lines.decode(&mut input)?, None);
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
// Invariants
// N1 `position` is the stream position of the first byte of the present line.
// N2 `discarded` bytes of the present line are gone from the input; they are not part of a newline.
// N3 The first `searched` bytes of the input contain no start of a newline.
// N4 Once `failed` is set, nothing changes any more.
#[derive(Clone, Debug)]
pub struct Lines {
    newline: &'static [u8],
    end: End,
    empty: Empty,
    last: Unterminated,
    max_frame: usize,
    max_skip: usize,
    position: u64,
    discarded: usize,
    searched: usize,
    need: usize,
    failed: Option<DecodeError>,
}

/// What to do with bytes after the last newline when the input ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unterminated {
    /// They are a frame as well.
    Accept,
    /// They are [`Truncated`](DecodeErrorKind::Truncated).
    #[default]
    Refuse,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Strip,
    Keep,
}

#[derive(Clone, Copy, Debug)]
enum Empty {
    Send,
    Skip,
}

const DEFAULT_MAX_FRAME: usize = 64 * 1024;
const DEFAULT_MAX_SKIP: usize = 1024 * 1024;

impl Lines {
    /// Lines that end in a line feed, `\n`.
    pub fn lf() -> Self {
        Self::new(b"\n")
    }

    /// Lines that end in a carriage return, `\r`.
    pub fn cr() -> Self {
        Self::new(b"\r")
    }

    /// Lines that end in both, `\r\n`. Either alone is part of a line.
    pub fn crlf() -> Self {
        Self::new(b"\r\n")
    }

    fn new(newline: &'static [u8]) -> Self {
        Self {
            newline,
            end: End::Strip,
            empty: Empty::Send,
            last: Unterminated::Refuse,
            max_frame: DEFAULT_MAX_FRAME,
            max_skip: DEFAULT_MAX_SKIP,
            position: 0,
            discarded: 0,
            searched: 0,
            need: newline.len(),
            failed: None,
        }
    }

    /// These lines as UTF-8 text; short for `with(Text::new())`.
    pub fn text(self) -> Framed<Self, Text> {
        self.with(Text::new())
    }

    /// Leaves the newline in the items.
    pub fn keep_end(mut self) -> Self {
        self.end = End::Keep;
        self
    }

    /// Sends nothing for an empty payload, which is thereby lost.
    pub fn skip_empty(mut self) -> Self {
        self.empty = Empty::Skip;
        self
    }

    /// Says what bytes after the last newline are when the input ends; refused by default.
    pub fn last_without_delimiter(mut self, last: Unterminated) -> Self {
        self.last = last;
        self
    }

    /// Sets the longest line in bytes, both ways, without its newline; 64 KiB by default.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "max_frame must not be zero");
        self.max_frame = bytes;
        self
    }

    /// Sets how many bytes of one line are discarded before the error is fatal; 1 MiB by default.
    /// At least `max_frame` are.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_skip(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "max_skip must not be zero");
        self.max_skip = bytes;
        self
    }

    /// The longest line whose end is waited for.
    fn patience(&self) -> usize {
        self.max_skip.max(self.max_frame)
    }

    fn too_long(&self) -> DecodeError {
        let kind = DecodeErrorKind::TooLong {
            limit: self.max_frame,
            declared: None,
        };
        DecodeError::new(kind).with_offset(self.position)
    }

    /// Ends the present line, of `whole` bytes with its newline.
    fn finish(&mut self, whole: usize) {
        self.position = self.position.saturating_add(whole as u64);
        self.discarded = 0;
        self.searched = 0;
        self.need = self.newline.len();
    }

    /// Gives up: the line is longer than [`patience`](Self::patience).
    ///
    /// Exactly so many of its bytes are used up, however they came.
    fn give_up(&mut self, src: &mut BytesMut) -> DecodeError {
        src.advance(self.patience() - self.discarded);
        let error = self.too_long().with_skipped(self.patience() as u64).fatal();
        self.failed = Some(error.clone());
        error
    }

    /// A line of `text` bytes in all, those discarded included, followed by `newline` bytes.
    fn line(
        &mut self,
        text: usize,
        newline: usize,
        src: &mut BytesMut,
    ) -> Result<Bytes, DecodeError> {
        let whole = text.saturating_add(newline);
        if text > self.patience() {
            Err(self.give_up(src))
        } else if text > self.max_frame {
            src.advance(whole - self.discarded);
            let error = self.too_long().with_skipped(whole as u64).recoverable();
            self.finish(whole);
            Err(error)
        } else {
            // Nothing was discarded of a line that is not too long.
            let mut frame = src.split_to(whole).freeze();
            if let End::Strip = self.end {
                frame.truncate(text);
            }
            self.finish(whole);
            Ok(frame)
        }
    }

    /// Keeps what a newline may still start in, and drops the rest of a line known to be too long.
    fn wait(&mut self, src: &mut BytesMut) {
        let clear = src.len().saturating_sub(self.newline.len() - 1);
        let seen = self.discarded.saturating_add(src.len());
        if seen >= self.max_frame.saturating_add(self.newline.len()) {
            src.advance(clear);
            self.discarded += clear;
            self.searched = 0;
        } else {
            self.searched = clear;
        }
        let half = self.newline.len() == 2 && src.last() == self.newline.first();
        let to_newline = if half { 1 } else { self.newline.len() };
        let to_fatal = self.patience().saturating_add(self.newline.len()) - seen;
        self.need = to_newline.min(to_fatal);
    }

    /// What of `payload` is before its newline, if it has one at its end.
    fn body<'a>(&self, payload: &'a [u8]) -> Result<&'a [u8], EncodeError> {
        let body = payload.strip_suffix(self.newline).unwrap_or(payload);
        if body.len() > self.max_frame {
            let (limit, actual) = (self.max_frame, body.len());
            return Err(EncodeError::new(EncodeErrorKind::TooLong { limit, actual }));
        }
        match memmem::find(body, self.newline) {
            Some(at) => Err(EncodeError::new(EncodeErrorKind::Delimiter { at })),
            None => Ok(body),
        }
    }

    fn is_skipped(&self, body: &[u8]) -> bool {
        body.is_empty() && matches!(self.empty, Empty::Skip)
    }
}

impl Decode for Lines {
    type Item = Bytes;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if let Some(at) = memmem::find(&src[self.searched..], self.newline) {
            let text = self.discarded.saturating_add(self.searched + at);
            return self.line(text, self.newline.len(), src).map(Some);
        }
        let seen = self.discarded.saturating_add(src.len());
        if seen >= self.patience().saturating_add(self.newline.len()) {
            return Err(self.give_up(src));
        }
        self.wait(src);
        Ok(None)
    }

    fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        if let Some(frame) = self.decode(src)? {
            return Ok(Some(frame));
        }
        let have = self.discarded.saturating_add(src.len());
        match self.last {
            _ if have == 0 => Ok(None),
            Unterminated::Accept => self.line(have, 0, src).map(Some),
            Unterminated::Refuse => {
                let error = DecodeError::truncated(have, have.saturating_add(self.need))
                    .with_offset(self.position);
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    fn need(&self) -> usize {
        self.need
    }
}

impl Encode<[u8]> for Lines {
    fn encode(&mut self, payload: &[u8], out: &mut OutputBatch) -> Result<(), EncodeError> {
        let body = self.body(payload)?;
        if !self.is_skipped(body) {
            out.put_slice(body);
            out.put_slice(self.newline);
            out.frame_done();
        }
        Ok(())
    }
}

impl Encode<Bytes> for Lines {
    fn encode(&mut self, payload: &Bytes, out: &mut OutputBatch) -> Result<(), EncodeError> {
        let body = self.body(payload)?;
        if !self.is_skipped(body) {
            out.put_bytes(payload.slice(..body.len()));
            out.put_slice(self.newline);
            out.frame_done();
        }
        Ok(())
    }
}

impl Framing for Lines {}
