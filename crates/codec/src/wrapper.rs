//! Wrappers: bytes to bytes inside one frame.

#[cfg(feature = "base64")]
pub(crate) mod base64;
pub(crate) mod compress;
#[cfg(feature = "lz4")]
pub(crate) mod lz4;
#[cfg(feature = "zlib")]
pub(crate) mod zlib;

use bytes::{Bytes, BytesMut};

use crate::{DecodeError, EncodeError, Limits, MessageCodec};

/// Turns the bytes of a message into other bytes, and back.
///
/// Put round a message codec by [`MessageCodec::wrap`]. Compression implements
/// [`Compress`](crate::Compress) instead, and is a wrapper by that.
pub trait Wrapper: Send + Sync {
    /// Appends the wrapped form of `payload` to `out`. What an error leaves there is taken back.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if there is no such form.
    fn wrap(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), EncodeError>;

    /// What was wrapped. Must use every byte of `frame`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if `frame` is not the wrapped form of anything, or is so of too much.
    fn unwrap(&self, frame: &Bytes) -> Result<Bytes, DecodeError>;

    /// What [`unwrap`](Self::unwrap) gives at most. No limits, unless overridden.
    fn unwrap_limits(&self) -> Limits {
        Limits::default()
    }
}

/// A message codec and a wrapper round its bytes; made by [`MessageCodec::wrap`].
#[derive(Clone, Copy, Debug)]
pub struct Wrapped<M, W> {
    inner: M,
    wrapper: W,
}

impl<M, W> Wrapped<M, W> {
    pub(crate) fn new(inner: M, wrapper: W) -> Self {
        Self { inner, wrapper }
    }
}

impl<M: MessageCodec, W> Wrapped<M, W> {
    /// What the wrapper is put round.
    fn payload(&self, message: &M::Sent) -> Result<Bytes, EncodeError> {
        if let Some(payload) = self.inner.encoded(message) {
            return Ok(payload);
        }
        let mut payload = BytesMut::new();
        let rest = self.inner.encode_start(message, &mut payload)?;
        if payload.is_empty() {
            return Ok(rest);
        }
        payload.extend_from_slice(&rest);
        Ok(payload.freeze())
    }
}

impl<M: MessageCodec, W: Wrapper> MessageCodec for Wrapped<M, W> {
    type Sent = M::Sent;
    type Received = M::Received;

    fn encode(&self, message: &M::Sent, out: &mut BytesMut) -> Result<(), EncodeError> {
        let payload = self.payload(message)?;
        let before = out.len();
        let wrapped = self.wrapper.wrap(&payload, out);
        if wrapped.is_err() {
            out.truncate(before);
        }
        wrapped
    }

    fn decode(&self, frame: &Bytes) -> Result<M::Received, DecodeError> {
        self.inner.decode_owned(self.wrapper.unwrap(frame)?)
    }

    fn limits(&self) -> Limits {
        self.wrapper.unwrap_limits().around(self.inner.limits())
    }

    fn keeps_frame(&self) -> bool {
        self.inner.keeps_frame() // a wrapper may give a part of the frame as it is
    }
}
