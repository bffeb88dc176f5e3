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
///
/// # Examples
///
/// A framing of your own: a byte that says how many follow. It can be cloned, for the two halves
/// of a stream have one each.
///
/// ```
/// use bowline_codec::{
///     Decode, DecodeError, Encode, EncodeError, EncodeErrorKind, Framing, OutputBatch, Text,
/// };
/// use bytes::{Buf, Bytes, BytesMut};
///
/// #[derive(Clone, Debug, Default)]
/// struct Short {
///     need: usize,
/// }
///
/// impl Decode for Short {
///     type Item = Bytes;
///
///     fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
///         let whole = 1 + src.first().map_or(0, |len| usize::from(*len));
///         if src.len() < whole {
///             self.need = whole - src.len();
///             return Ok(None);
///         }
///         src.advance(1);
///         Ok(Some(src.split_to(whole - 1).freeze()))
///     }
///
///     fn need(&self) -> usize {
///         self.need.max(1)
///     }
/// }
///
/// impl Encode<[u8]> for Short {
///     fn encode(&mut self, frame: &[u8], out: &mut OutputBatch) -> Result<(), EncodeError> {
///         let (limit, actual) = (255, frame.len());
///         let Ok(len) = u8::try_from(actual) else {
///             return Err(EncodeError::new(EncodeErrorKind::TooLong { limit, actual }));
///         };
///         out.put_u8(len);
///         out.put_slice(frame);
///         out.frame_done();
///         Ok(())
///     }
/// }
///
/// impl Encode<Bytes> for Short {
///     fn encode(&mut self, frame: &Bytes, out: &mut OutputBatch) -> Result<(), EncodeError> {
///         Encode::<[u8]>::encode(self, frame, out)
///     }
/// }
///
/// impl Framing for Short {}
///
/// let mut codec = Short::default().with(Text::new());
/// let mut batch = OutputBatch::new();
/// codec.encode(&"ahoy".to_owned(), &mut batch)?;
/// assert_eq!(batch.coalesce(64), b"\x04ahoy");
/// let mut input = BytesMut::from(&b"\x04ahoy\x02me"[..]);
/// assert_eq!(codec.decode(&mut input)?.as_deref(), Some("ahoy"));
/// assert_eq!(codec.decode(&mut input)?.as_deref(), Some("me"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no framing",
    note = "a framing cuts a stream of bytes into frames, such as `Lines::lf()` or \
            `LengthDelimited::u32()`"
)]
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
