//! Calls: ids, slots, deadlines, ends, and how far a call got when its connection is lost.

#[path = "proto_pair/pair.rs"]
mod pair;

use bowline_backend::time::Instant;
use bowline_rpc::proto::{
    BrokenKind, CallId, CancelReason, CodecId, Command, Event, Failure, Machine, Open, Rejected,
    Side, StreamEnd, Target, Violation,
};
use bowline_rpc::{Certainty, Code, Limits};
use bytes::Bytes;
use pair::{
    START, call, events, frame, handed_out, machine, millis, open, open_frame, opened, pump, ready,
    receive, reply, sent,
};

type Outcome = (CallId, Result<Vec<u8>, (Code, Certainty)>);

/// The ends of calls of ours.
fn ends(machine: &mut Machine) -> Vec<Outcome> {
    let ends = events(machine).into_iter().filter_map(|event| match event {
        Event::Replied { call, body } => Some((call, Ok(body.to_vec()))),
        Event::Failed { call, error } => Some((call, Err((error.code(), error.certainty())))),
        _ => None,
    });
    ends.collect()
}

fn cancel(machine: &mut Machine, call: CallId) -> Result<CallId, Rejected> {
    machine.command(
        START,
        Command::Cancel {
            call,
            reason: CancelReason::Dropped,
        },
    )
}

// R1
#[test]
fn a_second_reply_is_dropped_and_counted_and_an_unknown_one_breaks_the_rules() {
    let (mut dialer, mut listener) = ready(&Limits::default());
    let id = open(&mut dialer, call(b"x"));
    let bytes = sent(&mut dialer, START);
    receive(&mut listener, START, &bytes).unwrap();
    let incoming = opened(events(&mut listener))[0].call;
    reply(&mut listener, incoming, b"y").unwrap();
    assert_eq!(
        reply(&mut listener, incoming, b"z"),
        Err(Rejected::NoSuchCall)
    );
    let bytes = sent(&mut listener, START);
    receive(&mut dialer, START, &[&bytes[..], &bytes].concat()).unwrap();
    assert_eq!(ends(&mut dialer), [(id, Ok(b"y".to_vec()))]);
    assert_eq!(dialer.stats().late_frames, 1);
    // Number 3 was never given, number 2 is not ours to get a reply for.
    for wrong in [3, 2, 0] {
        let (mut dialer, _) = ready(&Limits::default());
        let reply = frame(0x12, 0, 0, wrong, b"y");
        assert_eq!(
            receive(&mut dialer, START, &reply),
            Err(Violation::Rule("id-unknown"))
        );
    }
}

// R2
#[test]
fn a_reply_after_cancel_is_dropped_and_its_slot_is_free_once() {
    let mut limits = Limits::default();
    limits.max_calls = 1;
    let (mut dialer, mut listener) = ready(&limits);
    let first = open(&mut dialer, call(b"1"));
    let bytes = sent(&mut dialer, START);
    receive(&mut listener, START, &bytes).unwrap();
    let incoming = opened(events(&mut listener))[0].call;
    cancel(&mut dialer, first).unwrap();
    assert_eq!(cancel(&mut dialer, first), Err(Rejected::NoSuchCall));
    assert_eq!(
        ends(&mut dialer),
        [(first, Err((Code::Cancelled, Certainty::MaybeExecuted)))]
    );
    // The slot is taken until the peer has ended the call.
    let second = open(&mut dialer, call(b"2"));
    let third = open(&mut dialer, call(b"3"));
    let bytes = sent(&mut dialer, START);
    assert_eq!(
        bytes,
        frame(0x14, 0, 1, 1, b""),
        "the CANCEL and nothing else"
    );
    reply(&mut listener, incoming, b"late").unwrap();
    let late = sent(&mut listener, START);
    receive(&mut listener, START, &bytes).unwrap();
    receive(&mut dialer, START, &[&late[..], &late].concat()).unwrap();
    assert!(ends(&mut dialer).is_empty());
    assert_eq!(
        (dialer.stats().late_frames, listener.stats().late_frames),
        (1, 1)
    );
    // One slot: one of the two goes out.
    pump(&mut dialer, &mut listener, START);
    let calls = opened(events(&mut listener));
    assert_eq!(calls.len(), 1);
    reply(&mut listener, calls[0].call, b"b").unwrap();
    pump(&mut dialer, &mut listener, START);
    let calls = opened(events(&mut listener));
    reply(&mut listener, calls[0].call, b"c").unwrap();
    pump(&mut dialer, &mut listener, START);
    assert_eq!(
        ends(&mut dialer),
        [(second, Ok(b"b".to_vec())), (third, Ok(b"c".to_vec()))]
    );
}

// R3
#[test]
fn numbers_of_calls_only_go_up_by_small_steps() {
    let opens: [(&[u64], Result<(), &str>); 8] = [
        (&[1, 3, 5], Ok(())),
        (&[1, 1 + (1 << 20)], Ok(())),
        (&[2], Err("id-parity")),
        (&[0], Err("id-parity")),
        (&[5, 3], Err("id-decrease")),
        (&[5, 5], Err("id-decrease")),
        (&[1, 3 + (1 << 20)], Err("id-step")),
        (&[u64::MAX], Err("id-step")),
    ];
    for (ids, expected) in opens {
        let (_, mut listener) = ready(&Limits::default());
        let bytes: Vec<u8> = ids.iter().flat_map(|id| open_frame(*id, b"")).collect();
        assert_eq!(
            receive(&mut listener, START, &bytes),
            expected.map_err(Violation::Rule),
            "{ids:?}"
        );
    }
}

// R5, the part of the machine
#[test]
fn a_call_that_expires_before_it_is_sent_is_not_sent() {
    let (mut dialer, _) = ready(&Limits::default());
    let late = START + millis(10);
    let expired = open(&mut dialer, call(b"a").deadline(late));
    let fine = open(&mut dialer, call(b"b").deadline(late + millis(1)));
    let bytes = sent(&mut dialer, late);
    assert_eq!(
        ends(&mut dialer),
        [(expired, Err((Code::DeadlineExceeded, Certainty::NeverSent)))]
    );
    // One frame: the other call, with what remains for it, stamped at this moment.
    assert_eq!(bytes[..4], 23u32.to_be_bytes());
    assert_eq!(bytes.len(), 16 + 23);
    assert_eq!(bytes[24..32], 1000u64.to_be_bytes());
    // It expires on time, whatever the network does, and the peer is told.
    assert_eq!(dialer.poll_timeout(), Some(late + millis(1)));
    dialer.handle_timeout(late + millis(1));
    assert_eq!(
        ends(&mut dialer),
        [(
            fine,
            Err((Code::DeadlineExceeded, Certainty::MaybeExecuted))
        )]
    );
    assert_eq!(
        sent(&mut dialer, late + millis(1)),
        frame(0x14, 0, 2, 1, b"")
    );
}

// R5, the part of the machine
#[test]
fn a_queued_call_expires_on_time_without_a_transmission() {
    let (mut dialer, _) = ready(&Limits::default());
    let queued = open(&mut dialer, call(b"a").deadline(START + millis(10)));
    assert_eq!(dialer.poll_timeout(), Some(START + millis(10)));
    dialer.handle_timeout(START + millis(10));
    assert_eq!(
        ends(&mut dialer),
        [(queued, Err((Code::DeadlineExceeded, Certainty::NeverSent)))]
    );
    assert!(sent(&mut dialer, START + millis(10)).is_empty());
}

#[test]
fn less_than_a_microsecond_is_still_a_deadline() {
    let (mut dialer, mut listener) = ready(&Limits::default());
    let soon = Instant::from_nanos(START.as_nanos() + 1);
    open(&mut dialer, call(b"a").deadline(soon));
    let bytes = sent(&mut dialer, START);
    receive(&mut listener, START, &bytes).unwrap();
    assert_eq!(
        opened(events(&mut listener))[0].deadline,
        Instant::from_nanos(START.as_nanos() + 1000)
    );
}

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

// R14
#[test]
fn a_body_larger_than_the_peer_takes_fails_that_call_alone() {
    let mut limits = Limits::default();
    limits.call_window = 4096;
    let (mut dialer, mut listener) = ready(&limits);
    let largest = 4096 - 16;
    let too_large = dialer.command(START, Command::Open(call(&vec![0; largest + 1])));
    assert_eq!(
        too_large,
        Err(Rejected::TooLarge {
            limit: 4080,
            actual: 4081
        })
    );
    let first = open(&mut dialer, call(&vec![0; largest]));
    let second = open(&mut dialer, call(b""));
    pump(&mut dialer, &mut listener, START);
    let calls = opened(events(&mut listener));
    reply(&mut listener, calls[0].call, &vec![1; largest + 1]).unwrap();
    reply(&mut listener, calls[1].call, &vec![2; largest]).unwrap();
    pump(&mut dialer, &mut listener, START);
    let ends = ends(&mut dialer);
    assert_eq!(ends[0], (first, Err((Code::TooLarge, Certainty::Executed))));
    assert_eq!(ends[1], (second, Ok(vec![2; largest])));
    // A peer that sends more than it was granted breaks the rules.
    let body = vec![0; largest + 1];
    assert_eq!(
        receive(&mut listener, START, &open_frame(5, &body)),
        Err(Violation::Rule("call-window"))
    );
}

// R14
#[test]
fn a_body_longer_than_a_frame_the_smaller_side_takes_fails_that_call_alone() {
    let mut small = Limits::default();
    small.max_frame = 1024;
    let mut dialer = machine(Side::Dialer, &small);
    let mut listener = machine(Side::Listener, &Limits::default());
    pump(&mut dialer, &mut listener, START);
    let first = open(&mut dialer, call(b""));
    let second = open(&mut dialer, call(b""));
    pump(&mut dialer, &mut listener, START);
    let calls = opened(events(&mut listener));
    reply(&mut listener, calls[0].call, &[1; 1025]).unwrap();
    reply(&mut listener, calls[1].call, &[2; 1024]).unwrap();
    pump(&mut dialer, &mut listener, START);
    let ends = ends(&mut dialer);
    assert_eq!(ends[0], (first, Err((Code::TooLarge, Certainty::Executed))));
    assert_eq!(ends[1], (second, Ok(vec![2; 1024])));
}

#[test]
fn arguments_and_replies_of_several_frames_fail_that_call_alone() {
    let (mut dialer, mut listener) = ready(&Limits::default());
    let mut first = open_frame(1, &[0, 1, 0, 0, 7]);
    first[5] = 1;
    receive(&mut listener, START, &first).unwrap();
    receive(&mut listener, START, &frame(0x11, 0, 0, 1, &[7; 100])).unwrap();
    let refused = sent(&mut listener, START);
    assert_eq!(
        (refused[4], &refused[6..8], refused[16]),
        (0x13, &[0, 9][..], 1),
        "TooLarge, Refused"
    );
    assert!(events(&mut listener).is_empty());

    let id = open(&mut dialer, call(b"x"));
    sent(&mut dialer, START);
    receive(&mut dialer, START, &frame(0x12, 1, 0, 1, &[0, 0, 0, 9, 7])).unwrap();
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
        (with(1, 20, 1), unsupported),  // the executor streams
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
fn slots_queue_the_caller_and_bind_the_peer() {
    let mut limits = Limits::default();
    (limits.max_calls, limits.queue_calls) = (2, 3);
    let (mut dialer, mut listener) = ready(&limits);
    let ids: Vec<_> = (0..3).map(|n| open(&mut dialer, call(&[n]))).collect();
    assert_eq!(
        dialer.command(START, Command::Open(call(b"4"))),
        Err(Rejected::Overloaded)
    );
    pump(&mut dialer, &mut listener, START);
    let calls = opened(events(&mut listener));
    assert_eq!(calls.len(), 2, "the third waits");
    // A deeper level has slots of its own, so nested calls never wait for those above.
    let nested = open(&mut dialer, call(b"n").hops(1));
    pump(&mut dialer, &mut listener, START);
    let deeper = opened(events(&mut listener));
    assert_eq!((deeper.len(), deeper[0].hops), (1, 1));
    for call in [&calls[0], &calls[1], &deeper[0]] {
        reply(&mut listener, call.call, &call.body).unwrap();
    }
    pump(&mut dialer, &mut listener, START);
    let seen: Vec<_> = ends(&mut dialer).into_iter().map(|(id, _)| id).collect();
    assert_eq!(seen, [ids[0], ids[1], nested]);
    assert_eq!(opened(events(&mut listener)).len(), 1);
    assert_eq!(
        dialer.command(START, Command::Open(call(b"x").hops(9))),
        Err(Rejected::HopLimit)
    );

    let (_, mut listener) = ready(&limits);
    let three: Vec<u8> = [1, 3, 5]
        .iter()
        .flat_map(|id| open_frame(*id, b""))
        .collect();
    assert_eq!(
        receive(&mut listener, START, &three),
        Err(Violation::Rule("max-calls"))
    );
}

#[test]
fn a_call_given_before_the_handshake_is_sent_after_it() {
    let mut dialer = pair::machine(bowline_rpc::proto::Side::Dialer, &Limits::default());
    let mut listener = pair::machine(bowline_rpc::proto::Side::Listener, &Limits::default());
    let id = open(&mut dialer, call(b"early"));
    let unknown = Open::new(Target::Name("mul".into()), CodecId(77), Bytes::new());
    let wrong = open(&mut dialer, unknown);
    pump(&mut dialer, &mut listener, START);
    let calls = opened(events(&mut listener));
    assert_eq!(&calls[0].body[..], b"early");
    reply(&mut listener, calls[0].call, b"r").unwrap();
    pump(&mut dialer, &mut listener, START);
    let unsupported = Err((Code::Unsupported, Certainty::NeverSent));
    assert_eq!(
        ends(&mut dialer),
        [(wrong, unsupported), (id, Ok(b"r".to_vec()))]
    );
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

#[test]
fn the_place_of_a_call_is_not_used_again_before_its_end_was_polled() {
    let (mut dialer, _) = ready(&Limits::default());
    let first = open(&mut dialer, call(b"1"));
    sent(&mut dialer, START);
    receive(&mut dialer, START, &frame(0x12, 0, 0, 1, b"r")).unwrap();
    let second = open(&mut dialer, call(b"2"));
    assert_ne!(first.slot(), second.slot());
    assert_eq!(ends(&mut dialer), [(first, Ok(b"r".to_vec()))]);
    let third = open(&mut dialer, call(b"3"));
    assert_eq!(first.slot(), third.slot());
    assert_ne!(first, third);
    // The same when it was given up before the peer ended it.
    sent(&mut dialer, START);
    cancel(&mut dialer, third).unwrap();
    receive(&mut dialer, START, &frame(0x12, 0, 0, 5, b"r")).unwrap();
    assert_ne!(open(&mut dialer, call(b"4")).slot(), third.slot());
    assert_eq!(ends(&mut dialer).len(), 1);
    assert_eq!(open(&mut dialer, call(b"5")).slot(), third.slot());
}
