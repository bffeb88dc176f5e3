//! What is too large, too much or not carried: which of it costs a call, and which the connection.

use bowline_rpc::proto::{
    Command, Event, Extensions, MethodOptions, Rejected, Side, StreamEnd, Violation,
};
use bowline_rpc::{Certainty, Code, Limits};
use bytes::BytesMut;

use crate::pair::{
    START, call, ends, events, frame, machine, millis, open, open_frame, opened, pump, ready,
    receive, reply, sent,
};

// R14
#[test]
fn a_body_larger_than_the_peer_takes_fails_that_call_alone() {
    let mut limits = Limits::default();
    (limits.max_frame, limits.call_window, limits.max_message) = (1024, 4096, 9000);
    let (mut dialer, mut listener) = ready(&limits);
    let largest = 9000;
    let too_large = dialer.command(START, Command::Open(call(&vec![0; largest + 1])));
    assert_eq!(
        too_large,
        Err(Rejected::TooLarge {
            limit: 9000,
            actual: 9001
        })
    );
    let first = open(&mut dialer, call(&vec![0; largest]));
    let second = open(&mut dialer, call(b""));
    pump(&mut dialer, &mut listener, START);
    let calls = opened(events(&mut listener));
    assert_eq!(calls[1].body.len(), largest, "what is in parts comes later");
    reply(&mut listener, calls[1].call, &vec![1; largest + 1]).unwrap();
    reply(&mut listener, calls[0].call, &vec![2; largest]).unwrap();
    pump(&mut dialer, &mut listener, START);
    let ends = ends(&mut dialer);
    assert_eq!(ends[0], (first, Err((Code::TooLarge, Certainty::Executed))));
    assert_eq!(ends[1], (second, Ok(vec![2; largest])));
    // The smaller side decides, whoever it is.
    for (ours, theirs) in [(9000, 2000), (2000, 9000)] {
        let with = |most| {
            let mut limits = limits.clone();
            limits.max_message = most;
            limits
        };
        let mut dialer = machine(Side::Dialer, &with(ours));
        let mut listener = machine(Side::Listener, &with(theirs));
        pump(&mut dialer, &mut listener, START);
        let too_large = dialer.command(START, Command::Open(call(&[0; 2001])));
        let (limit, actual) = (2000, 2001);
        assert_eq!(too_large, Err(Rejected::TooLarge { limit, actual }));
    }
}

#[test]
fn metadata_that_the_peer_does_not_take_fails_that_call_alone() {
    let with = |bytes: usize| {
        let said = Extensions::builder().metadata("k", &vec![7; bytes - 2]);
        call(b"x").extensions(said.build())
    };
    let mut dialer = machine(Side::Dialer, &Limits::default());
    let mut listener = machine(Side::Listener, &Limits::paranoid());
    // Nobody knows yet what the peer takes.
    let early = open(&mut dialer, with(2048));
    pump(&mut dialer, &mut listener, START);
    assert_eq!(
        ends(&mut dialer),
        [(early, Err((Code::TooLarge, Certainty::NeverSent)))]
    );
    let too_large = dialer.command(START, Command::Open(with(1025)));
    let (limit, actual) = (1024, 1025);
    assert_eq!(too_large, Err(Rejected::TooLarge { limit, actual }));
    open(&mut dialer, with(1024));
    // The smaller side decides, whoever it is.
    let too_large = listener.command(START, Command::Open(with(1025)));
    assert_eq!(too_large, Err(Rejected::TooLarge { limit, actual }));
    pump(&mut dialer, &mut listener, START);
    assert_eq!(opened(events(&mut listener)).len(), 1);
}

#[test]
fn what_a_frame_cannot_say_the_length_of_is_refused() {
    let mut limits = Limits::default();
    (limits.max_metadata, limits.max_frame) = (u16::MAX, 1 << 20);
    let (mut dialer, _) = ready(&limits);
    let with = |trace: usize| {
        let said = Extensions::builder().metadata("k", &[7; 65_000]);
        call(b"x").extensions(said.traceparent(&"t".repeat(trace)).build())
    };
    // All three have a head of three bytes, and the metadata the length of its key.
    let fits = 65_535 - (3 + "mul".len()) - (3 + 65_002) - 3;
    let too_large = dialer.command(START, Command::Open(with(fits + 1)));
    let (limit, actual) = (65_535, 65_536);
    assert_eq!(too_large, Err(Rejected::TooLarge { limit, actual }));
    open(&mut dialer, with(fits));
}

// R13
#[test]
fn messages_that_are_too_long_by_their_total_fail_their_call_alone() {
    let (mut dialer, mut listener) = ready(&Limits::default());
    let too_long = [0, 0x40, 0, 1];
    let mut first = open_frame(1, &[&too_long[..], &[7]].concat());
    first[5] = 1;
    let before = listener.memory_in_use();
    receive(&mut listener, START, &first).unwrap();
    receive(&mut listener, START, &frame(0x11, 0, 0, 1, &[7; 100])).unwrap();
    assert!(listener.memory_in_use() < before + 2048);
    let refused = sent(&mut listener, START);
    assert_eq!(
        (refused[4], &refused[6..8], refused[16]),
        (0x13, &[0, 9][..], 1),
        "TooLarge, Refused"
    );
    assert_eq!(refused[24..], [0, 0x40, 0, 0, 0, 0x40, 0, 1]);
    assert!(events(&mut listener).is_empty());

    let id = open(&mut dialer, call(b"x"));
    sent(&mut dialer, START);
    let before = dialer.memory_in_use();
    let body = [&too_long[..], &[7]].concat();
    receive(&mut dialer, START, &frame(0x12, 1, 0, 1, &body)).unwrap();
    assert!(dialer.memory_in_use() < before + 2048);
    assert_eq!(
        ends(&mut dialer),
        [(id, Err((Code::TooLarge, Certainty::Executed)))]
    );
    receive(&mut dialer, START, &frame(0x11, 1, 0, 1, &[7; 4])).unwrap();
    receive(&mut dialer, START, &frame(0x11, 0, 0, 1, &[7; 4])).unwrap();
    let next = open(&mut dialer, call(b"y"));
    sent(&mut dialer, START);
    receive(&mut dialer, START, &frame(0x12, 0, 0, 3, b"z")).unwrap();
    assert_eq!(ends(&mut dialer), [(next, Ok(b"z".to_vec()))]);
}

// R22
#[test]
fn what_this_version_does_not_carry_is_refused_and_the_connection_lives() {
    let (_, mut listener) = ready(&Limits::default());
    let with = |id, at: usize, value| {
        let mut bytes = open_frame(id, b"");
        bytes[at] = value;
        bytes
    };
    let unsupported = [0, 17];
    for (bytes, code) in [
        (with(3, 20, 16), unsupported), // an unknown bit
        (with(5, 21, 99), unsupported), // an unknown codec
        (with(7, 23, 9), [0, 18]),      // nested too deep
        (with(9, 19, 0), [0, 4]),       // by name, but no name
        (
            frame(
                0x10,
                0,
                3,
                11,
                &[&open_frame(0, b"")[16..], &[0x80, 0, 0]].concat(),
            ),
            unsupported,
        ),
    ] {
        receive(&mut listener, START, &bytes).unwrap();
        let answer = sent(&mut listener, START);
        assert_eq!((answer[4], &answer[6..8], answer[16]), (0x13, &code[..], 1));
    }
    assert!(events(&mut listener).is_empty());
    // Options of a method that are not known are passed on, and harm nothing.
    let entry = [&[0, 0, 0, 1][..], &[0; 12], &[0xFF, 0xC0, 0, 1, 0, 1, b'f']].concat();
    receive(&mut listener, START, &frame(0x20, 0, 1, 0, &entry)).unwrap();
    let seen = events(&mut listener);
    assert!(
        matches!(&seen[..], [Event::Advertised(new)] if new[0].options == MethodOptions(0xFFC0)),
        "{seen:?}"
    );
    // Extensions and frames that may be ignored are; a critical one may not.
    let known = frame(
        0x10,
        0,
        3,
        13,
        &[&open_frame(0, b"")[16..], &[0x7F, 0, 0]].concat(),
    );
    receive(
        &mut listener,
        START,
        &[known, frame(0x70, 0, 0, 0, b"?")].concat(),
    )
    .unwrap();
    assert_eq!(opened(events(&mut listener)).len(), 1);
    assert_eq!(listener.stats().unknown_frames, 1);
    let critical = frame(0x70, 0x80, 0, 0, b"?");
    assert_eq!(
        receive(&mut listener, START, &critical),
        Err(Violation::Rule("critical-frame"))
    );
}

// R10
#[test]
fn credit_of_zero_or_too_much_breaks_the_rules() {
    let grants = [
        (0u32, "credit-zero"),
        (1 << 31, "credit-overflow"),
        (u32::MAX, "credit-overflow"),
    ];
    for (amount, rule) in grants {
        for id in [0, 1] {
            let (mut dialer, _) = ready(&Limits::default());
            open(&mut dialer, call(b"x"));
            sent(&mut dialer, START);
            receive(
                &mut dialer,
                START,
                &frame(0x15, 0, 0, id, &16u32.to_be_bytes()),
            )
            .unwrap();
            let credit = frame(0x15, 0, 0, id, &amount.to_be_bytes());
            assert_eq!(
                receive(&mut dialer, START, &credit),
                Err(Violation::Rule(rule))
            );
        }
    }
}

// R9
#[test]
fn a_flood_of_unknown_frames_ends_the_connection() {
    let limits = Limits::default();
    // One of each KiB that is whole, and one.
    let at_once = 4096 + limits.max_frame as usize / 1024;
    for (length, each) in [(0, 1), (1023, 1), (60_000, 59)] {
        let (_, mut listener) = ready(&limits);
        let unknown = frame(0x3E, 0, 0, 0, &vec![0; length]);
        for _ in 0..at_once / each {
            receive(&mut listener, START, &unknown).unwrap();
        }
        let next = receive(&mut listener, START, &unknown);
        assert_eq!(next, Err(Violation::Flood("unknown-frames")), "{length}");
        assert_eq!(
            sent(&mut listener, START)[4..8],
            [4, 0, 0, 8],
            "CLOSE Overloaded"
        );
        // Those that come at their pace are only counted.
        let (_, mut listener) = ready(&limits);
        for n in 0..10_000 {
            let now = START + millis(each as u64 * n);
            receive(&mut listener, now, &unknown).unwrap();
        }
        assert_eq!(listener.stats().unknown_frames, 10_000);
    }
}

// R9
#[test]
fn the_least_heartbeat_is_no_flood() {
    let mut limits = Limits::default();
    limits.heartbeat = millis(250);
    assert_eq!(limits.check(), Ok(()));
    for others in [limits.clone(), Limits::default()] {
        let mut dialer = machine(Side::Dialer, &limits);
        let mut listener = machine(Side::Listener, &others);
        for step in 0..50_000 {
            let now = START + millis(2 * step);
            pump(&mut dialer, &mut listener, now);
            for machine in [&mut dialer, &mut listener] {
                machine.handle_timeout(now);
                events(machine);
            }
        }
        assert!(dialer.is_ready() && listener.is_ready());
    }
    limits.heartbeat = millis(249);
    let bad = limits.check().unwrap_err();
    assert_eq!(bad.field(), "heartbeat");
    let text = bad.to_string();
    assert!(
        text.contains("is 249ms") && text.contains("250ms to"),
        "{text}"
    );
}

// R9
#[test]
fn floods_of_pings_and_advertisements_end_the_connection() {
    let (_, mut listener) = ready(&Limits::default());
    let ping = frame(0x06, 0, 0, 0, &[0; 8]);
    receive(&mut listener, START, &ping.repeat(20)).unwrap();
    assert_eq!(
        receive(&mut listener, START, &ping),
        Err(Violation::Flood("pings"))
    );
    let close = sent(&mut listener, START).split_off(20 * 24);
    assert_eq!(
        (close[4], &close[6..8]),
        (0x04, &[0, 8][..]),
        "CLOSE Overloaded"
    );

    let mut limits = Limits::default();
    limits.max_methods = 4;
    let (_, mut listener) = ready(&limits);
    let withdraw = frame(0x21, 0, 1, 0, &[0, 0, 0, 1]);
    receive(&mut listener, START, &withdraw.repeat(4)).unwrap();
    assert_eq!(
        receive(&mut listener, START, &withdraw),
        Err(Violation::Flood("advertisements"))
    );
}

#[test]
fn frames_held_back_for_events_not_polled_are_taken_afterwards() {
    let mut limits = Limits::trusted();
    limits.max_calls = 6144;
    let (_, mut listener) = ready(&limits);
    let opens: Vec<u8> = (0..6144).flat_map(|n| open_frame(2 * n + 1, b"")).collect();
    let mut input = BytesMut::from(&opens[..]);
    input.extend_from_slice(&[0; 15]);
    let mut taken = 0;
    while !input.is_empty() {
        listener.handle_bytes(START, &mut input).unwrap();
        let calls = opened(events(&mut listener)).len();
        taken += calls;
        // Only what is left by a whole frame is held back.
        assert_eq!(listener.is_holding(), calls == 4096, "{calls}");
        if !listener.is_holding() {
            break;
        }
    }
    assert_eq!((taken, input.len()), (6144, 15));
    listener.handle_end(START, StreamEnd::Ended);
    assert!(!listener.is_holding());
}
