//! Preface, HELLO, READY, CLOSE: strangers are told apart, counted bytes and time bound the rest.

use std::sync::Arc;
use std::time::Duration;

use bowline_rpc::proto::{
    Advertised, CloseCause, CodecId, Command, Config, Event, Guess, Machine, MethodId, Side,
    StreamEnd, Violation,
};
use bowline_rpc::{Code, Limits};
use bytes::BytesMut;

use crate::pair::{START, events, frame, machine, pump, ready, receive, sent};

fn closed(machine: &mut Machine) -> CloseCause {
    match events(machine).pop() {
        Some(Event::Closed(cause)) => cause,
        other => panic!("not closed: {other:?}"),
    }
}

// R21
#[test]
fn other_protocols_on_the_port_are_named_and_get_no_byte() {
    let strangers: [(&[u8], Guess); 8] = [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", Guess::Http),
        (b"POST /rpc HTTP/1.1\r\n", Guess::Http),
        (b"OPTIONS * HTTP/1.1\r\n", Guess::Http),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Guess::Http),
        (b"HTTP/1.1 400 Bad Request\r\n", Guess::Http),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", Guess::Tls),
        (b"SSH-2.0-OpenSSH_9.9\r\n", Guess::Ssh),
        (b"\xB0BWL\r\n\x1A\x01", Guess::Unknown),
    ];
    for (bytes, guess) in strangers {
        let violation = Violation::NotOurProtocol { guess };
        // However it is cut.
        for cut in 0..=bytes.len() {
            for side in [Side::Listener, Side::Dialer] {
                let mut machine = machine(side, &Limits::default());
                sent(&mut machine, START);
                let first = receive(&mut machine, START, &bytes[..cut]);
                let second = receive(&mut machine, START, &bytes[cut..]);
                assert_eq!(first.and(second), Err(violation));
                assert!(sent(&mut machine, START).is_empty());
                assert!(machine.is_finished());
                let cause = closed(&mut machine);
                assert_eq!(cause.not_our_protocol(), Some(guess));
                assert!(cause.is_permanent());
            }
        }
    }
}

// R21
#[test]
fn a_stranger_that_says_little_and_ends_is_named_too() {
    let mut listener = machine(Side::Listener, &Limits::default());
    receive(&mut listener, START, b"GET /").unwrap();
    listener.handle_end(START, StreamEnd::Ended);
    assert_eq!(closed(&mut listener).not_our_protocol(), Some(Guess::Http));
}

// P4: before the handshake is done, and after.
#[test]
fn a_frame_above_the_limit_is_refused_from_its_header() {
    let violation = Violation::FrameTooLong {
        declared: u32::MAX,
        limit: 65_536,
    };
    let header = [
        0xFF, 0xFF, 0xFF, 0xFF, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    ];
    let mut dialer = machine(Side::Dialer, &Limits::default());
    let hello = sent(&mut dialer, START);
    let mut stranger = machine(Side::Listener, &Limits::default());
    let (_, mut peer) = ready(&Limits::default());
    receive(&mut stranger, START, &hello[..8]).unwrap();
    for listener in [&mut stranger, &mut peer] {
        let before = listener.memory_in_use();
        // The buffer has room for the header alone, and is not made larger.
        let mut input = BytesMut::with_capacity(16);
        input.extend_from_slice(&header);
        assert_eq!(listener.handle_bytes(START, &mut input), Err(violation));
        assert_eq!(input.capacity(), 16);
        assert!(
            listener.memory_in_use() <= before + 1024,
            "room for the CLOSE and an event"
        );
        assert_eq!(closed(listener), CloseCause::Violation(violation));
    }
}

#[test]
fn a_half_frame_and_then_the_end_is_broken_and_not_a_clean_end() {
    let (_, mut listener) = ready(&Limits::default());
    let open = crate::pair::open_frame(1, &[1, 2, 3]);
    for cut in 1..open.len() {
        let (_, mut listener) = ready(&Limits::default());
        let mut input = BytesMut::from(&open[..cut]);
        listener.handle_bytes(START, &mut input).unwrap();
        assert_eq!(input.len(), cut, "the part stays in the buffer");
        listener.handle_end(START, StreamEnd::Ended);
        let need = if cut < 16 { 16 } else { open.len() };
        assert_eq!(
            closed(&mut listener),
            CloseCause::Truncated { have: cut, need }
        );
        assert!(listener.is_finished());
    }
    listener.handle_end(START, StreamEnd::Ended);
    assert_eq!(closed(&mut listener), CloseCause::Ended);
}

#[test]
fn before_ready_bytes_and_time_are_bounded() {
    let limits = Limits::default();
    let mut dialer = machine(Side::Dialer, &limits);
    let mut hello = sent(&mut dialer, START);
    // A HELLO may be longer than its fields, but 4096 bytes are all there is.
    let room = 4096 - hello.len();
    let length = hello.len() - 8 - 16;
    for (extra, fits) in [(room, true), (room + 1, false)] {
        let mut bytes = hello.clone();
        bytes[8..12].copy_from_slice(&((length + extra) as u32).to_be_bytes());
        bytes.resize(bytes.len() + extra, 0);
        let mut listener = machine(Side::Listener, &limits);
        let expected = if fits {
            Ok(())
        } else {
            Err(Violation::HandshakeTooLong { limit: 4096 })
        };
        assert_eq!(receive(&mut listener, START, &bytes), expected);
    }
    hello.truncate(50);
    let mut listener = machine(Side::Listener, &limits);
    receive(&mut listener, START, &hello).unwrap();
    let deadline = START + Duration::from_secs(5);
    assert_eq!(listener.poll_timeout(), Some(deadline));
    listener.handle_timeout(deadline - Duration::from_nanos(1));
    assert!(!listener.is_finished());
    listener.handle_timeout(deadline);
    assert_eq!(closed(&mut listener), CloseCause::HandshakeTimeout);
    assert!(listener.is_finished());
    assert_eq!(listener.poll_timeout(), None);
}

#[test]
fn peers_that_do_not_fit_are_told_why() {
    let config =
        |project: &str, codec| Arc::new(Config::new(project, [1; 16]).codecs([CodecId(codec)]));
    let meet = |project, codec| {
        let mut dialer = Machine::new(config("example", 1), Side::Dialer, START, [1; 32]);
        let mut listener = Machine::new(config(project, codec), Side::Listener, START, [2; 32]);
        let hello = sent(&mut dialer, START);
        let refused = receive(&mut listener, START, &hello).unwrap_err();
        let answer = sent(&mut listener, START);
        receive(&mut dialer, START, &answer).unwrap();
        assert!(dialer.is_finished() && listener.is_finished());
        (refused, closed(&mut dialer))
    };
    let (refused, cause) = meet("other", 1);
    assert_eq!(refused, Violation::WrongProject);
    assert!(
        cause.is_wrong_project() && cause.is_permanent(),
        "{cause:?}"
    );
    let (refused, cause) = meet("example", 200);
    assert_eq!(refused, Violation::NothingCommon("codec"));
    assert_eq!(
        cause,
        CloseCause::ClosedByPeer {
            code: Code::Unsupported,
            message: "codec".into()
        }
    );
}

#[test]
fn frames_out_of_order_are_violations() {
    let mut dialer = machine(Side::Dialer, &Limits::default());
    let hello = sent(&mut dialer, START);
    // It takes no frame of any length.
    let mut wrong_hello = hello[8..].to_vec();
    wrong_hello[16 + 60..16 + 64].fill(0);
    let long = [0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (early, violation) in [
        (
            frame(0x03, 0, 0, 0, &[0]),
            Violation::Rule("handshake-order"),
        ),
        (
            frame(0x10, 0, 0, 1, &[0; 16]),
            Violation::Rule("handshake-order"),
        ),
        (
            frame(0x7F, 0, 0, 0, &[]),
            Violation::Rule("handshake-order"),
        ),
        (
            frame(0x01, 0, 0, 0, &[0; 20]),
            Violation::Rule("hello-length"),
        ),
        (wrong_hello, Violation::Rule("hello-limits")),
        (
            long.to_vec(),
            Violation::FrameTooLong {
                declared: u32::MAX,
                limit: 65_536,
            },
        ),
    ] {
        let mut listener = machine(Side::Listener, &Limits::default());
        let bytes = [&hello[..8], &early].concat();
        assert_eq!(receive(&mut listener, START, &bytes), Err(violation));
        // Not even that it speaks the protocol.
        assert!(sent(&mut listener, START).is_empty(), "{violation}");
        assert!(listener.is_finished());
    }
    let (_, mut listener) = ready(&Limits::default());
    assert_eq!(
        receive(&mut listener, START, &hello[8..]),
        Err(Violation::Rule("handshake-again"))
    );
}

#[test]
fn methods_given_before_the_handshake_are_the_first_snapshot() {
    let mut limits = Limits::default();
    limits.max_frame = 1024;
    let methods: Vec<_> = (1..=100)
        .map(|n| Advertised::new(MethodId(n), format!("method.{n}")))
        .collect();
    let mut dialer = machine(Side::Dialer, &limits);
    let mut listener = machine(Side::Listener, &limits);
    listener
        .command(START, Command::Advertise(methods.clone()))
        .unwrap();
    pump(&mut dialer, &mut listener, START);
    let seen = events(&mut dialer);
    let advertised: Vec<_> = seen
        .iter()
        .filter_map(|event| match event {
            Event::Advertised(methods) => Some(methods.clone()),
            _ => None,
        })
        .collect();
    assert!(advertised.len() > 1, "several frames");
    assert_eq!(advertised.concat(), methods);
    assert!(
        matches!(seen.first(), Some(Event::Ready(_)))
            && matches!(seen.last(), Some(Event::Discovered))
    );
    // The other side has none, and says so.
    let seen = events(&mut listener);
    assert!(
        matches!(&seen[..], [Event::Ready(_), Event::Discovered]),
        "{seen:?}"
    );

    let again = vec![Advertised::new(MethodId(200), "method.7")];
    listener
        .command(START, Command::Withdraw(vec![MethodId(7)]))
        .unwrap();
    listener
        .command(START, Command::Advertise(again.clone()))
        .unwrap();
    pump(&mut dialer, &mut listener, START);
    let seen = events(&mut dialer);
    assert!(
        matches!(&seen[..], [Event::Withdrawn(gone), Event::Advertised(new)] if *gone == [MethodId(7)] && *new == again)
    );
    // The name is taken.
    let twice = Advertised::new(MethodId(201), "method.7");
    listener
        .command(START, Command::Advertise(vec![twice]))
        .unwrap();
    let bytes = sent(&mut listener, START);
    assert_eq!(
        receive(&mut dialer, START, &bytes),
        Err(Violation::Rule("advertise-known"))
    );
}
