//! Messages of headers and payload, byte for byte as pynector makes them.

use bowline_codec::{
    BinaryMessage, DecodeErrorKind, Encode, EncodeErrorKind, Framing, HeaderLimits, Headers,
    HttpMessage, JsonMessage, LengthDelimited, Message, MessageCodec, OutputBatch,
};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/pynector-messages.json")).unwrap()
}

fn rows<'a>(fixture: &'a Value, set: &str) -> &'a Vec<Value> {
    let rows = fixture[set].as_array().unwrap();
    assert!(rows.len() > 5);
    rows
}

fn bytes(hex: &Value) -> Bytes {
    let hex = hex.as_str().unwrap();
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn headers(object: &Value) -> Headers {
    let entries = object.as_object().unwrap().iter();
    entries.map(|(name, value)| (name, value.clone())).collect()
}

fn kind<M: Message + std::fmt::Debug>(frame: &[u8]) -> DecodeErrorKind {
    let error = M::from_bytes(&Bytes::copy_from_slice(frame)).unwrap_err();
    assert!(error.is_recoverable(), "a bad message costs its frame only");
    error.kind()
}

/// A message becomes these bytes, and they become it.
fn both_ways<M: Message + PartialEq + std::fmt::Debug>(message: &M, wire: &Bytes) {
    let made = message.to_bytes().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&made),
        String::from_utf8_lossy(wire)
    );
    assert_eq!(&made, wire);
    assert_eq!(&M::from_bytes(wire).unwrap(), message);
}

// M1
#[test]
fn json_messages_are_pynectors() {
    let fixture = fixture();
    for row in rows(&fixture, "json") {
        let mut message = JsonMessage::new(row["payload"].clone());
        message.headers = headers(&row["headers"]);
        both_ways(&message, &bytes(&row["hex"]));
    }
}

// M1
#[test]
fn binary_messages_are_pynectors() {
    let fixture = fixture();
    for row in rows(&fixture, "binary") {
        let mut message = BinaryMessage::new(bytes(&row["payload_hex"]));
        message.headers = headers(&row["headers"]);
        both_ways(&message, &bytes(&row["hex"]));
    }
}

// M1, M4
#[test]
fn http_messages_are_pynectors() {
    let fixture = fixture();
    for row in rows(&fixture, "http") {
        let arguments = row["args"].as_object().unwrap();
        let text = |name: &str| arguments[name].as_str().unwrap();
        let mut message = HttpMessage::new(text("method"), text("url"));
        for (name, value) in arguments {
            match &name[..] {
                "headers" => message.headers = headers(value),
                "params" => message.params = headers(value),
                "json_data" => message.json = Some(value.clone()),
                "form_data" => message.form = headers(value),
                "content" => {
                    message.content = match value {
                        Value::String(text) => text.clone().into(),
                        other => bytes(&other["bytes_hex"]),
                    }
                }
                "method" | "url" => {}
                other => panic!("{other}"),
            }
        }
        both_ways(&message, &bytes(&row["hex"]));
    }
}

// M1
#[test]
fn what_pynector_refuses_is_refused() {
    let fixture = fixture();
    for row in rows(&fixture, "json_decode") {
        let refused = JsonMessage::<Value>::from_bytes(&bytes(&row["hex"])).is_err();
        // Headers that are not an object are refused, here alone.
        let ours = row["hex"] == "7b2268656164657273223a317d";
        assert_eq!(refused, ours || !row["error"].is_null(), "{row}");
    }
    for row in rows(&fixture, "binary_decode") {
        let refused = BinaryMessage::from_bytes(&bytes(&row["hex"])).is_err();
        let ours = row["hex"] == "000000025b5d78";
        assert_eq!(refused, ours || !row["error"].is_null(), "{row}");
    }
}

// M2
#[test]
fn every_malformed_binary_message_has_its_error() {
    let truncated = |have, need| DecodeErrorKind::Truncated { have, need };
    for have in 0..4 {
        assert_eq!(kind::<BinaryMessage>(&[0; 3][..have]), truncated(have, 4));
    }
    assert_eq!(
        kind::<BinaryMessage>(b"\x00\x00\x00\x05{}"),
        truncated(6, 9)
    );
    let limit = 64 * 1024;
    let declared = Some(0xffff_ffff);
    let long = DecodeErrorKind::TooLong { limit, declared };
    assert_eq!(kind::<BinaryMessage>(b"\xff\xff\xff\xff"), long);
    let text = DecodeErrorKind::Text { valid_up_to: 2 };
    assert_eq!(kind::<BinaryMessage>(b"\x00\x00\x00\x04{\"\xff}x"), text);
    for bad in [
        &b"\x00\x00\x00\x00"[..],
        b"\x00\x00\x00\x00{}",
        b"\x00\x00\x00\x01{",
        b"\x00\x00\x00\x02[]",
        b"\x00\x00\x00\x04null",
    ] {
        assert!(
            matches!(kind::<BinaryMessage>(bad), DecodeErrorKind::Syntax { .. }),
            "{bad:?}"
        );
    }
    let extra = kind::<BinaryMessage>(b"\x00\x00\x00\x03{}}");
    assert_eq!(extra, DecodeErrorKind::Trailing { extra: 1 });
}

// M2
#[test]
fn every_malformed_json_message_has_its_error() {
    let json = |text: &str| kind::<JsonMessage<Value>>(text.as_bytes());
    for bad in [
        "",
        "{",
        "[]",
        "null",
        "1",
        "\u{feff}{}",
        "{\"headers\": 1}",
        "{\"headers\": []}",
        "{\"headers\": null}",
        "{\"payload\": \"\\ud800\"}",
        "{\"payload\": NaN}",
        "{'a': 1}",
    ] {
        assert!(matches!(json(bad), DecodeErrorKind::Syntax { .. }), "{bad}");
    }
    assert_eq!(
        kind::<JsonMessage>(b"{\"payload\": \"\xff\"}"),
        DecodeErrorKind::Text { valid_up_to: 13 }
    );
    assert_eq!(json("{} x"), DecodeErrorKind::Trailing { extra: 1 });
    let deep = format!("{{\"payload\": {}1", "[".repeat(200));
    assert_eq!(json(&deep), DecodeErrorKind::Depth { limit: 128 });
    let small = kind::<JsonMessage<u8>>(b"{\"payload\": 256}");
    assert!(matches!(small, DecodeErrorKind::Syntax { .. }));
    // And what is not malformed.
    let read = |text: &'static str| JsonMessage::<Value>::from_bytes(&text.into()).unwrap();
    assert_eq!(
        read(" {\"x\": [], \"payload\" : 1,\n\"headers\":{\"b\":1,\"a\":2,\"b\":3} } "),
        {
            let mut message = JsonMessage::new(json!(1));
            message.headers.set("b", 3);
            message.headers.set("a", 2);
            message
        }
    );
    assert_eq!(read("{}"), JsonMessage::default());
    assert_eq!(read("{\"payload\": 1, \"payload\": 2}").payload, json!(2));
}

proptest! {
    // M2
    #[test]
    fn any_bytes_are_a_message_or_an_error(
        noise in vec(prop_oneof![
            3 => prop::sample::select(b"{}[]\":,\\0 x".to_vec()),
            1 => any::<u8>(),
        ], 0..60),
        length in 0..40u32,
    ) {
        let noise = Bytes::from(noise);
        // What is read is written to something that reads the same.
        if let Ok(message) = JsonMessage::<Value>::from_bytes(&noise) {
            let again = message.to_bytes().unwrap();
            prop_assert_eq!(JsonMessage::from_bytes(&again).unwrap(), message);
        }
        let _ = HttpMessage::from_bytes(&noise);
        let framed: Bytes = [&length.to_be_bytes()[..], &noise].concat().into();
        for frame in [framed, noise] {
            if let Ok(message) = BinaryMessage::from_bytes(&frame) {
                let again = message.to_bytes().unwrap();
                prop_assert_eq!(BinaryMessage::from_bytes(&again).unwrap(), message);
            }
        }
    }
}

fn many(headers: usize) -> Headers {
    (0..headers).map(|name| (name.to_string(), name)).collect()
}

fn too_long(limit: usize, declared: Option<u64>) -> DecodeErrorKind {
    DecodeErrorKind::TooLong { limit, declared }
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

// M4
#[test]
fn what_is_empty_is_left_out() {
    let mut message = HttpMessage::default();
    let bare = r#"{"headers": {}, "payload": {"method": "GET", "url": ""}}"#;
    assert_eq!(message.to_bytes().unwrap(), bare);
    message.json = Some(Value::Null);
    assert_eq!(message.to_bytes().unwrap(), bare);
    let read = |payload: &str| {
        let frame = format!("{{\"payload\": {payload}}}");
        HttpMessage::from_bytes(&frame.into())
    };
    assert_eq!(read("{}").unwrap(), HttpMessage::default());
    assert_eq!(
        read(r#"{"json": null, "params": null, "x": 1}"#).unwrap(),
        HttpMessage::default()
    );
}

// M4
#[test]
fn content_and_files_are_base64_and_said_to_be() {
    let mut message = HttpMessage::new("PUT", "/p");
    message.content = Bytes::from_static(b"\x00\xffbin");
    message
        .files
        .push(("f".into(), Bytes::from_static(b"\xfb\xff")));
    let text = concat!(
        r#"{"headers": {}, "payload": {"method": "PUT", "url": "/p", "files": {"f": "+/8="}, "#,
        r#""content": "AP9iaW4=", "content_encoding": "base64"}}"#,
    );
    both_ways(&message, &Bytes::from_static(text.as_bytes()));

    let read =
        |payload: &str| kind::<HttpMessage>(format!("{{\"payload\": {payload}}}").as_bytes());
    let syntax = DecodeErrorKind::Syntax { line: 0, column: 0 };
    for bad in [
        r#"{"content": "AA=="}"#,
        r#"{"content": "AA==", "content_encoding": "utf-8"}"#,
        r#"{"content": 1, "content_encoding": "base64"}"#,
        r#"{"files": {"f": 1}}"#,
        r#"{"params": []}"#,
        r#"{"method": 1}"#,
        "[]",
        "null",
        "\"text\"",
    ] {
        assert_eq!(read(bad), syntax, "{bad}");
    }
    for bad in [
        r#"{"content": "AA", "content_encoding": "base64"}"#,
        r#"{"content": "-_-_", "content_encoding": "base64"}"#,
        r#"{"files": {"f": "A"}}"#,
    ] {
        assert_eq!(read(bad), DecodeErrorKind::Integrity, "{bad}");
    }
}

#[test]
fn media_types_are_stated() {
    assert_eq!(JsonMessage::<Value>::CONTENT_TYPE, "application/json");
    assert_eq!(HttpMessage::CONTENT_TYPE, "application/json");
    assert_eq!(BinaryMessage::CONTENT_TYPE, "application/octet-stream");
    let mut message = BinaryMessage::default();
    message.headers.set("a", 1);
    assert_eq!(message.headers().len(), 1);
    assert_eq!(message.headers.remove("a"), Some(json!(1)));
    assert!(message.headers().is_empty());
}
