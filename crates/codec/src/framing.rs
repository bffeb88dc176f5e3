//! Framings: byte stream to frames and back.

use std::mem;

use bytes::{Bytes, BytesMut};

use crate::{Decode, Encode, EncodeError, Framed, MessageCodec, OutputBatch};

mod enclosed;
mod items;
pub(crate) mod place;
pub(crate) mod work;

pub(crate) mod delimited;

pub(crate) mod bytes_framing;
pub(crate) mod cbor;
pub(crate) mod cobs;
pub(crate) mod delimiter;
pub(crate) mod fixed_size;
pub(crate) mod json;
pub(crate) mod length_delimited;
pub(crate) mod lines;
pub(crate) mod msgpack;
pub(crate) mod netstring;

/// Cuts a byte stream into frames, and writes frames so that they can be found again.
///
/// A framing knows no meaning; [`with`](Self::with) gives its frames one.
pub trait Framing: Decode<Item = Bytes> + Encode<Bytes> + Encode<[u8]> {
    /// Joins this framing to the codec of what is inside its frames.
    fn with<M: MessageCodec>(self, codec: M) -> Framed<Self, M>
    where
        Self: Sized,
    {
        Framed::new(self, codec)
    }

    /// Appends the frame whose payload is `start` and then `rest`.
    ///
    /// Joins them by copying where there are two, unless overridden.
    ///
    /// # Errors
    ///
    /// As [`Encode::encode`].
    fn encode_parts(
        &mut self,
        start: &[u8],
        rest: &Bytes,
        out: &mut OutputBatch,
    ) -> Result<(), EncodeError> {
        if start.is_empty() {
            return Encode::<Bytes>::encode(self, rest, out);
        }
        let payload = Bytes::from([start, rest].concat());
        Encode::<Bytes>::encode(self, &payload, out)
    }
}

/// Takes a frame out of what has come, without a copy.
///
/// Where that is all there is, and there is no room for more, the frame has its buffer to itself: to
/// share it with what is to come would be an allocation, and one more for each small message of a
/// connection that is asked one thing at a time.
fn take_frame(src: &mut BytesMut, len: usize) -> Bytes {
    if len == src.len() && len == src.capacity() {
        return mem::take(src).freeze();
    }
    src.split_to(len).freeze()
}
