//! Length-delimited framing at its edges: every width, order, adjustment and limit.

use bowline_codec::{
    Decode, DecodeErrorKind, Encode, EncodeErrorKind, LengthDelimited, OutputBatch,
};
use bytes::{Bytes, BytesMut};

type New = fn() -> LengthDelimited;

const WIDTHS: [(usize, New); 4] = [
    (1, LengthDelimited::u8),
    (2, LengthDelimited::u16),
    (4, LengthDelimited::u32),
    (8, LengthDelimited::u64),
];

fn bytes_of(batch: &OutputBatch) -> Vec<u8> {
    batch.slices().flatten().copied().collect()
}

fn encoded(mut framing: LengthDelimited, payload: &[u8]) -> Result<Vec<u8>, EncodeErrorKind> {
    let mut batch = OutputBatch::new();
    batch.put_u8(0xEE);
    let by_slice = framing
        .encode(payload, &mut batch)
        .map_err(|error| error.kind());
    if by_slice.is_err() {
        assert_eq!(bytes_of(&batch), [0xEE], "a refused payload was written");
        assert_eq!(batch.unsent_frames(), 0);
    }
    let mut shared = OutputBatch::new();
    shared.put_u8(0xEE);
    let by_bytes = framing
        .encode(&Bytes::copy_from_slice(payload), &mut shared)
        .map_err(|error| error.kind());
    assert_eq!(by_slice, by_bytes);
    assert_eq!(bytes_of(&batch), bytes_of(&shared));
    by_slice.map(|()| bytes_of(&batch)[1..].to_vec())
}

fn decoded(mut framing: LengthDelimited, wire: &[u8]) -> Result<Option<Bytes>, DecodeErrorKind> {
    let mut src = BytesMut::from(wire);
    let item = framing.decode(&mut src).map_err(|error| error.kind())?;
    assert!(item.is_none() || src.is_empty());
    Ok(item)
}

/// A header of `width` bytes that says `number`.
fn header(width: usize, number: u64, little: bool) -> Vec<u8> {
    if little {
        number.to_le_bytes()[..width].to_vec()
    } else {
        number.to_be_bytes()[8 - width..].to_vec()
    }
}

// F1
#[test]
fn every_width_order_and_adjustment_at_its_edges() {
    for (width, new) in WIDTHS {
        for little in [false, true] {
            for adjust in [-2i32, 0, 1, 7] {
                for whole in [false, true] {
                    let max = 200;
                    let configure = || {
                        let framing = new().adjust(adjust).max_frame(max);
                        let framing = if little { framing.le() } else { framing };
                        if whole {
                            framing.header_included()
                        } else {
                            framing
                        }
                    };
                    let overhead = i64::from(adjust) + if whole { width as i64 } else { 0 };
                    for size in [0, 1, 2, max - 1, max] {
                        let payload: Vec<u8> = (0..size).map(|index| index as u8).collect();
                        let stated = size as i64 + overhead;
                        if stated < 0 {
                            let minimum = overhead.unsigned_abs() as usize;
                            let short = EncodeErrorKind::TooShort {
                                minimum,
                                actual: size,
                            };
                            assert_eq!(encoded(configure(), &payload), Err(short));
                            continue;
                        }
                        let mut wire = header(width, stated as u64, little);
                        wire.extend_from_slice(&payload);
                        assert_eq!(encoded(configure(), &payload).as_ref(), Ok(&wire));
                        assert_eq!(decoded(configure(), &wire).unwrap().unwrap(), payload);
                    }
                    let long = EncodeErrorKind::TooLong {
                        limit: max,
                        actual: max + 1,
                    };
                    assert_eq!(encoded(configure(), &vec![0; max + 1]), Err(long));
                    let declared = Some(max as u64 + 1);
                    assert_eq!(
                        decoded(
                            configure(),
                            &header(width, (max as i64 + 1 + overhead) as u64, little)
                        ),
                        Err(DecodeErrorKind::TooLong {
                            limit: max,
                            declared
                        })
                    );
                    if overhead > 0 {
                        assert_eq!(
                            decoded(configure(), &header(width, overhead as u64 - 1, little)),
                            Err(DecodeErrorKind::BadLength),
                            "a length below its adjustment"
                        );
                    }
                }
            }
        }
    }
}

// F1
#[test]
fn what_a_narrow_header_cannot_state_is_refused() {
    let too_long = |limit, actual| Err(EncodeErrorKind::TooLong { limit, actual });
    assert_eq!(
        encoded(LengthDelimited::u8(), &[0; 255]).map(|wire| wire.len()),
        Ok(256)
    );
    assert_eq!(
        encoded(LengthDelimited::u8(), &[0; 256]),
        too_long(255, 256)
    );
    assert_eq!(
        encoded(LengthDelimited::u16(), &[0; 65535]).map(|wire| wire.len()),
        Ok(65537)
    );
    assert_eq!(
        encoded(LengthDelimited::u16(), &[0; 65536]),
        too_long(65535, 65536)
    );
    // The adjustment takes room from the header, or gives some.
    assert_eq!(
        encoded(LengthDelimited::u8().adjust(10), &[0; 245]).map(|wire| wire[0]),
        Ok(255)
    );
    assert_eq!(
        encoded(LengthDelimited::u8().adjust(10), &[0; 246]),
        too_long(245, 246)
    );
    assert_eq!(
        encoded(LengthDelimited::u8().adjust(-10), &[0; 265]).map(|wire| wire[0]),
        Ok(255)
    );
    assert_eq!(
        encoded(LengthDelimited::u8().header_included(), &[0; 255]),
        too_long(254, 255)
    );
    // One that leaves none at all.
    assert_eq!(
        encoded(LengthDelimited::u8().adjust(256), &[]),
        too_long(0, 0)
    );
    assert_eq!(LengthDelimited::u16().limit(), 65535);
}

// F1
#[test]
fn the_limit_counts_the_payload_and_is_inclusive_both_ways() {
    let framing = || LengthDelimited::u32().header_included().max_frame(5);
    let wire = encoded(framing(), b"exact").unwrap();
    assert_eq!(wire, b"\x00\x00\x00\x09exact");
    assert_eq!(decoded(framing(), &wire).unwrap().unwrap(), "exact");
    assert_eq!(
        LengthDelimited::u32().max_frame(usize::MAX).limit(),
        u32::MAX as usize
    );
    assert_eq!(
        LengthDelimited::u64().max_frame(usize::MAX).limit(),
        usize::MAX
    );
}

// F1
#[test]
fn varints_of_every_length() {
    for size in [0usize, 1, 127, 128, 16_383, 16_384, 1 << 20] {
        let payload = vec![7; size];
        let wire = encoded(LengthDelimited::varint(), &payload).unwrap();
        let header = match size {
            0..=127 => 1,
            128..=16_383 => 2,
            _ => 3,
        };
        assert_eq!(wire.len(), header + size);
        assert_eq!(
            decoded(LengthDelimited::varint(), &wire).unwrap().unwrap(),
            payload
        );
        if size < 1 << 20 {
            let counting = || LengthDelimited::varint().header_included().adjust(3);
            let wire = encoded(counting(), &payload).unwrap();
            assert_eq!(decoded(counting(), &wire).unwrap().unwrap(), payload);
        }
    }
    let long = EncodeErrorKind::TooLong {
        limit: 1 << 20,
        actual: (1 << 20) + 1,
    };
    assert_eq!(
        encoded(LengthDelimited::varint(), &vec![0; (1 << 20) + 1]),
        Err(long)
    );
}

// F2
#[test]
fn a_length_over_the_limit_is_rejected_from_the_header_alone() {
    let declared = |number| DecodeErrorKind::TooLong {
        limit: 1 << 20,
        declared: Some(number),
    };
    for number in [(1 << 20) + 1, 1 << 40, u64::MAX] {
        let wire = header(8, number, false);
        assert_eq!(
            decoded(LengthDelimited::u64(), &wire),
            Err(declared(number))
        );
    }
    // More than an address can reach, or than 64 bits can count, is no length at all.
    let unlimited = || LengthDelimited::u64().max_frame(usize::MAX);
    let most = header(8, u64::MAX, false);
    assert_eq!(decoded(unlimited(), &most), Err(DecodeErrorKind::BadLength));
    assert_eq!(
        decoded(unlimited().adjust(-1), &most),
        Err(DecodeErrorKind::BadLength)
    );
}

// F2
#[test]
fn malformed_varints() {
    let varint = LengthDelimited::varint;
    let bad = Err(DecodeErrorKind::BadLength);
    assert_eq!(decoded(varint(), &[0x80; 11]), bad, "eleven bytes");
    assert_eq!(
        decoded(varint(), &[0x80; 10]),
        bad,
        "known to be too long after ten"
    );
    assert_eq!(decoded(varint(), &[0x80; 9]), Ok(None));
    assert_eq!(decoded(varint(), &[0x80, 0x00]), bad, "zero in two bytes");
    assert_eq!(decoded(varint(), &[0xff, 0x80, 0x00]), bad, "127 in three");
    let mut most = vec![0xff; 9];
    most.push(0x01);
    let declared = Some(u64::MAX);
    assert_eq!(
        decoded(varint(), &most),
        Err(DecodeErrorKind::TooLong {
            limit: 1 << 20,
            declared
        })
    );
    most[9] = 0x02;
    assert_eq!(decoded(varint(), &most), bad, "a bit beyond 64");
}

// F8
#[test]
fn an_oversized_frame_is_discarded_in_place_of_the_connection() {
    let mut framing = LengthDelimited::u32()
        .max_frame(4)
        .max_skip(6)
        .skip_oversized();
    let mut src = BytesMut::from(&b"\x00\x00\x00\x0a01234"[..]);
    assert_eq!(framing.decode(&mut src).unwrap(), None);
    assert!(src.is_empty(), "discarded bytes are not kept");
    assert_eq!(framing.need(), 5);
    src.extend_from_slice(b"56789\x00\x00\x00\x02ok");
    let error = framing.decode(&mut src).unwrap_err();
    assert_eq!(
        error.kind(),
        DecodeErrorKind::TooLong {
            limit: 4,
            declared: Some(10)
        }
    );
    assert_eq!(
        (error.is_recoverable(), error.offset(), error.skipped()),
        (true, 0, 14)
    );
    assert_eq!(framing.decode(&mut src).unwrap().unwrap(), "ok");
    // One byte more than may be discarded.
    src.extend_from_slice(b"\x00\x00\x00\x0b");
    let error = framing.decode(&mut src).unwrap_err();
    assert_eq!(
        (error.is_recoverable(), error.offset(), error.skipped()),
        (false, 20, 0)
    );
}

#[test]
fn a_frame_that_arrives_whole_is_not_copied() {
    let mut src = BytesMut::from(&b"\x00\x03abc\x00\x03def"[..]);
    let start = src.as_ptr() as usize;
    let mut framing = LengthDelimited::u16();
    let first = framing.decode(&mut src).unwrap().unwrap();
    let second = framing.decode(&mut src).unwrap().unwrap();
    assert_eq!(
        (first.as_ptr() as usize, second.as_ptr() as usize),
        (start + 2, start + 7)
    );
}

#[test]
#[should_panic(expected = "max_frame must not be zero")]
fn a_limit_of_zero_is_refused() {
    let _ = LengthDelimited::u8().max_frame(0);
}
