//! A payload that is bytes already is sent as it is, whatever is put round its codec.

use bowline_codec::{
    Base64, BinaryMessage, BytesFraming, ConvertFn, DecodeError, Encode, EncodeError, FixedSize,
    Framing, LengthDelimited, Lines, Message, MessageCodec, Netstring, OutputBatch, Raw, Stapled,
    Text, Wrapper,
};
use bytes::{Bytes, BytesMut};

const SIZE: usize = 10_000;

/// Whether `codec` sends `message` in frames of `framing` without a copy of `payload`.
fn shares<M: MessageCodec>(framing: impl Framing, codec: M, message: &M::Sent, payload: &Bytes) {
    let mut copied = OutputBatch::new();
    let mut whole = BytesMut::new();
    codec.encode(message, &mut whole).unwrap();
    let mut framing = framing;
    framing.encode(&whole[..], &mut copied).unwrap();
    let mut batch = OutputBatch::new();
    framing.with(codec).encode(message, &mut batch).unwrap();
    assert!(batch.slices().flatten().eq(copied.slices().flatten()));
    assert_eq!(batch.unsent_frames(), 1);
    assert!(
        batch
            .slices()
            .any(|slice| std::ptr::eq(slice.as_ptr(), payload.as_ptr())),
        "{} was copied",
        std::any::type_name::<M>()
    );
}

// C5
#[test]
fn a_large_payload_is_not_copied_on_its_way_out() {
    let payload = Bytes::from(vec![b'x'; SIZE]);
    let message = BinaryMessage::new(payload.clone());
    let whole = message.to_bytes().unwrap().len();
    let same = || ConvertFn::new(|it: &Bytes| Ok(it.clone()), Ok::<Bytes, _>);
    let unpacked = || {
        ConvertFn::new(
            |it: &Bytes| Ok(BinaryMessage::new(it.clone())),
            |message: BinaryMessage| Ok(message.payload),
        )
    };
    // Of converted messages, alone, twice, and of which only a part is bytes.
    shares(
        LengthDelimited::u32(),
        Raw::new().map(same()),
        &payload,
        &payload,
    );
    shares(
        Lines::lf(),
        Raw::new().map(same()).map(same()),
        &payload,
        &payload,
    );
    shares(
        LengthDelimited::u32(),
        BinaryMessage::codec().map(unpacked()),
        &payload,
        &payload,
    );
    // Of stapled codecs and framings.
    shares(
        LengthDelimited::u32(),
        Stapled::new(BinaryMessage::codec(), Text::new()),
        &message,
        &payload,
    );
    let stapled = Stapled::new(LengthDelimited::u32(), Lines::lf());
    shares(stapled, BinaryMessage::codec(), &message, &payload);
    // In every framing that does not look for its end in the payload.
    shares(Netstring::new(), BinaryMessage::codec(), &message, &payload);
    shares(
        BytesFraming::new(),
        BinaryMessage::codec(),
        &message,
        &payload,
    );
    shares(
        FixedSize::new(whole),
        BinaryMessage::codec(),
        &message,
        &payload,
    );
}

/// Notes what it is given by failing for anything else.
struct Only(Bytes);

impl Wrapper for Only {
    fn wrap(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        assert!(std::ptr::eq(payload.as_ptr(), self.0.as_ptr()), "copied");
        out.extend_from_slice(b"!");
        Ok(())
    }

    fn unwrap(&self, _: &Bytes) -> Result<Bytes, DecodeError> {
        Ok(self.0.clone())
    }
}

// C5
#[test]
fn nor_is_what_a_wrapper_is_put_round() {
    let payload = Bytes::from(vec![7; SIZE]);
    let same = ConvertFn::new(|it: &Bytes| Ok(it.clone()), Ok::<Bytes, _>);
    let codec = Raw::new().map(same).wrap(Only(payload.clone()));
    codec.encode(&payload, &mut BytesMut::new()).unwrap();
    let back = codec.decode(&Bytes::from_static(b"!")).unwrap();
    assert!(std::ptr::eq(back.as_ptr(), payload.as_ptr()));
    // Of a message that ends in bytes, all of it.
    let message = BinaryMessage::new(payload);
    let mut token = BytesMut::new();
    let codec = BinaryMessage::codec().wrap(Base64::new());
    codec.encode(&message, &mut token).unwrap();
    assert_eq!(codec.decode(&token.freeze()).unwrap(), message);
}

// C4
#[test]
fn parts_are_refused_as_a_whole_is() {
    fn refused(mut framing: impl Framing) {
        let (start, rest) = ([7; 10], Bytes::from(vec![7; SIZE]));
        let whole = Bytes::from([&start[..], &rest].concat());
        let mut batch = OutputBatch::new();
        let error = framing.encode(&whole, &mut batch).unwrap_err();
        let of_parts = framing.encode_parts(&start, &rest, &mut batch).unwrap_err();
        assert_eq!(of_parts.kind(), error.kind());
        assert!(batch.is_empty());
    }
    refused(Netstring::new().max_frame(SIZE + 9));
    refused(BytesFraming::new().max_frame(SIZE + 9));
    refused(FixedSize::new(SIZE));
    refused(LengthDelimited::u32().max_frame(SIZE + 9));
    refused(Stapled::new(
        Lines::lf().max_frame(SIZE + 9),
        Netstring::new(),
    ));
}
