//! Messages of headers and payload, byte for byte as pynector makes them.

#[path = "messages/http.rs"]
mod http;
#[path = "messages/large.rs"]
mod large;
#[path = "fixtures/ordered.rs"]
mod ordered;

use bowline_codec::{
    BinaryMessage, DecodeErrorKind, Encoding, Headers, HttpMessage, JsonMessage, Message,
};
use bytes::Bytes;
use ordered::Ordered;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

fn fixture() -> Ordered {
    serde_json::from_str(include_str!("fixtures/pynector-messages.json")).unwrap()
}

fn rows<'a>(fixture: &'a Ordered, set: &str) -> &'a [Ordered] {
    let rows = fixture[set].elements();
    assert!(rows.len() > 5);
    rows
}

fn bytes(hex: &Ordered) -> Bytes {
    let hex = hex.text();
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn members(object: &Ordered) -> &[(String, Ordered)] {
    match object {
        Ordered::Object(members) => members,
        other => panic!("{other:?}"),
    }
}

fn headers(object: &Ordered) -> Headers {
    let entries = members(object).iter();
    entries.map(|(name, value)| (name, value)).collect()
}

/// Whether objects inside of these keep their order: it is up to `serde_json`.
fn keep_order(headers: &Ordered) -> bool {
    members(headers).iter().all(|(_, value)| {
        let kept = Value::from(value);
        serde_json::to_string(value).unwrap() == serde_json::to_string(&kept).unwrap()
    })
}

fn kind<M: Message + std::fmt::Debug>(frame: &[u8]) -> DecodeErrorKind {
    let error = M::from_bytes(&Bytes::copy_from_slice(frame)).unwrap_err();
    assert!(error.is_recoverable(), "a bad message costs its frame only");
    error.kind()
}

/// A message becomes these bytes, and they become it.
fn both_ways<M: Message + PartialEq + std::fmt::Debug>(message: &M, wire: &Bytes) {
    becomes(message, wire);
    assert_eq!(&M::from_bytes(wire).unwrap(), message);
}

fn becomes<M: Message>(message: &M, wire: &Bytes) {
    let made = message.to_bytes().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&made),
        String::from_utf8_lossy(wire)
    );
    assert_eq!(&made, wire);
}

/// The same for each message whose headers keep their order, and for the others that they are read.
fn rows_both_ways<M>(rows: &[Ordered], message: impl Fn(&Ordered, Headers) -> M)
where
    M: Message + PartialEq + std::fmt::Debug,
{
    let mut kept = 0;
    for row in rows {
        let (there, wire) = (&row["headers"], bytes(&row["hex"]));
        let message = message(row, headers(there));
        if keep_order(there) {
            becomes(&message, &wire);
            kept += 1;
        }
        assert_eq!(M::from_bytes(&wire).unwrap(), message);
    }
    assert!(kept > 35, "{kept} of {}", rows.len());
}

// M1
#[test]
fn json_messages_are_pynectors() {
    rows_both_ways(rows(&fixture(), "json"), |row, headers| JsonMessage {
        headers,
        payload: row["payload"].clone(),
    });
}

// M1
#[test]
fn binary_messages_are_pynectors() {
    rows_both_ways(rows(&fixture(), "binary"), |row, headers| BinaryMessage {
        headers,
        payload: bytes(&row["payload_hex"]),
    });
}

// M1
#[test]
fn what_pynector_refuses_is_refused() {
    let fixture = fixture();
    for row in rows(&fixture, "json_decode") {
        let refused = JsonMessage::<Value>::from_bytes(&bytes(&row["hex"])).is_err();
        // Headers that are not an object are refused, here alone.
        let ours = row["hex"].text() == "7b2268656164657273223a317d";
        assert_eq!(
            refused,
            ours || row["error"] != Ordered::Plain(Value::Null),
            "{row:?}"
        );
    }
    for row in rows(&fixture, "binary_decode") {
        let refused = BinaryMessage::from_bytes(&bytes(&row["hex"])).is_err();
        let ours = row["hex"].text() == "000000025b5d78";
        assert_eq!(
            refused,
            ours || row["error"] != Ordered::Plain(Value::Null),
            "{row:?}"
        );
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
    let text = DecodeErrorKind::Text {
        encoding: Encoding::Utf8,
        valid_up_to: 2,
    };
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
        DecodeErrorKind::Text {
            encoding: Encoding::Utf8,
            valid_up_to: 13
        }
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

// M2
#[test]
fn of_headers_and_payload_the_last_counts_whatever_the_first_was() {
    let numbers = |text: &'static str| JsonMessage::<u8>::from_bytes(&text.into());
    let read = |text| numbers(text).unwrap();
    assert_eq!(read(r#"{"payload": "x", "payload": 2}"#).payload, 2);
    assert_eq!(
        read(r#"{"payload": [1, {}], "a": 1, "payload": 256, "payload": 3}"#).payload,
        3
    );
    let both = read(r#"{"headers": 1, "payload": 1.5, "headers": {"a": 1}, "payload": 4}"#);
    assert_eq!((both.payload, both.headers.get("a")), (4, Some(&json!(1))));
    let large = r#"{"payload": 123456789012345678901, "payload": 2, "payload": 1}"#;
    assert_eq!(
        JsonMessage::<Value>::from_bytes(&large.into())
            .unwrap()
            .payload,
        json!(1)
    );
    // What is last has to fit, and what is not JSON is none however often it comes.
    for bad in [
        r#"{"payload": 1, "payload": "x"}"#,
        r#"{"payload": 1, "payload": "x", "headers": 1, "headers": {}}"#,
        r#"{"payload": 1, "headers": {}, "headers": []}"#,
        r#"{"payload": x, "payload": 1}"#,
        r#"{"payload": "x", "payload": 1"#,
    ] {
        let error = numbers(bad).unwrap_err();
        assert!(
            matches!(error.kind(), DecodeErrorKind::Syntax { .. }),
            "{bad}"
        );
    }
}

// M2
#[test]
fn an_integer_that_is_too_large_is_not_rounded() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Wide {
        exact: i128,
        rough: f64,
    }

    for integer in [
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "100000000000000000000",
    ] {
        let lines = format!("{{\n\"payload\":\n [1e20, {integer}]}}");
        let (line, column) = (3, 9);
        assert_eq!(
            kind::<JsonMessage>(lines.as_bytes()),
            DecodeErrorKind::Syntax { line, column }
        );
        let headers = format!("{{\"a\": [{integer}]}}");
        let (line, column) = (1, 8);
        let frame = [
            &(headers.len() as u32).to_be_bytes()[..],
            headers.as_bytes(),
        ]
        .concat();
        assert_eq!(
            kind::<BinaryMessage>(&frame),
            DecodeErrorKind::Syntax { line, column }
        );
        for frame in [
            format!("{{\"headers\": {headers}}}"),
            format!("{{\"payload\": {{\"params\": {headers}}}}}"),
            format!("{{\"payload\": {{\"json\": {headers}}}}}"),
        ] {
            let error = HttpMessage::from_bytes(&frame.clone().into()).unwrap_err();
            assert!(
                matches!(error.kind(), DecodeErrorKind::Syntax { .. }),
                "{frame}"
            );
        }
        // Where they are asked for, both are what they are; and nobody asks for what is ignored.
        let frame = format!(
            "{{\"payload\": {{\"exact\": {integer}, \"rough\": {integer}}}, \"x\": {integer}}}"
        );
        let wide = JsonMessage::<Wide>::from_bytes(&frame.into())
            .unwrap()
            .payload;
        assert_eq!(wide.exact.to_string(), integer);
        assert_eq!(wide.rough, integer.parse::<f64>().unwrap());
    }
    for text in [
        "18446744073709551615",
        "-9223372036854775808",
        "1e300",
        "-1.5e30",
    ] {
        let frame = format!("{{\"payload\": [{text}, 10000000000000000000.0]}}");
        let read = JsonMessage::<Value>::from_bytes(&frame.into()).unwrap();
        assert_eq!(
            read.payload[0],
            serde_json::from_str::<Value>(text).unwrap()
        );
    }
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

fn too_long(limit: usize, declared: Option<u64>) -> DecodeErrorKind {
    DecodeErrorKind::TooLong { limit, declared }
}

// M4
#[test]
fn a_name_that_is_repeated_has_its_first_place_and_its_last_value() {
    let names = ["z", "a", "z", "m", "a", "z"];
    let headers: Headers = names.into_iter().zip(0..).collect();
    let expected: Headers = [("z", 5), ("a", 4), ("m", 3)].into_iter().collect();
    assert_eq!(headers, expected);
    let mut one_by_one = Headers::new();
    for (name, value) in names.into_iter().zip(0..) {
        one_by_one.set(name, value);
    }
    assert_eq!(one_by_one, headers);
    let text = r#"{"headers": {"z": 0, "a": 1, "z": 2, "m": 3, "a": 4, "z": 5}}"#;
    let read = JsonMessage::<Value>::from_bytes(&text.into()).unwrap();
    assert_eq!(read.headers, headers);
    let order: Vec<(String, Value)> = read.headers.into_iter().collect();
    assert_eq!(order[0], ("z".to_owned(), json!(5)));
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
