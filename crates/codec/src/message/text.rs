//! Frames as text.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, MessageCodec};

/// Messages as text: a `String`, in UTF-8 unless [`encoding`](Self::encoding) says otherwise.
///
/// # Examples
///
/// ```
/// use bowline_codec::{Encoding, MessageCodec, Text};
/// use bytes::Bytes;
///
/// let latin = Text::new().encoding(Encoding::Latin1);
/// assert_eq!(latin.decode(&Bytes::from_static(b"caf\xe9"))?, "café");
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Text {
    encoding: Encoding,
    strictness: Strictness,
}

/// How characters are bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// One byte a character, up to 127.
    Ascii,
    /// UTF-8.
    #[default]
    Utf8,
    /// ISO 8859-1: one byte a character, up to 255.
    Latin1,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encoding::Ascii => "ASCII",
            Encoding::Utf8 => "UTF-8",
            Encoding::Latin1 => "Latin-1",
        })
    }
}

#[derive(Clone, Copy, Debug, Default)]
enum Strictness {
    #[default]
    Strict,
    Lossy,
}

impl Text {
    /// UTF-8, anything else refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the encoding.
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Replaces what the encoding lacks, by U+FFFD in decoding and `?` in encoding, instead of
    /// refusing it.
    pub fn lossy(mut self) -> Self {
        self.strictness = Strictness::Lossy;
        self
    }

    /// The character beyond which a byte of a single-byte encoding cannot go.
    fn last(self) -> Option<char> {
        match self.encoding {
            Encoding::Ascii => Some('\x7f'),
            Encoding::Latin1 => Some('\u{ff}'),
            Encoding::Utf8 => None,
        }
    }
}

impl MessageCodec for Text {
    type Sent = String;
    type Received = String;

    fn encode(&self, message: &String, out: &mut BytesMut) -> Result<(), EncodeError> {
        let Some(last) = self.last().filter(|_| !message.is_ascii()) else {
            out.extend_from_slice(message.as_bytes());
            return Ok(());
        };
        if let Strictness::Strict = self.strictness
            && message.chars().any(|character| character > last)
        {
            let encoding = self.encoding;
            return Err(EncodeError::new(EncodeErrorKind::Text { encoding }));
        }
        out.reserve(message.len());
        for character in message.chars() {
            let byte = u8::try_from(character).ok().filter(|_| character <= last);
            out.put_u8(byte.unwrap_or(b'?'));
        }
        Ok(())
    }

    fn keeps_frame(&self) -> bool {
        false
    }

    fn decode(&self, frame: &Bytes) -> Result<String, DecodeError> {
        let refused = |valid_up_to| {
            Err(DecodeError::new(DecodeErrorKind::Text {
                encoding: self.encoding,
                valid_up_to,
            }))
        };
        match (self.encoding, self.strictness) {
            (Encoding::Utf8, Strictness::Strict) => match std::str::from_utf8(frame) {
                Ok(text) => Ok(text.to_owned()),
                Err(error) => refused(error.valid_up_to()),
            },
            (Encoding::Utf8, Strictness::Lossy) => Ok(String::from_utf8_lossy(frame).into_owned()),
            (Encoding::Ascii, strictness) => {
                let foreign = frame.iter().position(|byte| !byte.is_ascii());
                match (foreign, strictness) {
                    (Some(at), Strictness::Strict) => refused(at),
                    _ => Ok(frame
                        .iter()
                        .map(|byte| ascii_or_replacement(*byte))
                        .collect()),
                }
            }
            (Encoding::Latin1, _) => Ok(frame.iter().copied().map(char::from).collect()),
        }
    }
}

fn ascii_or_replacement(byte: u8) -> char {
    if byte.is_ascii() {
        char::from(byte)
    } else {
        char::REPLACEMENT_CHARACTER
    }
}
