//! Messages that are too large, and large ones that are not.

use bowline_codec::{
    BinaryMessage, Encode, EncodeErrorKind, Framing, HeaderLimits, Headers, HttpMessage,
    JsonMessage, LengthDelimited, Message, MessageCodec, OutputBatch,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{kind, too_long};

fn many(headers: usize) -> Headers {
    (0..headers).map(|name| (name.to_string(), name)).collect()
}

// M3
#[test]
fn header_bombs_are_limit_errors() {
    let most = many(256);
    let mut message = JsonMessage::new(json!(null));
    message.headers = most.clone();
    assert_eq!(
        JsonMessage::from_bytes(&message.to_bytes().unwrap()).unwrap(),
        message
    );

    let text = serde_json::to_string(&many(257)).unwrap();
    let frame = format!("{{\"headers\": {text}}}");
    assert_eq!(kind::<JsonMessage>(frame.as_bytes()), too_long(256, None));
    let frame = [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
    assert_eq!(kind::<BinaryMessage>(&frame), too_long(256, None));
    message.headers = many(257);
    let refused = message.to_bytes().unwrap_err().kind();
    assert_eq!(
        refused,
        EncodeErrorKind::TooLong {
            limit: 256,
            actual: 257
        }
    );

    // One header that is too long.
    let frame = format!("{{\"headers\": {{\"a\": \"{}\"}}}}", "x".repeat(70_000));
    let declared = Some(70_008);
    assert_eq!(
        kind::<JsonMessage>(frame.as_bytes()),
        too_long(65_536, declared)
    );
    message.headers = Headers::from_iter([("a", "x".repeat(70_000))]);
    let refused = message.to_bytes().unwrap_err().kind();
    assert_eq!(
        refused,
        EncodeErrorKind::TooLong {
            limit: 65_536,
            actual: 70_009
        }
    );
    // A payload as long is no header.
    let frame = format!(
        "{{\"headers\": {{}}, \"payload\": \"{}\"}}",
        "x".repeat(70_000)
    );
    JsonMessage::<Value>::from_bytes(&frame.into()).unwrap();

    // The limits can be set.
    let codec = JsonMessage::<Value>::codec();
    let few = codec.header_limits(HeaderLimits::new().max_count(1).max_bytes(10));
    let decode = |text: &'static str| few.decode(&text.into()).map_err(|error| error.kind());
    assert!(decode("{\"headers\": {\"a\": 1}}").is_ok());
    assert_eq!(
        decode("{\"headers\": {\"a\": 1, \"b\": 2}}"),
        Err(too_long(1, None))
    );
    assert_eq!(
        decode("{\"headers\": {\"a\": 1000000}}"),
        Err(too_long(10, Some(13)))
    );
}

// M3: were each name compared with each other, this would take a quarter of an hour.
#[test]
fn many_names_cost_as_much_as_they_take() {
    const MANY: usize = 300_000;
    let limits = HeaderLimits::new().max_count(MANY).max_bytes(usize::MAX);
    let text: Vec<String> = (0..MANY).map(|name| format!("\"{name:x}\":0")).collect();
    let text = text.join(",");
    let frame = format!("{{\"payload\":{{\"params\":{{{text}}}}}}}");
    let codec = HttpMessage::codec().header_limits(limits);
    assert_eq!(codec.decode(&frame.into()).unwrap().params.len(), MANY);
    let frame = format!("{{\"headers\":{{{text}}}}}");
    let codec = JsonMessage::<Value>::codec().header_limits(limits);
    assert_eq!(codec.decode(&frame.into()).unwrap().headers.len(), MANY);
}

// M3
#[test]
fn a_payload_of_10_mib_is_not_copied() {
    const TEN_MIB: usize = 10 * 1024 * 1024;
    let payload = Bytes::from(vec![7; TEN_MIB]);
    let mut message = BinaryMessage::new(payload.clone());
    message.headers.set("name", "file");
    let frame = message.to_bytes().unwrap();
    let decoded = BinaryMessage::from_bytes(&frame).unwrap();
    assert_eq!(decoded, message);
    let start = frame.len() - TEN_MIB;
    assert!(std::ptr::eq(
        decoded.payload.as_ptr(),
        frame[start..].as_ptr()
    ));

    // Nor on the way out: it is a segment of its own.
    let mut codec = LengthDelimited::u32()
        .max_frame(2 * TEN_MIB)
        .with(BinaryMessage::codec());
    let mut batch = OutputBatch::new();
    codec.encode(&message, &mut batch).unwrap();
    let last = batch.slices().last().unwrap();
    assert!(std::ptr::eq(last.as_ptr(), payload.as_ptr()));
    assert_eq!((batch.unsent_frames(), batch.segments()), (1, 2));
    let start = batch.slices().next().unwrap();
    assert_eq!(start[..4], (frame.len() as u32).to_be_bytes());
    assert_eq!(start[4..], frame[..frame.len() - TEN_MIB]);
}
