//! Lines: text up to a newline.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use super::delimited::{Delimited, Empty, End, Unterminated};
use crate::{Decode, DecodeError, Encode, EncodeError, Framed, Framing, Limits, OutputBatch, Text};

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
#[derive(Clone, Debug)]
pub struct Lines(Delimited);

impl Lines {
    /// Lines that end in a line feed, `\n`.
    pub fn lf() -> Self {
        Self(Delimited::new(Finder::new(b"\n")))
    }

    /// Lines that end in a carriage return, `\r`.
    pub fn cr() -> Self {
        Self(Delimited::new(Finder::new(b"\r")))
    }

    /// Lines that end in both, `\r\n`. Either alone is part of a line.
    pub fn crlf() -> Self {
        Self(Delimited::new(Finder::new(b"\r\n")))
    }

    /// These lines as UTF-8 text; short for `with(Text::new())`.
    pub fn text(self) -> Framed<Self, Text> {
        self.with(Text::new())
    }

    /// Leaves the newline in the items.
    pub fn keep_end(mut self) -> Self {
        self.0.end = End::Keep;
        self
    }

    /// Sends nothing for an empty payload, which is thereby lost.
    pub fn skip_empty(mut self) -> Self {
        self.0.empty = Empty::Skip;
        self
    }

    /// Says what bytes after the last newline are when the input ends; refused by default.
    pub fn last_without_delimiter(mut self, last: Unterminated) -> Self {
        self.0.last = last;
        self
    }

    /// Sets the longest line in bytes, both ways, without its newline; 64 KiB by default.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.0.set_max_frame(bytes);
        self
    }

    /// Sets how many bytes of one line are discarded before the error is fatal; 1 MiB by default.
    /// At least `max_frame` are.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_skip(mut self, bytes: usize) -> Self {
        self.0.set_max_skip(bytes);
        self
    }

    /// What of `payload` is before its newline, if it has one at its end.
    fn body<'a>(&self, payload: &'a [u8]) -> Result<&'a [u8], EncodeError> {
        let body = payload.strip_suffix(self.0.delimiter()).unwrap_or(payload);
        self.0.check(body)?;
        Ok(body)
    }
}

impl Decode for Lines {
    type Item = Bytes;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        self.0.decode(src)
    }

    fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        self.0.decode_end(src)
    }

    fn in_frame(&self, src: &[u8]) -> bool {
        self.0.in_frame(src)
    }

    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn need(&self) -> usize {
        self.0.need()
    }
}

impl Encode<[u8]> for Lines {
    fn encode(&mut self, payload: &[u8], out: &mut OutputBatch) -> Result<(), EncodeError> {
        let body = self.body(payload)?;
        if !self.0.skips(body) {
            out.put_slice(body);
            self.0.close(out);
        }
        Ok(())
    }
}

impl Encode<Bytes> for Lines {
    fn encode(&mut self, payload: &Bytes, out: &mut OutputBatch) -> Result<(), EncodeError> {
        let body = self.body(payload)?.len();
        if !self.0.skips(&payload[..body]) {
            out.put_bytes(payload.slice(..body));
            self.0.close(out);
        }
        Ok(())
    }
}

impl Framing for Lines {}
