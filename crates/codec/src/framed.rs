//! A framing and a message codec as one: what a stream of messages takes.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::{
    Conversion, Converted, Decode, DecodeError, Encode, EncodeError, Framing, Limits, MessageCodec,
    OutputBatch,
};

/// Both directions of a stream of messages.
///
/// A stream whose halves are used by different tasks decodes and encodes at once, so a codec can
/// be [split](Self::split).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no codec of a stream",
    note = "a stream takes a framing joined to a message codec, by `framing.with(codec)`, \
            `Lines::lf().text()`, `Json::<T>::new().lines()` or `Struct::<T>::new().framed()`"
)]
pub trait Codec: Decode + Encode<<Self as Codec>::Sent> {
    /// What is encoded; what is decoded is [`Decode::Item`].
    type Sent;
    /// The sending half.
    type Encoder: Encode<<Self as Codec>::Sent> + Send + 'static;
    /// The receiving half.
    type Decoder: Decode<Item = <Self as Decode>::Item> + Send + 'static;

    /// The two halves. The receiving one goes on where this codec was.
    fn split(self) -> (Self::Encoder, Self::Decoder);
}

/// A [`Codec`] of a stream that can do without its framing: a datagram is a frame as it is.
///
/// # Examples
///
/// ```
/// use bowline_codec::{Lines, MessageCodec, Unframe};
/// use bytes::Bytes;
///
/// let text = Lines::lf().text().unframe();
/// assert_eq!(text.decode(&Bytes::from("no newline"))?, "no newline");
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no message codec that could do without its framing",
    note = "what `framing.with(codec)` makes has one; of a registry of transports `with_streams` takes \
            any codec of a stream, and `with_datagrams` adds a message codec to it"
)]
pub trait Unframe: Codec {
    /// What is left: the codec of one message.
    type Message: MessageCodec<Sent = <Self as Codec>::Sent, Received = <Self as Decode>::Item>
        + 'static;

    /// Lets go of the framing.
    fn unframe(self) -> Self::Message;
}

/// A [`Framing`] joined to the [`MessageCodec`] of its frames; made by [`Framing::with`].
///
/// # Examples
///
/// ```
/// use bowline_codec::{Codec, Decode, Encode, Framing, LengthDelimited, OutputBatch, Raw};
/// use bytes::{Bytes, BytesMut};
///
/// let (mut encoder, mut decoder) = LengthDelimited::varint().with(Raw::new()).split();
/// let mut batch = OutputBatch::new();
/// encoder.encode(&Bytes::from_static(b"x"), &mut batch)?;
/// let mut input = BytesMut::from(batch.coalesce(64));
/// assert_eq!(decoder.decode(&mut input)?.as_deref(), Some(&b"x"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Framed<F, M> {
    framing: F,
    codec: M,
    scratch: Scratch,
    progress: Progress,
}

/// The sending half of a [`Framed`].
#[derive(Debug)]
pub struct FramedEncoder<F, M> {
    framing: F,
    codec: Arc<M>,
    scratch: Scratch,
}

/// The receiving half of a [`Framed`].
#[derive(Debug)]
pub struct FramedDecoder<F, M> {
    framing: F,
    codec: Arc<M>,
    progress: Progress,
}

impl<F, M> Framed<F, M> {
    pub(crate) fn new(framing: F, codec: M) -> Self {
        Self {
            framing,
            codec,
            scratch: Scratch::default(),
            progress: Progress::default(),
        }
    }
}

impl<F, M: MessageCodec> Framed<F, M> {
    /// Puts `converter` behind the message codec, whose values it turns into messages of the
    /// program.
    pub fn map<C>(self, converter: C) -> Framed<F, Converted<M, C>>
    where
        C: Conversion<SentDto = M::Sent, ReceivedDto = M::Received>,
    {
        Framed {
            framing: self.framing,
            codec: self.codec.map(converter),
            scratch: self.scratch,
            progress: self.progress,
        }
    }
}

impl<F: Framing, M: MessageCodec> Decode for Framed<F, M> {
    type Item = M::Received;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<M::Received>, DecodeError> {
        self.progress
            .message(&self.codec, src, |src| self.framing.decode(src))
    }

    fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<M::Received>, DecodeError> {
        self.progress
            .message(&self.codec, src, |src| self.framing.decode_end(src))
    }

    fn in_frame(&self, src: &[u8]) -> bool {
        self.framing.in_frame(src)
    }

    fn padding(&self, src: &[u8]) -> usize {
        self.framing.padding(src)
    }

    fn limits(&self) -> Limits {
        self.framing.limits().around(self.codec.limits())
    }

    fn need(&self) -> usize {
        self.framing.need()
    }
}

impl<F: Framing, M: MessageCodec> Encode<M::Sent> for Framed<F, M> {
    fn encode(&mut self, item: &M::Sent, out: &mut OutputBatch) -> Result<(), EncodeError> {
        self.scratch
            .frame(&mut self.framing, &self.codec, item, out)
    }
}

impl<F, M> Codec for Framed<F, M>
where
    F: Framing + Clone + Send + 'static,
    M: MessageCodec + 'static,
{
    type Sent = M::Sent;
    type Encoder = FramedEncoder<F, M>;
    type Decoder = FramedDecoder<F, M>;

    fn split(self) -> (Self::Encoder, Self::Decoder) {
        let codec = Arc::new(self.codec);
        let encoder = FramedEncoder {
            framing: self.framing.clone(),
            codec: Arc::clone(&codec),
            scratch: self.scratch,
        };
        let decoder = FramedDecoder {
            framing: self.framing,
            codec,
            progress: self.progress,
        };
        (encoder, decoder)
    }
}

impl<F, M> Unframe for Framed<F, M>
where
    F: Framing + Clone + Send + 'static,
    M: MessageCodec + 'static,
{
    type Message = M;

    fn unframe(self) -> M {
        self.codec
    }
}

impl<F: Framing, M: MessageCodec> Encode<M::Sent> for FramedEncoder<F, M> {
    fn encode(&mut self, item: &M::Sent, out: &mut OutputBatch) -> Result<(), EncodeError> {
        self.scratch
            .frame(&mut self.framing, &*self.codec, item, out)
    }
}

impl<F: Framing, M: MessageCodec> Decode for FramedDecoder<F, M> {
    type Item = M::Received;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<M::Received>, DecodeError> {
        self.progress
            .message(&*self.codec, src, |src| self.framing.decode(src))
    }

    fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<M::Received>, DecodeError> {
        self.progress
            .message(&*self.codec, src, |src| self.framing.decode_end(src))
    }

    fn in_frame(&self, src: &[u8]) -> bool {
        self.framing.in_frame(src)
    }

    fn padding(&self, src: &[u8]) -> usize {
        self.framing.padding(src)
    }

    fn limits(&self) -> Limits {
        self.framing.limits().around(self.codec.limits())
    }

    fn need(&self) -> usize {
        self.framing.need()
    }
}

/// Where a message is encoded before its frame is written, since the header comes first.
#[derive(Default)]
struct Scratch(BytesMut);

/// A scratch that a refused message grew beyond this is not kept.
const SCRATCH_TOO_LARGE: usize = 256 * 1024;

impl Scratch {
    /// Appends one framed message to `out`, or nothing.
    fn frame<F: Framing, M: MessageCodec>(
        &mut self,
        framing: &mut F,
        codec: &M,
        message: &M::Sent,
        out: &mut OutputBatch,
    ) -> Result<(), EncodeError> {
        let mark = out.mark();
        let result = match codec.encoded(message) {
            Some(payload) => Encode::<Bytes>::encode(framing, &payload, out),
            None => self.fill_and_frame(framing, codec, message, out),
        };
        if result.is_err() {
            out.rollback(mark);
        }
        result
    }

    fn fill_and_frame<F: Framing, M: MessageCodec>(
        &mut self,
        framing: &mut F,
        codec: &M,
        message: &M::Sent,
        out: &mut OutputBatch,
    ) -> Result<(), EncodeError> {
        // Cleared before and not after use: a codec that failed, or panicked, may leave half a
        // message behind.
        self.0.clear();
        if self.0.capacity() > SCRATCH_TOO_LARGE {
            self.0 = BytesMut::new();
        }
        let rest = codec.encode_start(message, &mut self.0)?;
        if rest.len() >= OutputBatch::KEEP {
            return framing.encode_parts(&self.0, &rest, out);
        }
        self.0.extend_from_slice(&rest);
        if self.0.len() < OutputBatch::KEEP {
            // Copied, so that the scratch is used again and steady traffic allocates nothing.
            Encode::<[u8]>::encode(framing, &self.0, out)
        } else {
            let payload = self.0.split().freeze();
            Encode::<Bytes>::encode(framing, &payload, out)
        }
    }
}

impl fmt::Debug for Scratch {
    // Never the bytes: they are the payload of the last message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch")
            .field("capacity", &self.0.capacity())
            .finish()
    }
}

/// A frame that would keep so many times its size is copied.
const PINNED_MOST: usize = 8;

/// A long frame may keep so much all the same: what is read at once, when no longer one is expected.
const PINNED_BUFFER: usize = 64 * 1024;

/// How far a decoder got in its stream, so that a refused frame is reported with its place, and how
/// much memory its frames share.
#[derive(Debug, Default)]
struct Progress {
    /// Where in the stream the present frame starts.
    start: u64,
    /// Bytes of the present frame that the framing has taken out of the buffer.
    taken: u64,
    /// How large the buffer was when it was new: it shrinks by what is split off, and whoever has
    /// that has all of it.
    buffer: usize,
    /// How much of it was left.
    rest: usize,
}

impl Progress {
    /// Takes one frame with `next` and decodes the message in it.
    fn message<M: MessageCodec>(
        &mut self,
        codec: &M,
        src: &mut BytesMut,
        next: impl FnOnce(&mut BytesMut) -> Result<Option<Bytes>, DecodeError>,
    ) -> Result<Option<M::Received>, DecodeError> {
        let before = src.len();
        if src.capacity() > self.rest {
            self.buffer = src.capacity(); // it is another one, or has grown
        }
        let result = next(src);
        self.rest = src.capacity();
        self.taken += before.saturating_sub(src.len()) as u64;
        let frame = match result {
            Ok(None) => return Ok(None),
            Ok(Some(frame)) => frame,
            Err(error) => {
                if error.is_recoverable() {
                    self.finish();
                }
                return Err(error);
            }
        };
        let (start, taken) = self.finish();
        let frame = match self.pins(&frame) && codec.keeps_frame() {
            true => Bytes::copy_from_slice(&frame),
            false => frame,
        };
        match codec.decode_owned(frame) {
            Ok(message) => Ok(Some(message)),
            // Whatever is wrong inside the frame, the framing knows where the next one starts.
            Err(error) => {
                let error = error.with_offset(start).with_skipped(taken);
                Err(error.recoverable().in_frame())
            }
        }
    }

    /// Whether whoever keeps `frame` keeps much more. Long ones are copied only out of a buffer that was
    /// made for one much longer.
    fn pins(&self, frame: &Bytes) -> bool {
        let allowed = match frame.len() {
            short if short < OutputBatch::KEEP => 0,
            _ => PINNED_BUFFER,
        };
        self.buffer > allowed && frame.len() * PINNED_MOST <= self.buffer
    }

    /// Ends the present frame; gives its start and its length.
    fn finish(&mut self) -> (u64, u64) {
        let frame = (self.start, self.taken);
        self.start += self.taken;
        self.taken = 0;
        frame
    }
}
