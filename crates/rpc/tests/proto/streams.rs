//! Items in both directions, and credit by what the application took.

use bowline_rpc::proto::{
    CallId, CallKind, CancelReason, Command, Event, Failure, Items, Machine, Rejected, Violation,
    charge,
};
use bowline_rpc::{Certainty, Code, Limits};
use bytes::Bytes;

use crate::pair::{
    START, call, cancel, ends, events, frame, hex, open, open_frame, opened, pump, ready, receive,
    reply, sent,
};

fn item(machine: &mut Machine, call: CallId, body: &[u8]) -> Result<CallId, Rejected> {
    let body = Bytes::copy_from_slice(body);
    machine.command(START, Command::Item { call, body })
}

fn consumed(machine: &mut Machine, call: CallId, amount: u64) {
    machine
        .command(START, Command::Consumed { call, amount })
        .expect("the call is open");
}

/// The items among events.
fn items(events: Vec<Event>) -> Vec<Vec<u8>> {
    let items = events.into_iter().filter_map(|event| match event {
        Event::Item { body, .. } => Some(body.to_vec()),
        _ => None,
    });
    items.collect()
}

/// A streaming call that both ends know of: its ids there and here.
fn streaming(kind: CallKind, limits: &Limits) -> (Machine, Machine, CallId, CallId) {
    let (mut dialer, mut listener) = ready(limits);
    let ours = open(&mut dialer, call(b"args").kind(kind));
    if kind.contains(CallKind::CALLER_STREAMS) {
        assert_eq!(item(&mut dialer, ours, b"early"), Err(Rejected::NoRoom));
    }
    pump(&mut dialer, &mut listener, START);
    let calls = opened(events(&mut listener));
    assert_eq!((calls[0].kind, &calls[0].body[..]), (kind, &b"args"[..]));
    let seen = events(&mut dialer);
    if kind.contains(CallKind::CALLER_STREAMS) {
        assert!(
            matches!(&seen[..], [Event::Room { call }] if *call == ours),
            "{seen:?}"
        );
    }
    (dialer, listener, ours, calls[0].call)
}

#[test]
fn both_sides_stream_and_then_the_reply_comes() {
    let (mut dialer, mut listener, ours, theirs) =
        streaming(CallKind::BOTH_STREAM, &Limits::default());
    let mut echoed = Vec::new();
    let mut all = Vec::new();
    for n in 0..500usize {
        let body = vec![n as u8; n * 37 % 3000];
        item(&mut dialer, ours, &body).unwrap();
        all.push(body);
        pump(&mut dialer, &mut listener, START);
        for body in items(events(&mut listener)) {
            consumed(&mut listener, theirs, charge(body.len()));
            item(&mut listener, theirs, &body).unwrap();
        }
        pump(&mut dialer, &mut listener, START);
        for body in items(events(&mut dialer)) {
            consumed(&mut dialer, ours, charge(body.len()));
            echoed.push(body);
        }
    }
    assert_eq!(echoed, all);
    dialer.command(START, Command::End { call: ours }).unwrap();
    assert_eq!(item(&mut dialer, ours, b"x"), Err(Rejected::NoSuchCall));
    pump(&mut dialer, &mut listener, START);
    let seen = events(&mut listener);
    assert!(
        matches!(&seen[..], [Event::Ended { call }] if *call == theirs),
        "{seen:?}"
    );
    item(&mut listener, theirs, b"last").unwrap();
    reply(&mut listener, theirs, b"done").unwrap();
    assert_eq!(item(&mut listener, theirs, b"x"), Err(Rejected::NoSuchCall));
    pump(&mut dialer, &mut listener, START);
    let seen = events(&mut dialer);
    assert!(
        matches!(&seen[..], [Event::Item { body, .. }, Event::Replied { body: last, .. }]
            if &body[..] == b"last" && &last[..] == b"done"),
        "{seen:?}"
    );
    assert!(dialer.memory_in_use() < 64 * 1024 && listener.memory_in_use() < 64 * 1024);
}

// What the machine holds, and that others go on.
#[test]
fn a_reader_that_takes_nothing_stops_its_stream_and_nothing_else() {
    let limits = Limits::default();
    let (mut dialer, mut listener, ours, theirs) = streaming(CallKind::EXECUTOR_STREAMS, &limits);
    let mut accepted = 0;
    loop {
        match item(&mut listener, theirs, &[7; 1000]) {
            Ok(_) => accepted += 1,
            Err(rejected) => {
                assert_eq!(rejected, Rejected::NoRoom);
                break;
            }
        }
        pump(&mut dialer, &mut listener, START);
        assert!(accepted < 1000, "there is an end to it");
    }
    // A window of them, and one more that waits for the rest of its credit.
    let fit = limits.call_window as usize / 1016;
    assert!((fit..=fit + 1).contains(&accepted), "{accepted}");
    let held = items(events(&mut dialer));
    assert!(held.len() <= fit);
    assert!(listener.memory_in_use() < 2 * limits.call_window as usize);
    for n in 0..1000u32 {
        let other = open(&mut dialer, call(&n.to_be_bytes()));
        pump(&mut dialer, &mut listener, START);
        let calls = opened(events(&mut listener));
        reply(&mut listener, calls[0].call, &n.to_be_bytes()).unwrap();
        pump(&mut dialer, &mut listener, START);
        assert_eq!(ends(&mut dialer), [(other, Ok(n.to_be_bytes().to_vec()))]);
    }
    // Half of the window is taken, and the other side hears of it.
    consumed(&mut dialer, ours, limits.call_window as u64 / 2 - 1);
    assert!(sent(&mut dialer, START).is_empty(), "not for so little");
    consumed(&mut dialer, ours, 1);
    let grant = sent(&mut dialer, START);
    assert_eq!(grant, frame(0x15, 0, 0, 1, &32_768u32.to_be_bytes()));
    receive(&mut listener, START, &grant).unwrap();
    let seen = events(&mut listener);
    assert!(
        matches!(&seen[..], [Event::Room { call }] if *call == theirs),
        "{seen:?}"
    );
    item(&mut listener, theirs, b"more").unwrap();
}

#[test]
fn empty_items_are_not_free() {
    let mut limits = Limits::default();
    limits.call_window = 4096;
    let (mut dialer, mut listener, ours, _) = streaming(CallKind::CALLER_STREAMS, &limits);
    let mut accepted = 0;
    while item(&mut dialer, ours, b"").is_ok() {
        accepted += 1;
        pump(&mut dialer, &mut listener, START);
    }
    // The arguments took 20 of it.
    assert_eq!(accepted, (4096 - 20) / 16);
    assert_eq!(items(events(&mut listener)).len(), accepted);
}

// R10: use beyond the window of a stream.
#[test]
fn more_items_than_were_granted_break_the_rules() {
    let mut limits = Limits::default();
    limits.call_window = 4096;
    let (_, mut listener) = ready(&limits);
    let mut stream = open_frame(1, b"");
    stream[20] = 2;
    receive(&mut listener, START, &stream).unwrap();
    let body = vec![0; 1000];
    let one = frame(0x11, 0, 0, 1, &body);
    receive(&mut listener, START, &one.repeat(4)).unwrap();
    let left = 4096 - 16 - 4 * 1016;
    let last = frame(0x11, 0, 0, 1, &vec![0; left - 16 + 1]);
    assert_eq!(
        receive(&mut listener, START, &last),
        Err(Violation::Rule("call-window"))
    );
}

#[test]
fn items_longer_than_a_window_go_one_at_a_time() {
    let mut limits = Limits::default();
    limits.call_window = 4096;
    let (mut dialer, mut listener, ours, theirs) = streaming(CallKind::CALLER_STREAMS, &limits);
    for n in 0..20u8 {
        let body = vec![n; 100_000];
        item(&mut dialer, ours, &body).unwrap();
        assert_eq!(item(&mut dialer, ours, b"x"), Err(Rejected::NoRoom));
        pump(&mut dialer, &mut listener, START);
        let seen = items(events(&mut listener));
        assert!(seen == [body], "item {n}");
        assert_eq!(
            item(&mut dialer, ours, b"x"),
            Err(Rejected::NoRoom),
            "nobody took it"
        );
        consumed(&mut listener, theirs, charge(100_000));
        pump(&mut dialer, &mut listener, START);
        assert!(
            events(&mut dialer)
                .iter()
                .any(|event| matches!(event, Event::Room { .. }))
        );
    }
    assert!(listener.memory_in_use() < 64 * 1024);
    // What is a little longer than what is left does not wait for ever either.
    for length in [2000, 3000, 1500, 4000, 4081] {
        item(&mut dialer, ours, &vec![1; length]).unwrap();
        pump(&mut dialer, &mut listener, START);
        assert_eq!(items(events(&mut listener)), [vec![1; length]]);
        consumed(&mut listener, theirs, charge(length));
        pump(&mut dialer, &mut listener, START);
    }
}

#[test]
fn either_side_may_end_a_stream_early() {
    // The executor answers before the caller has said all.
    let (mut dialer, mut listener, ours, theirs) =
        streaming(CallKind::BOTH_STREAM, &Limits::default());
    for _ in 0..100 {
        item(&mut dialer, ours, b"under way").unwrap();
    }
    let under_way = sent(&mut dialer, START);
    reply(&mut listener, theirs, b"enough").unwrap();
    let bytes = sent(&mut listener, START);
    receive(&mut listener, START, &under_way).unwrap();
    assert!(events(&mut listener).is_empty());
    receive(&mut dialer, START, &bytes).unwrap();
    assert_eq!(ends(&mut dialer), [(ours, Ok(b"enough".to_vec()))]);
    assert_eq!(item(&mut dialer, ours, b"x"), Err(Rejected::NoSuchCall));
    // An error comes after the items before it.
    let (mut dialer, mut listener, ours, theirs) =
        streaming(CallKind::EXECUTOR_STREAMS, &Limits::default());
    item(&mut listener, theirs, b"one").unwrap();
    let failure = Failure::application(Bytes::from_static(b"why"));
    listener
        .command(
            START,
            Command::Fail {
                call: theirs,
                failure,
            },
        )
        .unwrap();
    pump(&mut dialer, &mut listener, START);
    let seen = events(&mut dialer);
    assert!(
        matches!(&seen[..], [Event::Item { .. }, Event::Failed { error, .. }] if error.code() == Code::Application),
        "{seen:?}"
    );
    // The caller wants no more.
    let (mut dialer, mut listener, ours_2, theirs) =
        streaming(CallKind::EXECUTOR_STREAMS, &Limits::default());
    assert_ne!(ours.as_u64(), 0);
    item(&mut listener, theirs, b"one").unwrap();
    let under_way = sent(&mut listener, START);
    cancel(&mut dialer, ours_2).unwrap();
    assert_eq!(
        ends(&mut dialer),
        [(ours_2, Err((Code::Cancelled, Certainty::MaybeExecuted)))]
    );
    receive(&mut dialer, START, &under_way).unwrap();
    assert!(events(&mut dialer).is_empty());
    pump(&mut dialer, &mut listener, START);
    let seen = events(&mut listener);
    assert!(matches!(
        &seen[..],
        [Event::Cancelled {
            reason: CancelReason::Dropped,
            ..
        }]
    ));
    item(&mut listener, theirs, b"two").unwrap();
    reply(&mut listener, theirs, b"").unwrap();
    pump(&mut dialer, &mut listener, START);
    assert!(events(&mut dialer).is_empty());
    let next = open(&mut dialer, call(b""));
    pump(&mut dialer, &mut listener, START);
    assert_ne!(next, ours_2);
    assert_eq!(dialer.stats().late_frames, 0);
}

#[test]
fn thousands_of_streams_that_end_early_are_no_offence() {
    let (mut dialer, mut listener) = ready(&Limits::default());
    for _ in 0..50 {
        let ours = open(&mut dialer, call(b"").kind(CallKind::CALLER_STREAMS));
        pump(&mut dialer, &mut listener, START);
        let theirs = opened(events(&mut listener))[0].call;
        while item(&mut dialer, ours, b"").is_ok() {}
        let under_way = sent(&mut dialer, START);
        reply(&mut listener, theirs, b"").unwrap();
        let bytes = sent(&mut listener, START);
        receive(&mut listener, START, &under_way).expect("it keeps the rules");
        receive(&mut dialer, START, &bytes).unwrap();
        events(&mut dialer);
    }
    assert!(listener.stats().late_frames > 100_000);
}

#[test]
fn items_where_none_belong_break_the_rules() {
    for (kind, bytes, rule) in [
        (0u8, frame(0x11, 0, 0, 1, b"x"), "item-on-unary"),
        (1, frame(0x11, 0, 0, 1, b"x"), "item-on-unary"),
        (0, frame(0x17, 0, 0, 1, b""), "end-on-unary"),
        (2, frame(0x17, 0, 0, 1, b"").repeat(2), "end-on-unary"),
        (
            2,
            [frame(0x17, 0, 0, 1, b""), frame(0x11, 0, 0, 1, b"x")].concat(),
            "item-on-unary",
        ),
        (
            2,
            [
                frame(0x11, 1, 0, 1, &[0, 0, 0, 9, 1]),
                frame(0x17, 0, 0, 1, b""),
            ]
            .concat(),
            "message-total",
        ),
    ] {
        let (_, mut listener) = ready(&Limits::default());
        let mut stream = open_frame(1, b"");
        stream[20] = kind;
        receive(&mut listener, START, &stream).unwrap();
        assert_eq!(
            receive(&mut listener, START, &bytes),
            Err(Violation::Rule(rule)),
            "kind {kind}"
        );
    }
}

// R11
#[test]
fn items_and_parts_have_their_bytes() {
    let (mut dialer, mut listener) = ready(&Limits::default());
    let ours = open(
        &mut dialer,
        call(b"a").kind(CallKind::BOTH_STREAM).priority(7),
    );
    assert_eq!(
        sent(&mut dialer, START),
        hex(
            "00000017 10 00 0006 0000000000000001 00000000 03 01 07 00 0000000000000000 \
             01 0003 6D756C 61"
        )
    );
    let mut stream = open_frame(1, b"a");
    stream[20] = 3;
    receive(&mut listener, START, &stream).unwrap();
    let theirs = opened(events(&mut listener))[0].call;
    item(&mut dialer, ours, b"\x02").unwrap();
    dialer.command(START, Command::End { call: ours }).unwrap();
    let bytes = sent(&mut dialer, START);
    assert_eq!(
        bytes,
        hex("00000001 11 00 0000 0000000000000001 02  00000000 17 00 0000 0000000000000001")
    );
    receive(&mut listener, START, &bytes).unwrap();
    assert_eq!(events(&mut listener).len(), 2);
    reply(&mut listener, theirs, &[9; 32_769]).unwrap();
    let bytes = sent(&mut listener, START);
    // 32 764 bytes after the total, and the other 5.
    assert_eq!(
        bytes[..20],
        hex("00008000 12 01 0000 0000000000000001 00008001")
    );
    assert_eq!(
        bytes[16 + 32_768..],
        hex("00000005 11 00 0000 0000000000000001 0909090909")
    );
    receive(&mut dialer, START, &bytes).unwrap();
    assert!(ends(&mut dialer) == [(ours, Ok(vec![9; 32_769]))]);
}

fn together(bodies: &[Vec<u8>]) -> Items {
    let mut items = Items::new();
    bodies.iter().for_each(|body| items.push(body));
    items
}

// R11
#[test]
fn items_that_are_sent_together_have_the_bytes_of_each() {
    let (mut dialer, mut listener, ours, theirs) =
        streaming(CallKind::BOTH_STREAM, &Limits::default());
    let bodies = [vec![2], vec![], vec![3; Items::LONGEST]];
    let items = together(&bodies);
    let command = Command::Items { call: ours, items };
    dialer.command(START, command).unwrap();
    let none = Command::Items {
        call: ours,
        items: Items::new(),
    };
    dialer.command(START, none).unwrap();
    let bytes = sent(&mut dialer, START);
    let expected: Vec<_> = bodies
        .iter()
        .flat_map(|body| frame(0x11, 0, 0, 1, body))
        .collect();
    assert!(bytes == expected);
    receive(&mut listener, START, &bytes).unwrap();
    let Some(Event::Items { call, items }) = listener.poll_event() else {
        panic!("they came together");
    };
    assert_eq!(call, theirs);
    assert!(items.iter().eq(&bodies));
    assert_eq!(items.charge(), 1 + 3 * 16 + Items::LONGEST as u64);
    // As they are they may go on with another call.
    consumed(&mut listener, theirs, items.charge());
    let command = Command::Items { call, items };
    listener.command(START, command).unwrap();
    pump(&mut dialer, &mut listener, START);
    assert_eq!(self::items(events(&mut dialer)), bodies);
}

// R17
#[test]
fn items_that_are_sent_together_keep_to_what_was_granted() {
    let mut limits = Limits::default();
    limits.call_window = 4096;
    let (mut dialer, mut listener, ours, theirs) = streaming(CallKind::CALLER_STREAMS, &limits);
    let send = |dialer: &mut Machine, bodies: &[Vec<u8>]| {
        let items = together(bodies);
        dialer.command(START, Command::Items { call: ours, items })
    };
    // One that has to go in parts, or may have to, goes alone.
    let long = Items::LONGEST + 1;
    let refused = send(&mut dialer, &[vec![], vec![1; long]]);
    let (limit, actual) = (Items::LONGEST as u32, long as u32);
    assert_eq!(refused, Err(Rejected::TooLarge { limit, actual }));
    // The arguments took 20 of the window: 4076 are left, which are 84 of 48 and 44 more.
    let bodies = vec![vec![7; 32]; 85];
    assert_eq!(send(&mut dialer, &bodies), Err(Rejected::NoRoom));
    send(&mut dialer, &bodies[1..]).unwrap();
    assert_eq!(send(&mut dialer, &[vec![7; 29]]), Err(Rejected::NoRoom));
    send(&mut dialer, &[vec![7; 28]]).unwrap();
    assert_eq!(send(&mut dialer, &[vec![]]), Err(Rejected::NoRoom));
    pump(&mut dialer, &mut listener, START);
    assert_eq!(items(events(&mut listener)).len(), 85);
    assert!(events(&mut dialer).is_empty());
    assert_eq!(send(&mut dialer, &[vec![]]), Err(Rejected::NoRoom));
    consumed(&mut listener, theirs, 2048);
    pump(&mut dialer, &mut listener, START);
    let seen = events(&mut dialer);
    assert!(
        matches!(&seen[..], [Event::Room { call }] if *call == ours),
        "{seen:?}"
    );
    send(&mut dialer, &vec![vec![]; 128]).unwrap();
    assert_eq!(send(&mut dialer, &[vec![]]), Err(Rejected::NoRoom));
}

// R10, R12
#[test]
fn of_items_that_come_together_those_that_were_granted_come_before_the_violation() {
    let mut limits = Limits::default();
    limits.call_window = 4096;
    let mut stream = open_frame(1, b"");
    stream[20] = 2;
    let all = frame(0x11, 0, 0, 1, &[7; 84]).repeat(41);
    for cut in 0..all.len() {
        let (_, mut listener) = ready(&limits);
        receive(&mut listener, START, &stream).unwrap();
        let mut input = bytes::BytesMut::from(&all[..cut]);
        let _ = listener.handle_bytes(START, &mut input);
        input.extend_from_slice(&all[cut..]);
        assert_eq!(
            listener.handle_bytes(START, &mut input),
            Err(Violation::Rule("call-window"))
        );
        assert_eq!(items(events(&mut listener)).len(), 4080 / 100, "{cut}");
    }
}

// R16
#[test]
fn items_that_are_sent_together_leave_others_their_turn() {
    let mut limits = Limits::default();
    limits.call_window = 1024 * 1024;
    let (mut dialer, mut listener, _, theirs) = streaming(CallKind::EXECUTOR_STREAMS, &limits);
    let bodies = vec![vec![7; 1000]; 500];
    let items = together(&bodies);
    let command = Command::Items {
        call: theirs,
        items,
    };
    listener.command(START, command).unwrap();
    let other = open(&mut dialer, call(b"other").kind(CallKind::EXECUTOR_STREAMS));
    pump_one_way(&mut dialer, &mut listener);
    let call = opened(events(&mut listener))[0].call;
    item(&mut listener, call, b"among them").unwrap();
    let bytes = sent(&mut listener, START);
    let place = bytes.windows(10).position(|window| window == b"among them");
    assert!(place.expect("it is there") < 64 * 1024, "{place:?}");
    receive(&mut dialer, START, &bytes).unwrap();
    let seen = events(&mut dialer);
    let of_other = |event: &&Event| matches!(event, Event::Item { call, .. } if *call == other);
    assert_eq!((seen.len(), seen.iter().filter(of_other).count()), (501, 1));
}

fn pump_one_way(from: &mut Machine, to: &mut Machine) {
    let bytes = sent(from, START);
    receive(to, START, &bytes).unwrap();
}
