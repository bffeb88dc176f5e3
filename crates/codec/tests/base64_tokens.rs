//! Base64 tokens: the vectors, damage anywhere, lenient forms, a second implementation.

#[path = "fixtures/ordered.rs"]
mod ordered;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bowline_codec::{
    Base64, Decode, DecodeErrorKind, Encode, Framing, Json, Key, Lines, MessageCodec, OutputBatch,
    Raw, Wrapper,
};
use bytes::{Bytes, BytesMut};
use ordered::Ordered;
use proptest::collection::vec;
use proptest::prelude::*;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const INNER: &[u8] = br#"{"key":[1,2,3]}"#;

fn key() -> Key {
    Key::parse(KEY).unwrap()
}

fn token(wrapper: &Base64, payload: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    wrapper.wrap(payload, &mut out).unwrap();
    out
}

fn opened(wrapper: &Base64, token: &[u8]) -> Result<Bytes, DecodeErrorKind> {
    let opened = wrapper.unwrap(&Bytes::copy_from_slice(token));
    opened.map_err(|error| {
        assert!(error.is_recoverable());
        error.kind()
    })
}

// C7
#[test]
fn the_vectors() {
    for (wrapper, expected) in [
        (Base64::new(), "eyJrZXkiOlsxLDIsM119"),
        (
            Base64::new().checksum(),
            "eyJrZXkiOlsxLDIsM119Vfj31n-hr1hFKtWxuLTOz5GdbZtdMmOIVAmWs7O8Z8k=",
        ),
        (
            Base64::new().signed(key()),
            "eyJrZXkiOlsxLDIsM119-zMJboYzIsFPJljjzY3_OVXLg4jVqn6QMC4uLYg9H70=",
        ),
    ] {
        assert_eq!(token(&wrapper, INNER), expected);
        assert_eq!(opened(&wrapper, expected.as_bytes()).unwrap(), INNER);
    }
    let raw = Key::from_entropy(std::array::from_fn(|index| index as u8));
    let by_raw = token(&Base64::new().signed(raw), INNER);
    assert_eq!(by_raw, token(&Base64::new().signed(key()), INNER));
}

// C7
#[test]
fn one_flipped_bit_anywhere_is_not_authentic() {
    for wrapper in [Base64::new().signed(key()), Base64::new().checksum()] {
        let good = token(&wrapper, INNER);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                opened(&wrapper, &bad),
                Err(DecodeErrorKind::Integrity),
                "bit {bit}"
            );
        }
    }
}

// C7
#[test]
fn tokens_too_short_for_their_tag_are_not_authentic() {
    for wrapper in [Base64::new().signed(key()), Base64::new().checksum()] {
        for len in 0..32 {
            let short = URL_SAFE.encode(vec![7; len]);
            assert_eq!(
                opened(&wrapper, short.as_bytes()),
                Err(DecodeErrorKind::Integrity)
            );
        }
        // The tag alone is the token of nothing.
        assert_eq!(opened(&wrapper, &token(&wrapper, b"")).unwrap(), "");
    }
    assert_eq!(opened(&Base64::new(), b"").unwrap(), "");
    // Another key is another signature.
    let other = Base64::new().signed(Key::from_entropy([1; 32]));
    let forged = opened(&other, &token(&Base64::new().signed(key()), INNER));
    assert_eq!(forged, Err(DecodeErrorKind::Integrity));
}

// C7
#[test]
fn lenient_forms_are_refused() {
    for bad in [
        "QQ",
        "QQ=",
        "Q===",
        "====",
        "QQ==QQ==",
        "QQ==\n",
        " QQ==",
        "QR==",
        "QUJ=",
        "QQ=Q",
        "QU-J+w==",
        "QUI",
        "Q",
        "QUJD=",
        "QUJD====",
        "QU!D",
        "QU\u{e9}D",
    ] {
        let refused = opened(&Base64::new(), bad.as_bytes());
        assert_eq!(refused, Err(DecodeErrorKind::Integrity), "{bad}");
    }
    // Each alphabet refuses the other's characters.
    assert_eq!(
        opened(&Base64::new(), b"-_-_").unwrap(),
        opened(&Base64::new().standard(), b"+/+/").unwrap()
    );
    assert!(opened(&Base64::new(), b"+/+/").is_err());
    assert!(opened(&Base64::new().standard(), b"-_-_").is_err());
}

// C7
#[test]
fn a_key_has_one_form_and_is_not_shown() {
    for bad in [
        "",
        "AAEC",
        &KEY[..43],
        &format!("{KEY}="),
        &KEY.replace('A', "+"),
        "not a key",
    ] {
        assert!(Key::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(format!("{:?}", key()), "Key { .. }");
    assert!(!format!("{:?}", Base64::new().signed(Key::from_entropy([77; 32]))).contains("77"));
}

proptest! {
    // C7
    #[test]
    fn another_implementation_agrees(
        data in vec(any::<u8>(), 0..80),
        text in prop_oneof![
            "[A-D+/_=-]{0,12}",
            vec(any::<u8>(), 0..12).prop_map(|data| STANDARD.encode(data)),
        ],
    ) {
        let (url, standard) = (Base64::new(), Base64::new().standard());
        prop_assert_eq!(token(&url, &data), URL_SAFE.encode(&data));
        prop_assert_eq!(token(&standard, &data), STANDARD.encode(&data));
        // Theirs are as strict as ours.
        for (wrapper, theirs) in [(url, URL_SAFE.decode(&text)), (standard, STANDARD.decode(&text))] {
            let ours = opened(&wrapper, text.as_bytes());
            prop_assert_eq!(ours.ok().map(Vec::from), theirs.ok(), "{}", text);
        }
    }
}

fn fixture() -> Ordered {
    serde_json::from_str(include_str!("fixtures/easynetwork-serializers.json")).unwrap()
}

fn bytes(hex: &Ordered) -> Vec<u8> {
    let hex = hex.text();
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

// C7
#[test]
fn easynetwork_sends_and_reads_the_same() {
    let all = fixture();
    assert_eq!(all["key_urlsafe_base64"].text(), KEY);
    for (set, wrapper) in [
        ("base64_plain_json", Base64::new()),
        ("base64_standard_alphabet_json", Base64::new().standard()),
        ("base64_sha256_json", Base64::new().checksum()),
        ("base64_hmac_json", Base64::new().signed(key())),
    ] {
        let new = || {
            let json = Json::<Ordered>::new().ascii_only();
            Lines::crlf().with(json.wrap(wrapper.clone()))
        };
        let rows = all["sets"][set].elements();
        assert!(rows.len() > 20);
        for row in rows {
            let mut batch = OutputBatch::new();
            new().encode(&row["packet"], &mut batch).unwrap();
            let stream = bytes(&row["stream_hex"]);
            assert!(batch.slices().flatten().eq(&stream), "{set}: {row:?}");
            let decoded = new().decode(&mut BytesMut::from(&stream[..])).unwrap();
            assert_eq!(decoded.as_ref(), Some(&row["packet"]));
        }
    }
    let bad = all["bad_base64_hmac"].elements();
    assert_eq!(bad.len(), 5);
    let codec = Raw::new().wrap(Base64::new().signed(key()));
    for row in bad {
        let error = codec.decode(&bytes(&row["hex"]).into()).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::Integrity);
    }
}
