//! How far a call got when its peer is lost, leaves or falls silent.

use bowline_backend::time::Instant;
use bowline_rpc::proto::{BrokenKind, Command, Failure, Rejected, StreamEnd};
use bowline_rpc::{Certainty, Code, Limits};
use bytes::Bytes;

use crate::pair::{
    START, call, ends, events, handed_out, millis, open, opened, pump, ready, receive, reply, sent,
};

// R7
#[test]
fn a_lost_connection_ends_every_call_and_tells_how_far_it_got() {
    lose_connection(0, Certainty::NeverSent);
    lose_connection(1, Certainty::MaybeExecuted);
}

/// Six calls are handed out; the transport takes four of them and `more` bytes of the fifth.
fn lose_connection(more: usize, fifth: Certainty) {
    let (mut dialer, mut listener) = ready(&Limits::default());
    let ids: Vec<_> = (0..6)
        .map(|n| open(&mut dialer, call(&[n]).deadline(Instant::NEVER)))
        .collect();
    let bytes = handed_out(&mut dialer, START);
    let each = bytes.len() / 6;
    dialer.on_transmitted(each * 4);
    dialer.on_transmitted(more);
    receive(&mut listener, START, &bytes[..each * 4]).unwrap();
    // The seventh is not even handed out.
    let queued = open(&mut dialer, call(b"7"));
    let calls: Vec<_> = opened(events(&mut listener))
        .iter()
        .map(|call| call.call)
        .collect();
    reply(&mut listener, calls[0], b"r").unwrap();
    let refused = Command::Fail {
        call: calls[1],
        failure: Failure::new(Code::Overloaded),
    };
    listener.command(START, refused).unwrap();
    let failed = Command::Fail {
        call: calls[2],
        failure: Failure::application(Bytes::from_static(b"e")),
    };
    listener.command(START, failed).unwrap();
    let answers = sent(&mut listener, START);
    receive(&mut dialer, START, &answers).unwrap();
    dialer.handle_end(
        START,
        StreamEnd::Broken(BrokenKind::Io(std::io::ErrorKind::ConnectionReset)),
    );
    let lost = |certainty| Err((Code::ConnectionLost, certainty));
    assert_eq!(
        ends(&mut dialer),
        [
            (ids[0], Ok(b"r".to_vec())),
            (ids[1], Err((Code::Overloaded, Certainty::Refused))),
            (ids[2], Err((Code::Application, Certainty::Executed))),
            (ids[3], lost(Certainty::MaybeExecuted)),
            (ids[4], lost(fifth)),
            (ids[5], lost(Certainty::NeverSent)),
            (queued, lost(Certainty::NeverSent)),
        ]
    );
    assert!(dialer.is_finished());
    assert_eq!(dialer.poll_timeout(), None);
    let again = dialer.command(START, Command::Open(call(b"8")));
    assert_eq!(again, Err(Rejected::Closed));
}

#[test]
fn goaway_refuses_what_was_not_taken_and_queues_nothing_new() {
    let mut limits = Limits::default();
    limits.max_calls = 3;
    let (mut dialer, mut listener) = ready(&limits);
    let first = open(&mut dialer, call(b"1"));
    pump(&mut dialer, &mut listener, START);
    let taken = opened(events(&mut listener))[0].call;
    // Crossing: the second is on its way when the listener says that the first was the last.
    let second = open(&mut dialer, call(b"2"));
    let crossing = sent(&mut dialer, START);
    let third = open(&mut dialer, call(b"3"));
    listener
        .command(
            START,
            Command::Leave {
                within: millis(5000),
            },
        )
        .unwrap();
    let goaway = sent(&mut listener, START);
    receive(&mut listener, START, &crossing).unwrap();
    receive(&mut dialer, START, &goaway).unwrap();
    let seen = ends(&mut dialer);
    let draining = |certainty| Err((Code::Draining, certainty));
    assert_eq!(
        seen,
        [
            (second, draining(Certainty::Refused)),
            (third, draining(Certainty::NeverSent))
        ]
    );
    assert_eq!(
        dialer.command(START, Command::Open(call(b"4"))),
        Err(Rejected::Draining)
    );
    assert!(
        opened(events(&mut listener)).is_empty(),
        "what was refused is not run"
    );
    assert_eq!(listener.stats().refused_calls, 1);
    reply(&mut listener, taken, b"r").unwrap();
    // The answer given before the close is still sent.
    listener
        .command(
            START,
            Command::Close {
                code: Code::Draining,
                message: "bye".into(),
            },
        )
        .unwrap();
    assert!(!listener.is_finished());
    let last = sent(&mut listener, START);
    assert!(listener.is_finished());
    receive(&mut dialer, START, &last).unwrap();
    assert_eq!(ends(&mut dialer), [(first, Ok(b"r".to_vec()))]);
    assert!(dialer.is_finished());
}

#[test]
fn a_silent_peer_is_asked_and_then_given_up() {
    let (mut dialer, mut listener) = ready(&Limits::default());
    let id = open(&mut dialer, call(b"x"));
    sent(&mut dialer, START);
    let beat = dialer.poll_timeout().unwrap();
    assert!(
        beat >= START + millis(4500) && beat <= START + millis(5500),
        "{beat:?}"
    );
    dialer.handle_timeout(beat);
    let ping = sent(&mut dialer, beat);
    assert_eq!(ping[4], 0x06);
    // An answer is life.
    receive(&mut listener, beat, &ping).unwrap();
    let pong = sent(&mut listener, beat);
    receive(&mut dialer, beat, &pong).unwrap();
    let mut now = beat;
    while let Some(next) = dialer.poll_timeout() {
        now = next;
        dialer.handle_timeout(now);
        sent(&mut dialer, now);
    }
    let silence = now - beat;
    assert!(
        silence >= millis(13_500) && silence <= millis(16_500),
        "three intervals: {silence:?}"
    );
    assert_eq!(
        ends(&mut dialer),
        [(id, Err((Code::ConnectionLost, Certainty::MaybeExecuted)))]
    );
}

// What a peer that stops reading makes us hold, and how its calls end.
#[test]
fn a_peer_that_stops_reading_costs_no_more_than_the_limits_and_its_calls_end_at_once() {
    let mut limits = Limits::paranoid();
    (limits.max_calls, limits.queue_calls) = (4, 16);
    let bound = limits.report().connection();
    let (mut dialer, mut listener) = ready(&limits);
    // It reads nothing, and goes on calling and asking all the same.
    let mut waiting = Vec::new();
    for n in 0..2000u64 {
        let body = vec![1; 100_000];
        if let Ok(call) = dialer.command(START, Command::Open(call(&body))) {
            waiting.push(call);
        }
        if n < 4 {
            receive(
                &mut dialer,
                START,
                &crate::pair::open_frame(2 * n + 2, &[7; 1000]),
            )
            .unwrap();
        }
        for incoming in opened(events(&mut dialer)) {
            reply(&mut dialer, incoming.call, &vec![2; 200_000]).unwrap();
        }
        let ping = crate::pair::frame(0x06, 0, 0, 0, &[0; 8]);
        receive(&mut dialer, START + crate::pair::millis(100 * n), &ping).unwrap();
        assert!(
            dialer.memory_in_use() <= bound,
            "{}",
            dialer.memory_in_use()
        );
    }
    assert!(waiting.len() >= 8, "{}", waiting.len());
    for call in &waiting {
        crate::pair::cancel(&mut dialer, *call).unwrap();
    }
    let ended = ends(&mut dialer);
    assert_eq!(ended.len(), waiting.len());
    assert!(
        ended
            .iter()
            .all(|(_, end)| *end == Err((Code::Cancelled, Certainty::NeverSent)))
    );
    assert!(events(&mut listener).is_empty());
}
