//! Delimiters, fixed sizes, netstrings, COBS, no frames: the cases that matter, one by one.

use bowline_codec::{
    BytesFraming, Cobs, Decode, DecodeError, DecodeErrorKind, Delimiter, Encode, EncodeErrorKind,
    FixedSize, Framing, JsonFraming, LengthDelimited, Limits, Lines, MsgpackFraming, Netstring,
    OutputBatch, Raw, Stapled, Text,
};
use bytes::{Bytes, BytesMut};

fn sent<F: Framing>(mut framing: F, payload: &[u8]) -> Result<Vec<u8>, EncodeErrorKind> {
    let mut batch = OutputBatch::new();
    let result = Encode::<[u8]>::encode(&mut framing, payload, &mut batch);
    let mut shared = OutputBatch::new();
    let again = framing.encode(&Bytes::copy_from_slice(payload), &mut shared);
    let kind = |result: Result<(), bowline_codec::EncodeError>| result.map_err(|why| why.kind());
    assert_eq!(kind(result.clone()), kind(again));
    let bytes: Vec<u8> = batch.slices().flatten().copied().collect();
    assert!(shared.slices().flatten().eq(&bytes));
    assert_eq!(batch.unsent_frames(), usize::from(!bytes.is_empty()));
    kind(result).map(|()| bytes)
}

/// The frames of a whole input, and how it ended.
fn received<F: Framing>(mut framing: F, input: &[u8]) -> (Vec<Bytes>, Result<(), DecodeError>) {
    let mut src = BytesMut::from(input);
    let mut frames = Vec::new();
    loop {
        match framing.decode_end(&mut src) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, Ok(())),
            Err(error) => return (frames, Err(error)),
        }
    }
}

fn refusal<F: Framing>(framing: F, input: &[u8]) -> (DecodeErrorKind, bool) {
    let (frames, end) = received(framing, input);
    assert!(frames.is_empty(), "{frames:?}");
    let error = end.unwrap_err();
    (error.kind(), error.is_recoverable())
}

// F5
#[test]
fn a_delimiter_that_overlaps_itself_is_found_where_it_is_first() {
    let (frames, end) = received(Delimiter::new("aab"), b"aaabxaabaab");
    end.unwrap();
    assert_eq!(frames, ["a", "x", ""]);
}

// F5
#[test]
fn a_delimiter_is_found_wherever_it_is_cut() {
    let wire = b"oneEND.two, E, EN and END but notEND.END.";
    for cut in 0..=wire.len() {
        let mut frames = Delimiter::new("END.");
        let mut found = Vec::new();
        let mut src = BytesMut::new();
        for part in [&wire[..cut], &wire[cut..]] {
            src.extend_from_slice(part);
            while let Some(frame) = frames.decode(&mut src).unwrap() {
                found.push(frame);
            }
        }
        assert_eq!(
            found,
            ["one", "two, E, EN and END but not", ""],
            "cut at {cut}"
        );
    }
}

// F5
#[test]
fn a_payload_in_which_the_delimiter_would_be_found_is_refused() {
    let at = |at| Err(EncodeErrorKind::Delimiter { at });
    assert_eq!(sent(Delimiter::new("--"), b"a--b"), at(1));
    assert_eq!(sent(Delimiter::new("--"), b"ab--"), at(2));
    // Not in the payload, but in what would be on the wire.
    assert_eq!(sent(Delimiter::new("--"), b"ab-"), at(2));
    assert_eq!(sent(Delimiter::new("abab"), b"xab"), at(1));
    assert_eq!(sent(Delimiter::new("abab"), b"xaba").unwrap(), b"xabaabab");
    assert_eq!(sent(Delimiter::new("abab"), b"").unwrap(), b"abab");
    assert_eq!(sent(Delimiter::new("ab").skip_empty(), b"").unwrap(), b"");
    let long = EncodeErrorKind::TooLong {
        limit: 2,
        actual: 3,
    };
    assert_eq!(sent(Delimiter::new("ab").max_frame(2), b"xxx"), Err(long));
}

// F5
#[test]
fn a_delimiter_is_accepted_up_to_64_bytes() {
    assert_eq!(Delimiter::MAX_LEN, 64);
    let longest = [b'x'; 64];
    let wire = sent(Delimiter::new(longest), b"payload").unwrap();
    assert_eq!(received(Delimiter::new(longest), &wire).0, ["payload"]);
    std::panic::catch_unwind(|| Delimiter::new([b'x'; 65])).unwrap_err();
    std::panic::catch_unwind(|| Delimiter::new("")).unwrap_err();
}

#[test]
fn a_frame_of_another_size_is_refused() {
    assert_eq!(FixedSize::new(3).size(), 3);
    assert_eq!(sent(FixedSize::new(3), b"abc").unwrap(), b"abc");
    for payload in [&b""[..], b"ab", b"abcd"] {
        let (expected, actual) = (3, payload.len());
        let kind = EncodeErrorKind::Size { expected, actual };
        assert_eq!(sent(FixedSize::new(3), payload), Err(kind));
    }
    let kind = DecodeErrorKind::Truncated { have: 2, need: 3 };
    assert_eq!(refusal(FixedSize::new(3), b"ab"), (kind, false));
}

// F7
#[test]
fn netstrings_have_one_form() {
    for bad in [
        "01:a,",
        "00:,",
        "-1:a,",
        "+1:a,",
        " 1:a,",
        "1 :a,",
        ":,",
        "a:",
        "1a:",
        ",",
        // 20 digits above u64::MAX, and 21 of anything.
        "18446744073709551616:",
        "99999999999999999999:",
        "100000000000000000000:",
    ] {
        let kind = DecodeErrorKind::BadLength;
        assert_eq!(
            refusal(Netstring::new(), bad.as_bytes()),
            (kind, false),
            "{bad}"
        );
    }
    for bad in ["1:ab", "0:x", "3:abc;", "3:abcd,"] {
        let kind = DecodeErrorKind::BadFrame;
        assert_eq!(
            refusal(Netstring::new(), bad.as_bytes()),
            (kind, false),
            "{bad}"
        );
    }
    // 20 digits that are a number are only too many.
    let kind = DecodeErrorKind::TooLong {
        limit: 65_536,
        declared: Some(u64::MAX),
    };
    assert_eq!(
        refusal(Netstring::new(), b"18446744073709551615:"),
        (kind, false)
    );
    assert_eq!(
        sent(Netstring::new(), b"hello world!").unwrap(),
        b"12:hello world!,"
    );
    assert_eq!(sent(Netstring::new(), b"").unwrap(), b"0:,");
}

// F7
#[test]
fn a_netstring_of_exactly_the_limit_passes() {
    let limited = || Netstring::new().max_frame(3);
    assert_eq!(sent(limited(), b"abc").unwrap(), b"3:abc,");
    assert_eq!(received(limited(), b"3:abc,").0, ["abc"]);
    let long = EncodeErrorKind::TooLong {
        limit: 3,
        actual: 4,
    };
    assert_eq!(sent(limited(), b"abcd"), Err(long));
    let kind = DecodeErrorKind::TooLong {
        limit: 3,
        declared: Some(4),
    };
    assert_eq!(refusal(limited(), b"4:"), (kind, false));
}

/// The textbook encoder: byte by byte, with the place of the last code remembered.
fn reference_encode(payload: &[u8]) -> Vec<u8> {
    let mut wire = vec![0];
    let mut code_at = 0;
    let mut code = 1;
    for (index, byte) in payload.iter().enumerate() {
        if *byte != 0 {
            wire.push(*byte);
            code += 1;
        }
        let full = code == 0xff && index + 1 < payload.len();
        if *byte == 0 || full {
            wire[code_at] = code;
            code_at = wire.len();
            wire.push(0);
            code = 1;
        }
    }
    wire[code_at] = code;
    wire
}

/// Pseudo-random numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }

    /// Mostly short with many zeros; now and then longer than a block, with few.
    fn payload(&mut self) -> Vec<u8> {
        let (len, zero) = match self.below(50) {
            0 => (240 + self.below(300), 400),
            _ => (self.below(24), 4),
        };
        (0..len)
            .map(|_| match self.below(zero) {
                0 => 0,
                _ => self.below(255) as u8 + 1,
            })
            .collect()
    }
}

// F6
#[test]
fn cobs_is_what_two_others_make_of_it() {
    let mut numbers = Numbers(1);
    let mut framing = Cobs::new();
    for _ in 0..100_000 {
        let payload = numbers.payload();
        let mut batch = OutputBatch::new();
        framing.encode(&payload[..], &mut batch).unwrap();
        let mut wire = BytesMut::from(batch.coalesce(usize::MAX));
        let mut plain = vec![0; wire.len()];
        let report = cobs::decode(&wire, &mut plain).unwrap();
        assert_eq!(&plain[..report.frame_size()], &payload[..]);
        assert_eq!(wire, [&reference_encode(&payload)[..], &[0]].concat());
        // Theirs may end in a code that says nothing.
        wire.extend_from_slice(&cobs::encode_vec(&payload));
        wire.extend_from_slice(&[0]);
        for _ in 0..2 {
            assert_eq!(framing.decode(&mut wire).unwrap().unwrap(), payload);
        }
        assert!(wire.is_empty());
    }
}

// F6
#[test]
fn a_damaged_frame_costs_itself() {
    let mut frames = Cobs::new();
    let mut src = BytesMut::from(&b"\x00\x00\x02a\x00\x05bc\x00\x00\x02d\x00"[..]);
    assert_eq!(frames.decode(&mut src).unwrap().unwrap(), "a");
    let error = frames.decode(&mut src).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::BadFrame);
    assert_eq!(
        (error.is_recoverable(), error.offset(), error.skipped()),
        (true, 5, 4)
    );
    assert_eq!(frames.decode(&mut src).unwrap().unwrap(), "d");
    assert_eq!(frames.decode_end(&mut src).unwrap(), None);
}

// F6
#[test]
fn an_over_long_cobs_frame_costs_itself_in_constant_memory() {
    let mut frames = Cobs::new().max_frame(100).max_skip(10_000);
    let mut src = BytesMut::new();
    for _ in 0..100 {
        src.extend_from_slice(&[9; 90]);
        assert_eq!(frames.decode(&mut src).unwrap(), None);
        assert!(
            src.len() <= 101 + 90,
            "more than a frame and a read is kept"
        );
    }
    src.extend_from_slice(b"\0\x02a\0");
    let error = frames.decode(&mut src).unwrap_err();
    let kind = DecodeErrorKind::TooLong {
        limit: 100,
        declared: None,
    };
    assert_eq!(
        (error.kind(), error.is_recoverable(), error.skipped()),
        (kind, true, 9001)
    );
    assert_eq!(frames.decode(&mut src).unwrap().unwrap(), "a");
    // And one without end is the end.
    src.extend_from_slice(&[1; 10_001]);
    let error = frames.decode(&mut src).unwrap_err();
    assert_eq!(
        (error.kind(), error.is_recoverable(), error.skipped()),
        (kind, false, 10_000)
    );
}

// F6
#[test]
fn a_cobs_payload_of_exactly_the_limit_passes() {
    // As long as it gets on the wire, and as short as it gets.
    for payload in [vec![7; 508], vec![0; 508]] {
        let wire = sent(Cobs::new().max_frame(508), &payload).unwrap();
        assert_eq!(
            received(Cobs::new().max_frame(508), &wire).0,
            [&payload[..]]
        );
        let kind = DecodeErrorKind::TooLong {
            limit: 507,
            declared: None,
        };
        assert_eq!(refusal(Cobs::new().max_frame(507), &wire), (kind, true));
        let kind = EncodeErrorKind::TooLong {
            limit: 507,
            actual: 508,
        };
        assert_eq!(sent(Cobs::new().max_frame(507), &payload), Err(kind));
    }
}

#[test]
fn bytes_come_as_they_come() {
    let mut pieces = BytesFraming::new().max_frame(4);
    let mut src = BytesMut::from("abcdefghij");
    for piece in ["abcd", "efgh", "ij"] {
        assert_eq!(pieces.decode(&mut src).unwrap().unwrap(), piece);
    }
    assert_eq!(pieces.decode_end(&mut src).unwrap(), None);
    assert_eq!(sent(BytesFraming::new(), b"as it is").unwrap(), b"as it is");
    assert_eq!(sent(BytesFraming::new(), b"").unwrap(), b"");
    let long = EncodeErrorKind::TooLong {
        limit: 4,
        actual: 5,
    };
    assert_eq!(sent(BytesFraming::new().max_frame(4), b"abcde"), Err(long));
}

/// A framing takes payloads as long as it says, and no longer.
#[track_caller]
fn limited(framing: impl Framing + Clone, of: impl Fn(usize) -> Vec<u8>, max_skip: Option<usize>) {
    let limits = framing.limits();
    let most = limits.max_frame.expect("every framing has a limit");
    assert_eq!(limits.max_skip, max_skip);
    sent(framing.clone(), &of(most)).unwrap();
    let limit = match sent(framing.clone(), &of(most + 1)).unwrap_err() {
        EncodeErrorKind::TooLong { limit, .. } => limit,
        EncodeErrorKind::Size { expected, .. } => expected,
        other => panic!("{other:?}"),
    };
    assert_eq!(limit, most);
    // Whatever is put round it says so too.
    assert_eq!(framing.clone().with(Raw::new()).limits(), limits);
    let other = Stapled::new(Lines::lf(), framing);
    assert_eq!(other.limits(), limits);
}

// C11, F1, F4
#[test]
fn every_framing_tells_its_limits() {
    let any = |len| vec![b'x'; len];
    limited(LengthDelimited::u8().max_frame(300), any, None);
    limited(LengthDelimited::u32().max_frame(300), any, None);
    let skips = LengthDelimited::varint().max_frame(300).skip_oversized();
    limited(skips.max_skip(7), any, Some(7));
    limited(Lines::lf(), any, Some(1 << 20));
    limited(Lines::crlf().max_frame(300).max_skip(400), any, Some(400));
    limited(Delimiter::new("||").max_frame(300), any, Some(1 << 20));
    limited(Cobs::new().max_frame(300).max_skip(900), any, Some(900));
    limited(Netstring::new().max_frame(300), any, None);
    limited(BytesFraming::new().max_frame(300), any, None);
    limited(FixedSize::new(300), any, None);
    let text = |len| [&b"\""[..], &any(len - 2), b"\""].concat();
    limited(
        JsonFraming::new().max_frame(300).max_skip(400),
        text,
        Some(400),
    );
    let text = |len: usize| [&[0xda, 1, (len - 259) as u8][..], &any(len - 3)].concat();
    limited(MsgpackFraming::new().max_frame(300), text, None);
    assert_eq!(MsgpackFraming::new().limits().max_depth, Some(128));
    assert_eq!(Lines::lf().with(Text::new()).limits(), Lines::lf().limits());
    assert_eq!(
        bowline_codec::MessageCodec::limits(&Text::new()),
        Limits::default()
    );
}
