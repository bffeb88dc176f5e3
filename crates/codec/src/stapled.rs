//! Two codecs as one: one sends, the other receives.

use bytes::{Bytes, BytesMut};

use crate::{
    Codec, Decode, DecodeError, Encode, EncodeError, Framing, Limits, MessageCodec, OutputBatch,
    Unframe,
};

/// Encodes with one codec and decodes with another.
///
/// Of two framings it is a framing, of two message codecs a message codec, of two [`Codec`]s a
/// [`Codec`]; of halves, it can do what they can.
///
/// # Examples
///
/// ```
/// use bowline_codec::{Decode, Encode, Framing, LengthDelimited, Lines, OutputBatch, Stapled};
/// use bytes::BytesMut;
///
/// let mut framing = Stapled::new(LengthDelimited::u8(), Lines::lf());
/// let mut batch = OutputBatch::new();
/// framing.encode(&b"out"[..], &mut batch)?;
/// assert_eq!(batch.coalesce(64), b"\x03out");
/// assert_eq!(framing.decode(&mut BytesMut::from("in\n"))?.unwrap(), "in");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Stapled<E, D> {
    encoder: E,
    decoder: D,
}

impl<E, D> Stapled<E, D> {
    /// Sends with `encoder` and receives with `decoder`.
    pub fn new(encoder: E, decoder: D) -> Self {
        Self { encoder, decoder }
    }
}

impl<T: ?Sized, E: Encode<T>, D> Encode<T> for Stapled<E, D> {
    fn encode(&mut self, item: &T, out: &mut OutputBatch) -> Result<(), EncodeError> {
        self.encoder.encode(item, out)
    }
}

impl<E, D: Decode> Decode for Stapled<E, D> {
    type Item = D::Item;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<D::Item>, DecodeError> {
        self.decoder.decode(src)
    }

    fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<D::Item>, DecodeError> {
        self.decoder.decode_end(src)
    }

    fn in_frame(&self, src: &[u8]) -> bool {
        self.decoder.in_frame(src)
    }

    fn padding(&self, src: &[u8]) -> usize {
        self.decoder.padding(src)
    }

    fn limits(&self) -> Limits {
        self.decoder.limits()
    }

    fn need(&self) -> usize {
        self.decoder.need()
    }
}

impl<E: Framing, D: Framing> Framing for Stapled<E, D> {
    fn encode_parts(
        &mut self,
        start: &[u8],
        rest: &Bytes,
        out: &mut OutputBatch,
    ) -> Result<(), EncodeError> {
        self.encoder.encode_parts(start, rest, out)
    }
}

impl<E: Codec, D: Codec> Codec for Stapled<E, D> {
    type Sent = E::Sent;
    type Encoder = E::Encoder;
    type Decoder = D::Decoder;

    fn split(self) -> (E::Encoder, D::Decoder) {
        (self.encoder.split().0, self.decoder.split().1)
    }
}

impl<E: Unframe, D: Unframe> Unframe for Stapled<E, D> {
    type Message = Stapled<E::Message, D::Message>;

    fn unframe(self) -> Self::Message {
        Stapled::new(self.encoder.unframe(), self.decoder.unframe())
    }
}

impl<E: MessageCodec, D: MessageCodec> MessageCodec for Stapled<E, D> {
    type Sent = E::Sent;
    type Received = D::Received;

    fn encode(&self, message: &E::Sent, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.encoder.encode(message, out)
    }

    fn decode(&self, frame: &Bytes) -> Result<D::Received, DecodeError> {
        self.decoder.decode(frame)
    }

    fn decode_owned(&self, frame: Bytes) -> Result<D::Received, DecodeError> {
        self.decoder.decode_owned(frame)
    }

    fn limits(&self) -> Limits {
        self.decoder.limits()
    }

    fn keeps_frame(&self) -> bool {
        self.decoder.keeps_frame()
    }

    fn encoded(&self, message: &E::Sent) -> Option<Bytes> {
        self.encoder.encoded(message)
    }

    fn encode_start(&self, message: &E::Sent, out: &mut BytesMut) -> Result<Bytes, EncodeError> {
        self.encoder.encode_start(message, out)
    }
}
