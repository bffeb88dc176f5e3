//! Lines: every newline, over-long lines, the last line, what is sent; and text in them.

use bowline_codec::{
    Decode, DecodeErrorKind, Encode, EncodeErrorKind, Encoding, Framing, Lines, MessageCodec,
    OutputBatch, Text, Unterminated,
};
use bytes::{Bytes, BytesMut};

fn lines_of(mut lines: Lines, input: &[u8]) -> Vec<Bytes> {
    let mut src = BytesMut::from(input);
    let mut found = Vec::new();
    while let Some(line) = lines.decode_end(&mut src).unwrap() {
        found.push(line);
    }
    found
}

fn sent(mut lines: Lines, payload: &'static [u8]) -> Result<Vec<u8>, EncodeErrorKind> {
    let mut batch = OutputBatch::new();
    lines
        .encode(payload, &mut batch)
        .map_err(|error| error.kind())?;
    let bytes: Vec<u8> = batch.slices().flatten().copied().collect();
    let mut shared = OutputBatch::new();
    lines
        .encode(&Bytes::from_static(payload), &mut shared)
        .unwrap();
    assert!(shared.slices().flatten().eq(&bytes));
    assert_eq!(batch.unsent_frames(), usize::from(!bytes.is_empty()));
    Ok(bytes)
}

// F3
#[test]
fn each_newline_ends_its_own_lines_only() {
    let input = b"a\nb\rc\r\n\r\n";
    assert_eq!(lines_of(Lines::lf(), input), ["a", "b\rc\r", "\r"]);
    assert_eq!(lines_of(Lines::crlf(), input), ["a\nb\rc", ""]);
    assert_eq!(
        lines_of(Lines::lf().keep_end(), input),
        ["a\n", "b\rc\r\n", "\r\n"]
    );
    assert_eq!(lines_of(Lines::cr(), b"a\n\r\rb\r"), ["a\n", "", "b"]);
}

// F3
#[test]
fn a_crlf_cut_between_its_bytes_is_found() {
    let mut lines = Lines::crlf();
    let mut src = BytesMut::from(&b"ab\r"[..]);
    assert_eq!(lines.decode(&mut src).unwrap(), None);
    assert_eq!(lines.need(), 1);
    src.extend_from_slice(b"\r");
    assert_eq!(lines.decode(&mut src).unwrap(), None);
    src.extend_from_slice(b"\n");
    assert_eq!(lines.decode(&mut src).unwrap().unwrap(), "ab\r");
}

// F3
#[test]
fn text_without_a_newline_at_the_end() {
    let accept = || Lines::lf().last_without_delimiter(Unterminated::Accept);
    assert_eq!(lines_of(accept(), b"a\nlast"), ["a", "last"]);
    assert_eq!(lines_of(accept(), b"a\n"), ["a"]);
    let mut src = BytesMut::from(&b"last"[..]);
    let error = Lines::lf().decode_end(&mut src).unwrap_err();
    assert_eq!(
        error.kind(),
        DecodeErrorKind::Truncated { have: 4, need: 5 }
    );
    // The last line has the same limit as others.
    let mut lines = accept().max_frame(3);
    let error = lines.decode_end(&mut src).unwrap_err();
    assert_eq!((error.is_recoverable(), error.skipped()), (true, 4));
    assert_eq!(lines.decode_end(&mut src).unwrap(), None);
}

// F3
#[test]
fn encodings_of_the_text() {
    let decode = |text: Text, bytes: &'static [u8]| {
        text.decode(&Bytes::from_static(bytes))
            .map_err(|error| error.kind())
    };
    let ascii = Text::new().encoding(Encoding::Ascii);
    let latin = Text::new().encoding(Encoding::Latin1);
    assert_eq!(
        decode(Text::new(), "gr\u{fc}n".as_bytes()).unwrap(),
        "gr\u{fc}n"
    );
    assert_eq!(
        decode(Text::new(), b"gr\xfcn"),
        Err(DecodeErrorKind::Text {
            encoding: Encoding::Utf8,
            valid_up_to: 2
        })
    );
    assert_eq!(
        decode(Text::new().lossy(), b"gr\xfcn").unwrap(),
        "gr\u{fffd}n"
    );
    assert_eq!(
        decode(ascii, b"gr\xfcn"),
        Err(DecodeErrorKind::Text {
            encoding: Encoding::Ascii,
            valid_up_to: 2
        })
    );
    assert_eq!(decode(ascii.lossy(), b"gr\xfcn").unwrap(), "gr\u{fffd}n");
    assert_eq!(decode(latin, b"gr\xfcn\x85").unwrap(), "gr\u{fc}n\u{85}");

    let encode = |text: Text, message: &str| {
        let mut out = BytesMut::from(&b"-"[..]);
        let result = text.encode(&message.to_owned(), &mut out);
        result
            .map_err(|error| error.kind())
            .map(|()| out[1..].to_vec())
    };
    assert_eq!(
        encode(Text::new(), "\u{20ac}").unwrap(),
        "\u{20ac}".as_bytes()
    );
    assert_eq!(encode(latin, "gr\u{fc}n").unwrap(), b"gr\xfcn");
    assert_eq!(
        encode(latin, "\u{20ac}"),
        Err(EncodeErrorKind::Text {
            encoding: Encoding::Latin1
        })
    );
    assert_eq!(encode(latin.lossy(), "\u{fc}\u{20ac}").unwrap(), b"\xfc?");
    assert_eq!(
        encode(ascii, "gr\u{fc}n"),
        Err(EncodeErrorKind::Text {
            encoding: Encoding::Ascii
        })
    );
    assert_eq!(encode(ascii.lossy(), "gr\u{fc}n").unwrap(), b"gr?n");
}

// F4
#[test]
fn an_over_long_line_costs_that_line() {
    let mut lines = Lines::lf().max_frame(5).with(Text::new());
    let mut src = BytesMut::from("exact\nlonger\nnext\n");
    assert_eq!(lines.decode(&mut src).unwrap().unwrap(), "exact");
    let error = lines.decode(&mut src).unwrap_err();
    assert_eq!(
        error.kind(),
        DecodeErrorKind::TooLong {
            limit: 5,
            declared: None
        }
    );
    assert_eq!(
        (error.is_recoverable(), error.offset(), error.skipped()),
        (true, 6, 7)
    );
    assert_eq!(lines.decode(&mut src).unwrap().unwrap(), "next");
}

// F4
#[test]
fn an_endless_line_is_fatal_at_max_skip_and_kept_nowhere() {
    let mut lines = Lines::crlf().max_frame(100).max_skip(10_000);
    let mut src = BytesMut::new();
    let mut fed = 0;
    let error = loop {
        src.extend_from_slice(&[b'x'; 64]);
        fed += 64;
        assert!(
            src.len() <= 100 + 2 + 64,
            "more than a frame and a read is kept"
        );
        match lines.decode(&mut src) {
            Ok(line) => assert_eq!(line, None),
            Err(error) => break error,
        }
    };
    assert_eq!((error.is_recoverable(), error.skipped()), (false, 10_000));
    assert_eq!(fed - src.len(), 10_000);
    // One that ends just in time is not.
    let mut src = BytesMut::from(&[b'x'; 10_000][..]);
    src.extend_from_slice(b"\r\nnext\r\n");
    let mut lines = Lines::crlf().max_frame(100).max_skip(10_000);
    assert_eq!(lines.decode(&mut src).unwrap_err().skipped(), 10_002);
    assert_eq!(lines.decode(&mut src).unwrap().unwrap(), "next");
}

#[test]
fn what_is_sent_has_exactly_one_newline_at_its_end() {
    assert_eq!(sent(Lines::lf(), b"a").unwrap(), b"a\n");
    assert_eq!(sent(Lines::lf(), b"a\n").unwrap(), b"a\n");
    assert_eq!(sent(Lines::lf(), b"").unwrap(), b"\n");
    assert_eq!(sent(Lines::lf().skip_empty(), b"").unwrap(), b"");
    assert_eq!(sent(Lines::crlf(), b"a\r").unwrap(), b"a\r\r\n");
    assert_eq!(
        sent(Lines::lf(), b"a\nb"),
        Err(EncodeErrorKind::Delimiter { at: 1 })
    );
    assert_eq!(sent(Lines::crlf(), b"a\nb\r").unwrap(), b"a\nb\r\r\n");
    assert_eq!(
        sent(Lines::lf(), b"\n\n"),
        Err(EncodeErrorKind::Delimiter { at: 0 })
    );
    let long = EncodeErrorKind::TooLong {
        limit: 2,
        actual: 3,
    };
    assert_eq!(sent(Lines::lf().max_frame(2), b"abc\n"), Err(long));
}
