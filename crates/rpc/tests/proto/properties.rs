//! Laws for any input: total, cut-invariant, bounded, one outcome per call.

use std::time::Duration;

use bowline_rpc::proto::{Command, Failure, Machine, Side};
use bowline_rpc::{Code, Limits};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use crate::laws::{Joined, small, story};
use crate::pair::{
    START, call, events, frame, machine, millis, open, open_frame, opened, ready, receive, sent,
};

/// The bytes of a dialer with some calls, from its first byte.
fn conversation(second: usize) -> Vec<u8> {
    let mut dialer = machine(Side::Dialer, &Limits::default());
    let mut bytes = sent(&mut dialer, START);
    bytes.extend(frame(0x03, 0, 0, 0, &[2, b'm', b'e']));
    bytes.extend(frame(0x20, 0, 0, 0, &[]));
    bytes.extend(open_frame(1, b"small"));
    bytes.extend(open_frame(3, &vec![7; second]));
    bytes.extend(frame(0x14, 0, 1, 3, &[]));
    bytes.extend(frame(0x70, 0, 0, 0, b"unknown"));
    bytes.extend(frame(0x06, 0, 0, 0, &[9; 8]));
    bytes.extend(open_frame(5, b""));
    // Arguments in parts, a stream with an item in parts, and a notification.
    let mut parts = open_frame(7, &[0, 0, 0, 9, 1, 2, 3]);
    parts[5] = 1;
    bytes.extend(parts);
    let mut stream = open_frame(9, b"args");
    stream[20] = 2;
    bytes.extend(stream);
    bytes.extend(frame(0x11, 1, 0, 7, &[4, 5]));
    bytes.extend(frame(0x11, 0, 0, 9, b"item"));
    // Some that come together, if they do.
    for length in [2usize, 0, 1, 3] {
        bytes.extend(frame(0x11, 0, 0, 9, &vec![length as u8; length]));
    }
    bytes.extend(frame(0x11, 1, 0, 9, &[0, 0, 0, 3, 1]));
    bytes.extend(frame(0x11, 0, 0, 7, &[6, 7, 8, 9]));
    bytes.extend(frame(0x11, 0, 0, 9, &[2, 3]));
    bytes.extend(frame(0x17, 0, 0, 9, &[]));
    let mut notification = open_frame(11, b"n");
    notification[20] = 4;
    bytes.extend(notification);
    bytes
}

// R12
#[test]
fn a_cut_at_every_byte_gives_the_same_events() {
    // From 4 KiB on a body shares the buffer it came in.
    let mut endings = vec![conversation(4096)];
    let bytes = conversation(20);
    endings.push([&bytes[..], &frame(0x04, 0, 19, 0, b"bye")].concat());
    endings.push([&bytes[..], &open_frame(5, b"")].concat());
    endings.push([&bytes[..], &[0xFF; 40]].concat());
    for bytes in endings {
        let whole = story(machine(Side::Listener, &Limits::default()), &[&bytes]);
        assert!(whole.len() >= 7, "{whole:?}");
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(
                story(machine(Side::Listener, &Limits::default()), &[a, b]),
                whole,
                "cut at {cut}"
            );
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(
            story(machine(Side::Listener, &Limits::default()), &single),
            whole
        );
    }
}

/// A dialer with four calls in flight, and all that its listener says from then on: answers, and that
/// it leaves before it saw the fourth call.
fn answers(third: usize) -> (impl Fn() -> Machine, Vec<u8>) {
    let fresh = || {
        let (mut dialer, mut listener) = ready(&Limits::default());
        let ids = [1, 2, 3].map(|n| open(&mut dialer, call(&[n])));
        let bytes = sent(&mut dialer, START);
        receive(&mut listener, START, &bytes).unwrap();
        open(&mut dialer, call(&[4]));
        sent(&mut dialer, START);
        (dialer, listener, ids)
    };
    let (_, mut listener, ids) = fresh();
    let calls = opened(events(&mut listener));
    assert_eq!(calls.len(), ids.len());
    let failure = Failure::new(Code::Overloaded).message("not now");
    let mut bytes = Vec::new();
    for command in [
        Command::Reply {
            call: calls[1].call,
            body: Bytes::from_static(b"second"),
        },
        Command::Fail {
            call: calls[0].call,
            failure,
        },
        Command::Leave {
            within: Duration::from_secs(1),
        },
        Command::Reply {
            call: calls[2].call,
            body: vec![7; third].into(),
        },
    ] {
        listener.command(START, command).unwrap();
        bytes.extend(sent(&mut listener, START));
    }
    (move || fresh().0, bytes)
}

// R12
#[test]
fn a_cut_at_every_byte_of_answers_gives_the_same_events() {
    // From 4 KiB on a body shares the buffer it came in.
    let (fresh, bytes) = answers(4096);
    let (_, short) = answers(20);
    for (bytes, least) in [
        (bytes, 5),
        (short.clone(), 5),
        ([&short[..], &frame(0x04, 0, 19, 0, b"bye")].concat(), 6),
        // An answer to no call.
        ([&short[..], &frame(0x12, 0, 0, 99, b"x")].concat(), 6),
    ] {
        let whole = story(fresh(), &[&bytes]);
        let said = |what: &str| whole.iter().filter(|line| line.starts_with(what)).count();
        assert_eq!(
            (said("Replied"), said("Failed"), said("Draining")),
            (2, 2, 1),
            "{whole:?}"
        );
        assert!(whole.len() > least, "{whole:?}");
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(story(fresh(), &[a, b]), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(story(fresh(), &single), whole);
    }
}

/// Bytes that look like frames: known types, small numbers, lengths that fit, mostly.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let kinds = vec![
        1u8, 2, 3, 4, 5, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x17, 0x20, 0x21, 0x70,
    ];
    let one = (
        proptest::sample::select(kinds),
        prop_oneof![4 => Just(0u8), 1 => any::<u8>()],
        prop_oneof![4 => 0u16..4, 1 => any::<u16>()],
        prop_oneof![8 => 0u64..12, 1 => any::<u64>()],
        prop_oneof![
            2 => proptest::collection::vec(prop_oneof![3 => 0u8..5, 1 => any::<u8>()], 0..48),
            1 => Just(open_frame(0, b"x")[16..].to_vec()),
        ],
    );
    let one = one.prop_map(|(kind, flags, aux, id, payload)| frame(kind, flags, aux, id, &payload));
    proptest::collection::vec(one, 0..24).prop_map(|frames| frames.concat())
}

fn cuts(bytes: &[u8], lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    let mut lengths = lengths.iter().cycle();
    while !rest.is_empty() {
        let length = lengths.next().map_or(1, |n| *n).clamp(1, rest.len());
        parts.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    parts
}

proptest! {
    // R12
    #[test]
    fn any_bytes_are_answered_and_cuts_change_nothing(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        frames in frames(),
        lengths in proptest::collection::vec(1usize..60, 1..8),
        after_handshake in any::<bool>(),
    ) {
        let bytes = if frames.is_empty() { noise } else { frames };
        let fresh = || {
            if after_handshake { ready(&small()).1 } else { machine(Side::Listener, &small()) }
        };
        let parts = cuts(&bytes, &lengths);
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(story(fresh(), &[&bytes]), story(fresh(), &parts));
    }

    #[test]
    fn joined_machines_give_every_call_one_outcome(
        steps in proptest::collection::vec((0u8..14, any::<u16>()), 1..200),
    ) {
        Joined::new().run(&steps);
    }
}

#[test]
fn memory_stays_within_the_report_when_nobody_polls() {
    let limits = small();
    let bound = limits.report().connection();
    let (_, mut listener) = ready(&limits);
    let entry = [&[0, 0, 0, 1][..], &[0; 14], &[0, 1, 0, 1, b'f']].concat();
    let change = [
        frame(0x20, 0, 1, 0, &entry),
        frame(0x21, 0, 1, 0, &[0, 0, 0, 1]),
    ]
    .concat();
    let mut input = BytesMut::new();
    let rounds = 3000;
    for round in 0..rounds {
        // As fast as the rate allows, and nobody takes the events.
        input.extend_from_slice(&change);
        let now = START + millis(round * 100);
        listener
            .handle_bytes(now, &mut input)
            .expect("within the rate");
        assert!(listener.memory_in_use() <= bound);
    }
    // It stopped taking frames, and goes on once there is room.
    assert_eq!(input.len() / change.len(), (6000 - 4096) / 2);
    assert_eq!(events(&mut listener).len(), 4096);
    input.truncate(10 * change.len());
    listener
        .handle_bytes(START + millis(rounds * 100), &mut input)
        .expect("within the rate");
    assert_eq!((events(&mut listener).len(), input.len()), (20, 0));
}

#[test]
fn a_call_costs_no_memory_once_it_is_over() {
    let (mut dialer, mut listener) = ready(&Limits::default());
    let mut after_warm_up = (0, 0);
    for round in 0..20_000u32 {
        let deadline = START + std::time::Duration::from_secs(30);
        crate::pair::open(
            &mut dialer,
            crate::pair::call(&round.to_be_bytes()).deadline(deadline),
        );
        let bytes = sent(&mut dialer, START);
        crate::pair::receive(&mut listener, START, &bytes).unwrap();
        let incoming = crate::pair::opened(events(&mut listener));
        crate::pair::reply(&mut listener, incoming[0].call, b"r").unwrap();
        let bytes = sent(&mut listener, START);
        crate::pair::receive(&mut dialer, START, &bytes).unwrap();
        events(&mut dialer);
        if round == 1000 {
            after_warm_up = (dialer.memory_in_use(), listener.memory_in_use());
        }
    }
    assert_eq!(
        (dialer.memory_in_use(), listener.memory_in_use()),
        after_warm_up
    );
    assert!(
        after_warm_up.0 < 8 * 1024 && after_warm_up.1 < 8 * 1024,
        "{after_warm_up:?}"
    );
}
