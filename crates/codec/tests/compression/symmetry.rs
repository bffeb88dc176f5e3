//! What is compressed can be expanded by whoever has the same limits, and is not sent otherwise.

use bowline_codec::{
    Compress, Decode, DecodeError, Encode, EncodeError, EncodeErrorKind, Expansion,
    ExpansionLimits, Lz4, MessageCodec, OutputBatch, Raw, Wrapper, Zlib, ZlibFraming,
};
use bytes::{Bytes, BytesMut};

use crate::{MIB, wrapped};

/// Bytes that cannot be compressed.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Payloads of `len` bytes: as steep as can be, in front, at the end, and not at all.
fn payloads(len: usize) -> [Vec<u8>; 4] {
    let half = len / 2;
    [
        vec![0; len],
        [vec![0; len - half], noise(half)].concat(),
        [noise(len - half), vec![0; half]].concat(),
        noise(len),
    ]
}

const LIMITS: [(usize, usize); 9] = [
    (1, 1),
    (100, 256),
    (64 * 1024, 1),
    (64 * 1024 + 1, 1),
    (100_000, 1),
    (100_000, 10),
    (100_000, 256),
    (300_000, 2000),
    (MIB, 256),
];

/// A payload of exactly the limit passes in both directions, and one more byte in neither.
fn symmetric(
    limit: usize,
    encode: impl Fn(&[u8]) -> Result<Bytes, EncodeErrorKind>,
    decode: impl Fn(&Bytes) -> Bytes,
) {
    for payload in payloads(limit) {
        let frame = encode(&payload).unwrap();
        assert_eq!(decode(&frame), payload);
    }
    for payload in payloads(limit + 1) {
        let actual = limit + 1;
        assert_eq!(
            encode(&payload),
            Err(EncodeErrorKind::TooLong { limit, actual })
        );
    }
}

// C5, C8
#[test]
fn a_payload_of_exactly_the_limit_passes_both_ways_in_a_frame() {
    fn wrapper(limit: usize, wrapper: &impl Wrapper) {
        let encode = |payload: &[u8]| {
            let mut out = BytesMut::new();
            let wrapped = wrapper.wrap(payload, &mut out);
            wrapped.map_err(|error| error.kind())?;
            Ok(out.freeze())
        };
        symmetric(limit, encode, |frame| wrapper.unwrap(frame).unwrap());
    }
    for (output, ratio) in LIMITS {
        let limits = ExpansionLimits::new().max_output(output).max_ratio(ratio);
        wrapper(output, &Lz4::new().within(limits));
        for level in [0, 1, 9] {
            wrapper(output, &Zlib::new().level(level).within(limits));
        }
    }
}

// C5, C9: here the ratio of each beginning of the frame counts.
#[test]
fn a_payload_of_exactly_the_limit_passes_both_ways_on_a_stream() {
    for (output, ratio) in LIMITS {
        let limits = ExpansionLimits::new().max_output(output).max_ratio(ratio);
        for level in [0, 9] {
            let new = || ZlibFraming::new(Zlib::new().level(level).within(limits));
            let encode = |payload: &[u8]| {
                let mut batch = OutputBatch::new();
                batch.put_slice(b"before");
                let encoded = new().encode(payload, &mut batch);
                let bytes: Bytes = batch.slices().flatten().copied().collect();
                if let Err(error) = encoded {
                    assert_eq!(bytes, "before");
                    return Err(error.kind());
                }
                assert_eq!(batch.unsent_frames(), 1);
                Ok(bytes.slice(6..))
            };
            symmetric(output, encode, |frame| {
                let mut src = BytesMut::from(&frame[..]);
                let frame = new().decode(&mut src).unwrap().unwrap();
                assert!(src.is_empty());
                frame
            });
        }
    }
}

// C8
#[test]
fn steep_data_is_still_compressed_as_far_as_it_may() {
    let zeros = vec![0; MIB];
    let most = MIB / 256 + MIB / 1000 + 100;
    let frame = wrapped(&Zlib::new(), &zeros);
    assert!(frame.len() <= most, "{} bytes", frame.len());
    let mut batch = OutputBatch::new();
    let mut framing = ZlibFraming::new(Zlib::new());
    framing.encode(&zeros[..], &mut batch).unwrap();
    assert!(batch.len() <= most, "{} bytes", batch.len());
    // And anybody can read it.
    let mut theirs = Vec::new();
    let mut reader = libflate::zlib::Decoder::new(&frame[..]).unwrap();
    std::io::Read::read_to_end(&mut reader, &mut theirs).unwrap();
    assert_eq!(theirs, zeros);
}

/// Compresses whatever it is given to nothing, as does a codec of somebody's own that is better than
/// the limits allow.
struct ToNothing;

impl Compress for ToNothing {
    fn compress(&self, _: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        out.extend_from_slice(b"!");
        Ok(())
    }

    fn expand(&self, _: &[u8], out: &mut Expansion) -> Result<(), DecodeError> {
        out.put(&vec![0; 100_000])
    }
}

// C4, C8
#[test]
fn what_is_compressed_too_far_is_not_sent() {
    let codec = Raw::new().wrap(ToNothing);
    let mut out = BytesMut::from("before");
    let message = Bytes::from(vec![0; 100_000]);
    let error = codec.encode(&message, &mut out).unwrap_err();
    let (limit, actual) = (64 * 1024, 100_000);
    assert_eq!(error.kind(), EncodeErrorKind::TooLong { limit, actual });
    assert_eq!(out, "before");
    assert_eq!(
        codec.decode(&Bytes::from("!")).unwrap_err().limit(),
        Some(limit)
    );
}
