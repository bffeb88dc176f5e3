//! JSON on a stream: by lines, by brackets, and byte for byte as Python writes it.

#[path = "fixtures/ordered.rs"]
mod ordered;

use bowline_codec::{
    Decode, DecodeError, DecodeErrorKind, Encode, EncodeErrorKind, Framing, Json, JsonFraming,
    OutputBatch,
};
use bytes::BytesMut;
use ordered::Ordered;
use serde_json::Value;

fn frames(input: &[u8]) -> Vec<Result<String, DecodeError>> {
    frames_of(JsonFraming::new(), input)
}

fn frames_of(mut framing: JsonFraming, input: &[u8]) -> Vec<Result<String, DecodeError>> {
    let mut src = BytesMut::from(input);
    let mut found = Vec::new();
    loop {
        match framing.decode_end(&mut src) {
            Ok(Some(frame)) => found.push(Ok(String::from_utf8_lossy(&frame).into_owned())),
            Ok(None) => return found,
            Err(error) => {
                let last = !error.is_recoverable();
                found.push(Err(error));
                if last {
                    return found;
                }
            }
        }
    }
}

fn good(input: &[u8]) -> Vec<String> {
    frames(input).into_iter().map(Result::unwrap).collect()
}

fn sent(payload: &[u8]) -> Result<Vec<u8>, EncodeErrorKind> {
    let mut batch = OutputBatch::new();
    JsonFraming::new()
        .encode(payload, &mut batch)
        .map_err(|error| error.kind())?;
    Ok(batch.slices().flatten().copied().collect())
}

// C6
#[test]
fn documents_are_found_by_their_own_kind_of_bracket() {
    assert_eq!(good(b"{}[]\"\""), ["{}", "[]", "\"\""]);
    assert_eq!(
        good(b" \t\r\n{\"a\":{\"b\":[]}}\n\n[[1],[2]] "),
        ["{\"a\":{\"b\":[]}}", "[[1],[2]]"]
    );
    // Brackets and escaped quotes in strings count for nothing.
    let quoted = r#"{"}\"}\\":"{[\\\""}["]\\"]"\"]\\""#;
    assert_eq!(
        good(quoted.as_bytes()),
        [r#"{"}\"}\\":"{[\\\""}"#, r#"["]\\"]"#, r#""\"]\\""#]
    );
    // Bytes above 7F, controls and line ends do not count inside a document.
    assert_eq!(
        good("[\"\u{e9}\u{1f600}\",\n\u{0}]".as_bytes()),
        ["[\"\u{e9}\u{1f600}\",\n\u{0}]"]
    );
}

// C6
#[test]
fn plain_values_end_at_what_is_not_printable() {
    assert_eq!(
        good(b"12\ntrue\r\nnull\t-1.5e3\n"),
        ["12", "true", "null", "-1.5e3"]
    );
    // As it says: a space does not end one, the parser judges that.
    assert_eq!(good(b"1 2\n"), ["1 2"]);
    let [Err(error)] = &frames(b"12")[..] else {
        panic!()
    };
    assert_eq!(
        error.kind(),
        DecodeErrorKind::Truncated { have: 2, need: 3 }
    );
}

// C6
#[test]
fn noise_between_documents_is_one_error_for_the_whole_run() {
    let found = frames(b"1\n\x00\x00\xff\n\x00{}\x00");
    let [Ok(one), Err(run), Ok(object), Err(last)] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((&one[..], &object[..]), ("1", "{}"));
    for (error, offset, skipped) in [(run, 1, 6), (last, 9, 1)] {
        assert_eq!(error.kind(), DecodeErrorKind::Syntax { line: 1, column: 1 });
        assert_eq!((error.offset(), error.skipped()), (offset, skipped));
        assert!(error.is_recoverable());
    }
    // A run without end is one for ever.
    let mut framing = JsonFraming::new().max_frame(10).max_skip(1000);
    let mut src = BytesMut::zeroed(5000);
    let error = framing.decode(&mut src).unwrap_err();
    assert_eq!(
        (error.is_recoverable(), error.skipped(), src.len()),
        (false, 1000, 4000)
    );
}

// C6
#[test]
fn a_wrong_bracket_costs_one_document() {
    let mut values = JsonFraming::new().with(Json::<Value>::new());
    let mut src = BytesMut::from("{\"a\":]}[1}]\"\\x\"[2]");
    for place in [(0, 7), (7, 4), (11, 4)] {
        let error = values.decode(&mut src).unwrap_err();
        assert!(
            matches!(error.kind(), DecodeErrorKind::Syntax { .. }),
            "{error}"
        );
        assert_eq!((error.offset(), error.skipped()), place);
    }
    assert_eq!(
        values.decode(&mut src).unwrap(),
        Some(serde_json::json!([2]))
    );
}

// C6
#[test]
fn a_hundred_thousand_brackets_are_too_deep_in_constant_stack() {
    const MANY: usize = 100_000;
    // A stack of 64 KiB would not hold a call per bracket.
    let thread = std::thread::Builder::new().stack_size(512 * 1024);
    let run = thread.spawn(|| {
        let deep = ["[".repeat(MANY), "]".repeat(MANY), "1\n".into()].concat();
        let mut by_bracket = JsonFraming::new()
            .max_frame(3 * MANY)
            .with(Json::<Value>::new());
        let mut src = BytesMut::from(&deep[..]);
        let error = by_bracket.decode(&mut src).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::Depth { limit: 128 });
        assert_eq!(by_bracket.decode(&mut src).unwrap(), Some(1.into()));

        let mut by_line = bowline_codec::Lines::lf()
            .max_frame(3 * MANY)
            .with(Json::<Value>::new());
        let mut src = BytesMut::from(&["[".repeat(MANY), "\n1\n".into()].concat()[..]);
        let error = by_line.decode(&mut src).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::Depth { limit: 128 });
        assert_eq!(by_line.decode(&mut src).unwrap(), Some(1.into()));
    });
    run.unwrap().join().unwrap();
}

// C6
#[test]
fn an_over_long_document_is_discarded_to_its_end() {
    let long = format!("[\"{}]\\\"\"]", "x".repeat(100));
    let input = format!("{{}} {long}[1]{}\n2\n", "3".repeat(101));
    let limit = 100;
    let found = frames_of(JsonFraming::new().max_frame(limit), input.as_bytes());
    let [Ok(_), Err(first), Ok(list), Err(second), Ok(two)] = &found[..] else {
        panic!("{found:?}")
    };
    let kind = DecodeErrorKind::TooLong {
        limit,
        declared: None,
    };
    assert_eq!((first.kind(), first.offset()), (kind, 2));
    assert_eq!(first.skipped(), 1 + long.len() as u64);
    assert_eq!((second.kind(), second.skipped()), (kind, 101));
    assert_eq!((&list[..], &two[..]), ("[1]", "2"));
}

// C6
#[test]
fn what_is_not_one_document_is_not_sent() {
    assert_eq!(sent(b"[1]").unwrap(), b"[1]");
    assert_eq!(sent(b"\"a\"").unwrap(), b"\"a\"");
    assert_eq!(sent(b"12").unwrap(), b"12\n");
    for bad in [
        &b""[..],
        b" 1",
        b"[1",
        b"[1]2",
        b"{}{}",
        b"1\n2",
        b"1\n",
        b"\x001",
        b"\"a",
    ] {
        assert_eq!(sent(bad), Err(EncodeErrorKind::Value), "{bad:?}");
    }
    let long = EncodeErrorKind::TooLong {
        limit: 65_536,
        actual: 65_537,
    };
    assert_eq!(sent(&[b'1'; 65_537]), Err(long));
}

fn fixture(set: &str) -> Vec<(Ordered, Vec<u8>, Vec<u8>)> {
    let all: Ordered =
        serde_json::from_str(include_str!("fixtures/easynetwork-serializers.json")).unwrap();
    let bytes = |text: &Ordered| -> Vec<u8> {
        let text = text.text();
        let pairs = (0..text.len()).step_by(2);
        pairs
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    };
    let rows = all["sets"][set].elements();
    assert!(rows.len() >= 3);
    rows.iter()
        .map(|row| {
            (
                row["packet"].clone(),
                bytes(&row["stream_hex"]),
                bytes(&row["one_shot_hex"]),
            )
        })
        .collect()
}

/// Both directions of every row, and all of them in one stream.
fn as_easynetwork<C>(new: impl Fn() -> C, set: &str)
where
    C: Decode<Item = Ordered> + Encode<Ordered>,
{
    let mut whole = BytesMut::new();
    let rows = fixture(set);
    for (packet, stream, _) in &rows {
        let mut batch = OutputBatch::new();
        new().encode(packet, &mut batch).unwrap();
        let wire: Vec<u8> = batch.slices().flatten().copied().collect();
        assert_eq!(
            String::from_utf8_lossy(&wire),
            String::from_utf8_lossy(stream)
        );
        whole.extend_from_slice(stream);
    }
    let mut decoder = new();
    for (packet, ..) in &rows {
        assert_eq!(decoder.decode(&mut whole).unwrap().as_ref(), Some(packet));
    }
    assert_eq!(decoder.decode_end(&mut whole).unwrap(), None);
}

// C6
#[test]
fn easynetwork_sends_and_reads_the_same() {
    let json = || Json::<Ordered>::new().ascii_only();
    as_easynetwork(|| json().lines(), "json_lines");
    as_easynetwork(|| JsonFraming::new().with(json()), "json_raw");
    for (packet, _, one_shot) in fixture("json_raw") {
        let mut frame = BytesMut::new();
        json().encode(&packet, &mut frame).unwrap();
        assert_eq!(frame, one_shot[..]);
    }
}

// C6
#[test]
fn floats_and_characters_are_written_as_python_writes_them() {
    let write = |value: Value| {
        let mut out = BytesMut::new();
        let codec = Json::<Value>::new().ascii_only().spaced();
        codec.encode(&value, &mut out).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    };
    for (value, text) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (1e15, "1000000000000000.0"),
        (9_007_199_254_740_993e0, "9007199254740992.0"),
        (1e16, "1e+16"),
        (1.5e16, "1.5e+16"),
        (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
        (0.0001, "0.0001"),
        (0.000_123, "0.000123"),
        (0.00001, "1e-05"),
        (-1.25e-7, "-1.25e-07"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        (12.5, "12.5"),
        (0.1, "0.1"),
    ] {
        assert_eq!(write(value.into()), text);
    }
    let text = "\u{0}\u{1f}\u{8}\u{c}\n\r\t\"\\/ ~\u{7f}\u{80}\u{20ac}\u{1f600}";
    assert_eq!(
        write(text.into()),
        r#""\u0000\u001f\b\f\n\r\t\"\\/ ~\u007f\u0080\u20ac\ud83d\ude00""#
    );
    let nested = serde_json::json!({"a": [1, {"b": 2, "c": []}]});
    assert_eq!(write(nested), r#"{"a": [1, {"b": 2, "c": []}]}"#);
}
