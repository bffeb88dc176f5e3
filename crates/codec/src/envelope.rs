//! Messages that are headers and a payload, as JSON or in binary.

pub(crate) mod binary;
pub(crate) mod headers;
pub(crate) mod http;
pub(crate) mod json;
mod reading;

use std::fmt;
use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};

use headers::{HeaderLimits, Headers};

use crate::{DecodeError, EncodeError, Limits, MessageCodec};

/// A message of headers and a payload that knows its own form on the wire.
///
/// # Examples
///
/// ```
/// use bowline_codec::{BinaryMessage, Message};
/// use bytes::Bytes;
///
/// let mut message = BinaryMessage::new(Bytes::from_static(b"\x00\xff"));
/// message.headers.set("a", "é");
/// let bytes = message.to_bytes()?;
/// assert_eq!(bytes, &b"\x00\x00\x00\x0f{\"a\": \"\\u00e9\"}\x00\xff"[..]);
/// assert_eq!(BinaryMessage::from_bytes(&bytes)?, message);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Message: Sized {
    /// The media type of the form on the wire.
    const CONTENT_TYPE: &'static str;

    /// The headers of this message.
    fn headers(&self) -> &Headers;

    /// Appends the message to `out` and gives what is to follow, which is mostly nothing: a payload
    /// that is bytes already need not be copied. What an error leaves in `out` is taken back.
    ///
    /// # Errors
    ///
    /// [`EncodeErrorKind`](crate::EncodeErrorKind) `TooLong` for headers over `limits`, `Depth`, and
    /// `Value` for what cannot be expressed.
    fn put(&self, limits: &HeaderLimits, out: &mut BytesMut) -> Result<Bytes, EncodeError>;

    /// Reads the message that is all of `frame`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is none.
    fn get(limits: &HeaderLimits, frame: &Bytes) -> Result<Self, DecodeError>;

    /// Whether a message that was read may hold on to bytes of its frame, as
    /// [`MessageCodec::keeps_frame`] says.
    const KEEPS_FRAME: bool = true;

    /// The message on the wire, with the default limits.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    fn to_bytes(&self) -> Result<Bytes, EncodeError> {
        let mut out = BytesMut::new();
        let rest = self.put(&HeaderLimits::new(), &mut out)?;
        out.extend_from_slice(&rest);
        Ok(out.freeze())
    }

    /// The message that is all of `frame`, with the default limits.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    fn from_bytes(frame: &Bytes) -> Result<Self, DecodeError> {
        Self::get(&HeaderLimits::new(), frame)
    }

    /// The codec of such messages, with the default limits.
    fn codec() -> Messages<Self> {
        Messages::new()
    }
}

/// The codec of messages that know their own form; made by [`Message::codec`].
pub struct Messages<M> {
    limits: HeaderLimits,
    marker: PhantomData<fn() -> M>,
}

impl<M> Messages<M> {
    fn new() -> Self {
        Self {
            limits: HeaderLimits::new(),
            marker: PhantomData,
        }
    }

    /// Sets how many headers a message may have, how long they may be, and how deep its JSON.
    pub fn header_limits(mut self, limits: HeaderLimits) -> Self {
        self.limits = limits;
        self
    }
}

impl<M: Message> MessageCodec for Messages<M> {
    type Sent = M;
    type Received = M;

    fn encode(&self, message: &M, out: &mut BytesMut) -> Result<(), EncodeError> {
        let rest = self.encode_start(message, out)?;
        out.extend_from_slice(&rest);
        Ok(())
    }

    fn encode_start(&self, message: &M, out: &mut BytesMut) -> Result<Bytes, EncodeError> {
        let before = out.len();
        let put = message.put(&self.limits, out);
        if put.is_err() {
            out.truncate(before);
        }
        put
    }

    fn decode(&self, frame: &Bytes) -> Result<M, DecodeError> {
        M::get(&self.limits, frame)
    }

    fn limits(&self) -> Limits {
        Limits {
            max_depth: Some(self.limits.depth()),
            max_headers: Some(self.limits.count()),
            max_header_bytes: Some(self.limits.bytes()),
            ..Limits::default()
        }
    }

    fn keeps_frame(&self) -> bool {
        M::KEEPS_FRAME
    }
}

impl<M> Clone for Messages<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Messages<M> {}

impl<M> fmt::Debug for Messages<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages")
            .field("limits", &self.limits)
            .finish()
    }
}
