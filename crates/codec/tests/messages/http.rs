//! What is asked of an HTTP server: its order, what is left out, and what is limited.

use bowline_codec::{
    DecodeErrorKind, EncodeErrorKind, HeaderLimits, Headers, HttpMessage, JsonMessage, Message,
    MessageCodec,
};
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use crate::ordered::Ordered;
use crate::{both_ways, bytes, fixture, headers, kind, members, rows, too_long};

// M1, M4
#[test]
fn http_messages_are_pynectors() {
    let fixture = fixture();
    for row in rows(&fixture, "http") {
        let arguments = &row["args"];
        let text = |name: &str| arguments[name].text();
        let mut message = HttpMessage::new(text("method"), text("url"));
        for (name, value) in members(arguments) {
            match &name[..] {
                "headers" => message.headers = headers(value),
                "params" => message.params = headers(value),
                "json_data" => message.json = Some(value.into()),
                "form_data" => message.form = headers(value),
                "content" => {
                    message.content = match value {
                        Ordered::Plain(_) => value.text().to_owned().into(),
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

/// An HTTP message of so many entries of `name` in its payload.
fn http_of(name: &str, entries: &Headers) -> Bytes {
    let entries = serde_json::to_string(entries).unwrap();
    format!("{{\"payload\": {{\"{name}\": {entries}}}}}").into()
}

// M3
#[test]
fn what_a_peer_names_is_limited_as_headers_are() {
    let codec = HttpMessage::codec();
    for name in ["params", "data", "files"] {
        let entries = |count: usize| (0..count).map(|name| (name.to_string(), "")).collect();
        let message = codec.decode(&http_of(name, &entries(256))).unwrap();
        let there = message.params.len() + message.form.len() + message.files.len();
        assert_eq!(there, 256);
        assert_eq!(codec.decode(&message.to_bytes().unwrap()).unwrap(), message);
        let error = codec.decode(&http_of(name, &entries(257))).unwrap_err();
        assert_eq!(
            (error.kind(), error.is_recoverable()),
            (too_long(256, None), true)
        );
        // What would be refused there is not sent.
        let few = codec.header_limits(HeaderLimits::new().max_count(255));
        let error = few.encode(&message, &mut BytesMut::new()).unwrap_err();
        let (limit, actual) = (255, 256);
        assert_eq!(error.kind(), EncodeErrorKind::TooLong { limit, actual });
        assert!(few.decode(&http_of(name, &entries(256))).is_err());
    }
    // Names that are repeated count.
    let repeated = "\"a\": 1, ".repeat(256);
    let frame = format!("{{\"headers\": {{{repeated}\"a\": 2}}}}");
    assert_eq!(kind::<JsonMessage>(frame.as_bytes()), too_long(256, None));
}

// M1, C5: in a build whose `serde_json` sorts its maps, too.
#[test]
fn what_is_asked_for_keeps_its_order() {
    let text = concat!(
        r#"{"headers": {"z": 1, "b": 2, "a": 3}, "payload": {"method": "PUT", "url": "/", "#,
        r#""params": {"z": 1, "y": 2, "x": 3}, "data": {"q": 1, "p": 2}, "#,
        r#""files": {"n": "AA==", "m": "AQ==", "l": "Ag=="}}}"#,
    );
    let read = HttpMessage::from_bytes(&text.into()).unwrap();
    let names = |headers: &Headers| -> String { headers.iter().map(|(name, _)| name).collect() };
    assert_eq!(names(&read.headers), "zba");
    assert_eq!(
        (names(&read.params), names(&read.form)),
        ("zyx".into(), "qp".into())
    );
    let files: String = read.files.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(files, "nml");
    assert_eq!(read.to_bytes().unwrap(), text);
}

// M2
#[test]
fn of_a_member_that_is_repeated_the_last_counts_whatever_the_first_was() {
    let text = concat!(
        r#"{"payload": 1, "payload": {"method": 1, "method": "PUT", "url": "/a", "url": null, "#,
        r#""params": [1, {}], "params": {"a": 1}, "params": {"b": 2}, "files": {"f": 1}, "#,
        r#""files": {"f": "AA=="}, "content": {"a": 1}, "content": null, "json": 1, "json": 2}}"#,
    );
    let mut expected = HttpMessage::new("PUT", "");
    expected.params.set("b", 2);
    expected.files.push(("f".into(), Bytes::from_static(b"\0")));
    expected.json = Some(json!(2));
    assert_eq!(HttpMessage::from_bytes(&text.into()).unwrap(), expected);
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

// M4
#[test]
fn of_two_files_of_one_name_neither_is_lost() {
    let mut message = HttpMessage::new("PUT", "/");
    for (name, content) in [("f", "A"), ("g", "B"), ("f", "C")] {
        message.files.push((name.to_owned(), content.into()));
    }
    let mut out = BytesMut::from("before");
    let error = HttpMessage::codec().encode(&message, &mut out).unwrap_err();
    assert_eq!(error.kind(), EncodeErrorKind::Value);
    assert_eq!(out, "before");
    message.files[2].0 = "h".to_owned();
    let read = HttpMessage::from_bytes(&message.to_bytes().unwrap()).unwrap();
    assert_eq!(read, message);
}
