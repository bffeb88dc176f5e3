//! Calls: ids, slots, deadlines, ends.

use bowline_backend::time::Instant;
use bowline_rpc::proto::{CodecId, Command, Open, Rejected, Side, Target, Violation};
use bowline_rpc::{Certainty, Code, Limits};
use bytes::Bytes;

use crate::pair::{
    START, call, cancel, ends, events, frame, machine, millis, open, open_frame, opened, pump,
    ready, receive, reply, sent,
};

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

#[test]
fn slots_queue_the_caller_and_bind_the_peer() {
    let mut limits = Limits::default();
    (limits.max_calls, limits.queue_calls) = (2, 1);
    let (mut dialer, mut listener) = ready(&limits);
    // Two have a slot though they have not left yet, and one may wait.
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
    let mut dialer = machine(Side::Dialer, &Limits::default());
    let mut listener = machine(Side::Listener, &Limits::default());
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
