//! The bytes of protocol version 1, in both directions. They are never edited.

use std::time::Duration;

use bowline_backend::time::Instant;
use bowline_rpc::proto::{
    Advertised, CancelReason, CodecId, Command, Event, Failure, MethodId, MethodOptions, Open,
    Side, Target,
};
use bowline_rpc::{Certainty, Code, Limits};
use bytes::Bytes;

use crate::pair::{START, events, hex, machine, opened, pump, ready, receive, reply, sent};

const OPEN_1: &str =
    "00000012 10 00 0000 0000000000000001 00000001 00 01 04 00 0000000001C9C380 04 06";
const REPLY_1: &str = "00000001 12 00 0000 0000000000000001 0A";
const OPEN_3: &str = "0000001A 10 00 0006 0000000000000003 00000000 00 02 04 00 00000000000F4240 \
    01 0003 6D756C 93 01 02 03";
const FAIL_3: &str = "00000011 13 00 0004 0000000000000003 01 00 00000000 0009 6E6F206D6574686F64";
const CANCEL_3: &str = "00000000 14 00 0001 0000000000000003";
const CREDIT_3: &str = "00000004 15 00 0000 0000000000000003 00008000";
const ADVERTISE: &str =
    "00000019 20 00 0001 0000000000000000 00000001 00000000 0000000000000000 0021 0001 0003 6D756C";
const PING: &str = "00000008 06 00 0000 0000000000000000 0102030405060708";

fn first() -> Open {
    Open::new(
        Target::Method(MethodId(1)),
        CodecId::POSTCARD,
        Bytes::from_static(&[4, 6]),
    )
    .deadline(START + Duration::from_secs(30))
}

fn second() -> Open {
    Open::new(
        Target::Name("mul".into()),
        CodecId::MESSAGE_PACK,
        Bytes::from_static(&[0x93, 1, 2, 3]),
    )
    .deadline(START + Duration::from_secs(1))
}

// R11
#[test]
fn calls_and_their_ends_have_the_golden_bytes() {
    let (mut dialer, mut listener) = ready(&Limits::default());
    crate::pair::open(&mut dialer, first());
    let bytes = sent(&mut dialer, START);
    assert_eq!(bytes, hex(OPEN_1));
    receive(&mut listener, START, &bytes).unwrap();
    let calls = opened(events(&mut listener));
    reply(&mut listener, calls[0].call, &[0x0A]).unwrap();
    assert_eq!(sent(&mut listener, START), hex(REPLY_1));
    receive(&mut dialer, START, &hex(REPLY_1)).unwrap();

    let call = crate::pair::open(&mut dialer, second());
    let bytes = sent(&mut dialer, START);
    assert_eq!(bytes, hex(OPEN_3));
    receive(&mut listener, START, &bytes).unwrap();
    let incoming = opened(events(&mut listener))[0].call;
    dialer
        .command(
            START,
            Command::Cancel {
                call,
                reason: CancelReason::Dropped,
            },
        )
        .unwrap();
    assert_eq!(sent(&mut dialer, START), hex(CANCEL_3));
    let failure = Failure::new(Code::UnknownMethod).message("no method");
    listener
        .command(
            START,
            Command::Fail {
                call: incoming,
                failure,
            },
        )
        .unwrap();
    assert_eq!(sent(&mut listener, START), hex(FAIL_3));
}

// R11
#[test]
fn golden_bytes_are_read_as_what_they_say() {
    let (mut dialer, mut listener) = ready(&Limits::default());
    receive(&mut listener, START, &[hex(OPEN_1), hex(OPEN_3)].concat()).unwrap();
    let calls = opened(events(&mut listener));
    assert_eq!(calls[0].call.as_u64(), 1);
    assert_eq!(calls[0].target, Target::Method(MethodId(1)));
    assert_eq!(
        (calls[0].codec, calls[0].priority, calls[0].hops),
        (CodecId::POSTCARD, 4, 0)
    );
    assert_eq!(calls[0].deadline, START + Duration::from_secs(30));
    assert_eq!(&calls[0].body[..], [4, 6]);
    assert_eq!(calls[1].call.as_u64(), 3);
    assert_eq!(calls[1].target, Target::Name("mul".into()));
    assert_eq!(calls[1].codec, CodecId::MESSAGE_PACK);
    assert_eq!(calls[1].deadline, START + Duration::from_secs(1));
    assert_eq!(&calls[1].body[..], [0x93, 1, 2, 3]);
    receive(&mut listener, START, &hex(CANCEL_3)).unwrap();
    let cancelled = events(&mut listener);
    assert!(
        matches!(cancelled[..], [Event::Cancelled { call, reason: CancelReason::Dropped }] if call == calls[1].call)
    );

    let one = crate::pair::open(&mut dialer, first());
    let three = crate::pair::open(&mut dialer, second());
    sent(&mut dialer, START);
    receive(
        &mut dialer,
        START,
        &[hex(CREDIT_3), hex(REPLY_1), hex(FAIL_3)].concat(),
    )
    .unwrap();
    let ends = events(&mut dialer);
    let [
        Event::Replied { call, body },
        Event::Failed {
            call: failed,
            error,
        },
    ] = &ends[..]
    else {
        panic!("{ends:?}");
    };
    assert_eq!((*call, &body[..]), (one, &[0x0A][..]));
    assert_eq!(
        (*failed, error.code(), error.certainty()),
        (three, Code::UnknownMethod, Certainty::Refused)
    );
    assert_eq!(error.message(), "no method");
}

// R11
#[test]
fn advertisements_and_pings_have_the_golden_bytes() {
    let options = MethodOptions::IDEMPOTENT.with(MethodOptions::NOTIFY);
    let mul = Advertised::new(MethodId(1), "mul").options(options);
    let (mut dialer, mut listener) = ready(&Limits::default());
    dialer
        .command(START, Command::Advertise(vec![mul.clone()]))
        .unwrap();
    assert_eq!(sent(&mut dialer, START), hex(ADVERTISE));
    receive(&mut listener, START, &hex(ADVERTISE)).unwrap();
    let events = events(&mut listener);
    assert!(
        matches!(&events[..], [Event::Advertised(methods)] if *methods == [mul]),
        "{events:?}"
    );

    // Both pick a payload: here the time, there ours.
    let beat = Instant::from_nanos(0x0102_0304_0506_0708);
    dialer.handle_timeout(beat);
    assert_eq!(sent(&mut dialer, beat), hex(PING));
    receive(&mut listener, START, &hex(PING)).unwrap();
    let mut pong = hex(PING);
    pong[4] = 7;
    assert_eq!(sent(&mut listener, START), pong);
}

#[test]
fn a_dialer_begins_with_the_preface_and_its_hello() {
    let mut dialer = machine(Side::Dialer, &Limits::default());
    let bytes = sent(&mut dialer, START);
    assert_eq!(bytes[..8], hex("B042574C0D0A1A00"));
    // version 1 to 1, no features, the nonce.
    assert_eq!(bytes[8..24], hex("0000006801 00 0000 0000000000000000"));
    assert_eq!(bytes[24..36], hex("00010001 00000000 00000000"));
    assert_eq!(bytes[36..68], [1; 32]);
    let mut listener = machine(Side::Listener, &Limits::default());
    assert!(sent(&mut listener, START).is_empty(), "a listener waits");
    receive(&mut listener, START, &bytes).unwrap();
    pump(&mut dialer, &mut listener, START);
    assert!(dialer.is_ready() && listener.is_ready());
}
