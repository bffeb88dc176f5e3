//! Headers as JSON behind their length, then a payload of bytes.

use bytes::{Bytes, BytesMut};

use super::Message;
use super::headers::{HeaderLimits, Headers};
use super::json::put_headers;
use super::reading::Reading;
use crate::message::json::text_of;
use crate::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};

/// Headers and a payload of bytes: the length of the headers in four bytes, the headers as JSON as
/// Python writes it, then the payload.
///
/// There is no length of the whole: on a stream it needs a framing. The payload is copied neither
/// way.
///
/// # Examples
///
/// ```
/// use bowline_codec::{BinaryMessage, Framing, LengthDelimited, Message};
/// use bytes::Bytes;
///
/// let files = LengthDelimited::u32().with(BinaryMessage::codec());
/// # let _ = files;
/// let message = BinaryMessage::new(Bytes::from_static(b"contents"));
/// assert_eq!(message.to_bytes()?, &b"\x00\x00\x00\x02{}contents"[..]);
/// # Ok::<(), bowline_codec::EncodeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BinaryMessage {
    /// What is said about the payload.
    pub headers: Headers,
    /// What it is about.
    pub payload: Bytes,
}

impl BinaryMessage {
    /// A message without headers.
    pub const fn new(payload: Bytes) -> Self {
        Self {
            headers: Headers::new(),
            payload,
        }
    }
}

/// Bytes of the length in front.
const LENGTH: usize = 4;

impl Message for BinaryMessage {
    const CONTENT_TYPE: &'static str = "application/octet-stream";

    fn headers(&self) -> &Headers {
        &self.headers
    }

    fn put(&self, limits: &HeaderLimits, out: &mut BytesMut) -> Result<Bytes, EncodeError> {
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH]);
        let actual = put_headers(&self.headers, limits, 0, out)?;
        let limit = u32::MAX as usize;
        let length = u32::try_from(actual)
            .map_err(|_| EncodeError::new(EncodeErrorKind::TooLong { limit, actual }))?;
        out[start..start + LENGTH].copy_from_slice(&length.to_be_bytes());
        Ok(self.payload.clone())
    }

    fn get(limits: &HeaderLimits, frame: &Bytes) -> Result<Self, DecodeError> {
        let have = frame.len();
        let truncated =
            |need| DecodeError::new(DecodeErrorKind::Truncated { have, need }).recoverable();
        let (length, rest) = frame
            .split_first_chunk::<LENGTH>()
            .ok_or_else(|| truncated(LENGTH).with_message("message too short"))?;
        let declared = u32::from_be_bytes(*length);
        let limit = limits.bytes();
        let length = usize::try_from(declared)
            .ok()
            .filter(|length| *length <= limit)
            .ok_or_else(|| {
                let declared = Some(u64::from(declared));
                DecodeError::new(DecodeErrorKind::TooLong { limit, declared })
                    .with_message("the headers are too long")
                    .recoverable()
            })?;
        let end = LENGTH.saturating_add(length);
        let text = rest
            .get(..length)
            .ok_or_else(|| truncated(end).with_message("message truncated"))?;
        let text = text_of(text)?;
        let reading = Reading::new(limits);
        let headers = reading.all_of(text, reading.headers())?;
        Ok(Self {
            headers,
            payload: frame.slice(end..),
        })
    }
}
