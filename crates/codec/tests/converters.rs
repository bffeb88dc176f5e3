//! Converters and stapled codecs.

use std::num::TryFromIntError;

use bowline_codec::{
    Codec, Convert, ConvertError, ConvertFn, Decode, DecodeErrorKind, Encode, EncodeErrorKind,
    Framing, LengthDelimited, Lines, MessageCodec, OutputBatch, Stapled, StapledConverter, Struct,
    Text, Via,
};
use bytes::{Bytes, BytesMut};

fn numbers() -> impl Convert<Message = u32, Dto = String> {
    ConvertFn::new(
        |message: &u32| match message {
            13 => Err(ConvertError::new("not that one")),
            number => Ok(number.to_string()),
        },
        |dto: String| {
            dto.parse::<u32>()
                .map_err(|error| ConvertError::new("not a number").with_source(error))
        },
    )
}

fn wire<C: Encode<T>, T>(mut codec: C, item: &T) -> Vec<u8> {
    let mut batch = OutputBatch::new();
    codec.encode(item, &mut batch).unwrap();
    batch.slices().flatten().copied().collect()
}

#[test]
fn a_converted_stream_goes_on_after_what_cannot_be_converted() {
    let mut codec = Lines::lf().with(Text::new()).map(numbers());
    assert_eq!(wire(Lines::lf().text().map(numbers()), &12), b"12\n");
    let mut src = BytesMut::from("1\nx\n3\n");
    assert_eq!(codec.decode(&mut src).unwrap(), Some(1));
    let error = codec.decode(&mut src).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::Convert);
    assert_eq!(
        (error.is_recoverable(), error.offset(), error.skipped()),
        (true, 2, 2)
    );
    let converter = std::error::Error::source(&error).unwrap();
    assert_eq!(converter.to_string(), "not a number");
    assert!(
        converter.source().is_some(),
        "the converter's own cause is kept"
    );
    assert_eq!(codec.decode(&mut src).unwrap(), Some(3));
}

#[test]
fn what_cannot_be_converted_is_not_sent() {
    let mut codec = Lines::lf().with(Text::new().map(numbers()));
    let mut batch = OutputBatch::new();
    let error = codec.encode(&13, &mut batch).unwrap_err();
    assert_eq!(
        (error.kind(), batch.is_empty()),
        (EncodeErrorKind::Convert, true)
    );
    codec.encode(&14, &mut batch).unwrap();
    assert_eq!(batch.coalesce(64), b"14\n");
}

#[derive(Debug, PartialEq)]
struct Port(u16);

#[derive(Debug)]
struct Wide(u32);

impl From<&Port> for Wide {
    fn from(port: &Port) -> Self {
        Self(port.0.into())
    }
}

impl TryFrom<Wide> for Port {
    type Error = TryFromIntError;

    fn try_from(wide: Wide) -> Result<Self, TryFromIntError> {
        wide.0.try_into().map(Self)
    }
}

#[test]
fn via_goes_by_try_from() {
    let via = Via::<Port, Wide>::new();
    assert_eq!(via.to_dto(&Port(80)).unwrap().0, 80);
    assert_eq!(via.to_message(Wide(80)).unwrap(), Port(80));
    assert!(via.to_message(Wide(70_000)).is_err());
}

#[test]
fn a_stapled_converter_has_a_type_for_each_direction() {
    let lengths = ConvertFn::new(
        |message: &usize| Ok("x".repeat(*message)),
        |dto: String| Ok(dto.len()),
    );
    let codec = Text::new().map(StapledConverter::new(numbers(), lengths));
    let mut out = BytesMut::new();
    codec.encode(&123, &mut out).unwrap();
    assert_eq!(out, "123");
    assert_eq!(codec.decode(&Bytes::from_static(b"four")).unwrap(), 4);
}

#[test]
fn stapled_codecs_can_what_their_halves_can() {
    // Message codecs: text out, a fixed struct in.
    let messages = Stapled::new(Text::new(), Struct::<u16>::new());
    let text = "out".to_owned();
    assert_eq!(wire(Lines::lf().with(messages), &text), b"out\n");
    assert_eq!(
        messages.decode(&Bytes::from_static(b"\x01\x02")).unwrap(),
        0x0102
    );

    // Codecs, which split into the two halves that are used.
    let codec = Stapled::new(
        Lines::lf().text(),
        LengthDelimited::u8().with(Struct::<u16>::new()),
    );
    let (encoder, mut decoder) = codec.split();
    assert_eq!(wire(encoder, &text), b"out\n");
    let mut src = BytesMut::from(&b"\x02\x01\x02\x01"[..]);
    assert_eq!(decoder.decode(&mut src).unwrap(), Some(0x0102));
    assert_eq!(
        (decoder.decode(&mut src).unwrap(), decoder.need()),
        (None, 1)
    );
    assert!(decoder.decode_end(&mut src).is_err());
}
