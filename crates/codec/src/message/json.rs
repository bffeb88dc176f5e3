//! JSON through serde_json.

pub(crate) mod integers;
pub(crate) mod python;

use std::marker::PhantomData;

use bytes::BytesMut;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};
use serde_json::error::Category;

use python::{Alphabet, Appending, Spacing};

use super::depth::{EncodeDepth, Nesting};
use super::quote;
use crate::{
    DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Encoding, Framed, Framing, Lines,
};

/// Messages as JSON, compact and in UTF-8 unless [`spaced`](Self::spaced) or
/// [`ascii_only`](Self::ascii_only).
///
/// On a stream, either [`lines`](Self::lines) of it, or, behind
/// [`JsonFraming`](crate::JsonFraming), one document right after another.
///
/// Non-finite floats are written as `null`; in input, `NaN` and `Infinity` are malformed. Space
/// around a document is accepted, anything else after it is
/// [`Trailing`](DecodeErrorKind::Trailing). Nesting beyond 128, or [`max_depth`](Self::max_depth), is
/// [`Depth`](DecodeErrorKind::Depth).
///
/// # Examples
///
/// ```
/// use bowline_codec::Json;
/// use bytes::BytesMut;
///
/// let codec = Json::<Vec<u8>>::new();
/// let mut frame = BytesMut::new();
/// codec.encode(&vec![1, 2], &mut frame)?;
/// assert_eq!(&frame[..], b"[1,2]");
/// assert_eq!(codec.decode(&frame)?, [1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Json<T> {
    spacing: Spacing,
    alphabet: Alphabet,
    max_depth: usize,
    diagnostics: usize,
    marker: PhantomData<fn() -> T>,
}

/// JSON documents one a line; made by [`Json::lines`].
pub type JsonLines<T> = Framed<Lines, Json<T>>;

impl<T> Json<T> {
    /// The codec of messages of type `T`.
    pub const fn new() -> Self {
        Self {
            spacing: Spacing::Compact,
            alphabet: Alphabet::Utf8,
            max_depth: Nesting::DEFAULT,
            diagnostics: 0,
            marker: PhantomData,
        }
    }

    /// Writes a space after each comma and each colon, and floats as Python does: `1e+16`, `1e-05`.
    pub fn spaced(mut self) -> Self {
        self.spacing = Spacing::Spaced;
        self
    }

    /// Escapes every character outside `20..7E`, and writes floats as Python does: `1e+16`, `1e-05`.
    pub fn ascii_only(mut self) -> Self {
        self.alphabet = Alphabet::Ascii;
        self
    }

    /// One document a line, each ended by `\n`; a bad line costs that line.
    ///
    /// # Examples
    ///
    /// ```
    /// use bowline_codec::{Decode, Json};
    /// use bytes::BytesMut;
    ///
    /// let mut numbers = Json::<u8>::new().lines();
    /// let mut input = BytesMut::from("1\nx\n3\n");
    /// assert_eq!(numbers.decode(&mut input)?, Some(1));
    /// assert!(numbers.decode(&mut input).unwrap_err().is_recoverable());
    /// assert_eq!(numbers.decode(&mut input)?, Some(3));
    /// # Ok::<(), bowline_codec::DecodeError>(())
    /// ```
    pub fn lines(self) -> JsonLines<T>
    where
        T: Serialize + DeserializeOwned,
    {
        Lines::lf().with(self)
    }

    /// Sets how many values may be inside one another, both ways; 128 by default.
    ///
    /// Arrays and objects count, enum variants with a payload, and what is inside of `Some` and of a
    /// newtype. Each level takes some of the stack.
    ///
    /// # Panics
    ///
    /// If `levels` is zero.
    pub fn max_depth(mut self, levels: usize) -> Self {
        assert!(levels > 0, "max_depth must not be zero");
        self.max_depth = levels;
        self
    }

    /// Lets decode errors carry up to `bytes` of serde's description, which may quote the payload.
    ///
    /// None by default; at most 256.
    pub fn diagnostics(mut self, bytes: usize) -> Self {
        self.diagnostics = bytes;
        self
    }

    /// As [`MessageCodec::encode`](crate::MessageCodec::encode), for a type that can only be serialised.
    ///
    /// # Errors
    ///
    /// [`EncodeErrorKind`] `Value` if `message` refuses, or is a map whose keys are no text; `Depth`.
    pub fn encode(&self, message: &T, out: &mut BytesMut) -> Result<(), EncodeError>
    where
        T: Serialize,
    {
        let before = out.len();
        let depth = EncodeDepth::of(self.max_depth).listing_bytes();
        let message = &depth.within(message);
        let written = match (self.spacing, self.alphabet) {
            (Spacing::Compact, Alphabet::Utf8) => {
                serde_json::to_writer(Appending(&mut *out), message)
            }
            (spacing, alphabet) => python::write(message, spacing, alphabet, out),
        };
        written.map_err(|error| {
            out.truncate(before);
            depth.refused(|| {
                EncodeError::new(EncodeErrorKind::Value).with_message(error.to_string())
            })
        })
    }

    /// As [`MessageCodec::decode`](crate::MessageCodec::decode), for a type that can only be deserialised.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind`] `Text` if the frame is not UTF-8, `Syntax` if it is not JSON or not a
    /// `T`, `Depth` and `Trailing`.
    pub fn decode(&self, frame: &[u8]) -> Result<T, DecodeError>
    where
        T: DeserializeOwned,
    {
        let text = text_of(frame)?;
        let nesting = Nesting::of(text.len(), self.max_depth);
        read(text, &nesting, PhantomData::<T>)
            .map_err(|error| refused(text, &error, &nesting, self.diagnostics))
    }
}

/// The value of `seed` that all of `text` is, with `nesting` as the limit instead of serde_json's own,
/// which is fixed, and does not count what is nested without brackets.
pub(crate) fn read<'t, S: DeserializeSeed<'t>>(
    text: &'t str,
    nesting: &Nesting,
    seed: S,
) -> Result<S::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let value = seed.deserialize(nesting.limit(&mut deserializer))?;
    deserializer.end()?;
    Ok(value)
}

/// The text that `frame` is.
pub(crate) fn text_of(frame: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(frame).map_err(|error| {
        DecodeError::new(DecodeErrorKind::Text {
            encoding: Encoding::Utf8,
            valid_up_to: error.valid_up_to(),
        })
    })
}

/// What serde_json found wrong with `text`, in our words, and in up to `diagnostics` bytes of its own.
pub(crate) fn refused(
    text: &str,
    error: &serde_json::Error,
    nesting: &Nesting,
    diagnostics: usize,
) -> DecodeError {
    let (line, column) = (error.line(), error.column());
    let description = error.to_string();
    // serde_json tells the latter two apart only by their text.
    let kind = if let Some(depth) = nesting.exceeded() {
        depth
    } else if description.starts_with("trailing characters") {
        let left = text
            .split_inclusive('\n')
            .skip(line.saturating_sub(1))
            .map(str::len);
        let extra = left.sum::<usize>().saturating_sub(column.saturating_sub(1));
        DecodeErrorKind::Trailing { extra }
    } else {
        DecodeErrorKind::Syntax { line, column }
    };
    let refusal = DecodeError::new(kind);
    match (diagnostics, error.classify()) {
        (0, _) if nesting.exceeded().is_some() => refusal,
        (0, Category::Data) => refusal.with_message("the document does not fit the type"),
        (0, Category::Eof) => refusal.with_message("the document is incomplete"),
        (0, _) => refusal,
        (bytes, _) => refusal.with_message(quote(&description, bytes)),
    }
}

payload_codec!(Json {
    spacing,
    alphabet,
    max_depth,
    diagnostics
});
