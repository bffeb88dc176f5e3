//! A peer that grants nothing for what is longer than its window, or far too much.

use std::time::Duration;

use bowline_backend::time::Instant;
use bowline_rpc::proto::{
    CallId, CallKind, Command, Event, Failure, Items, Machine, Rejected, Side,
};
use bowline_rpc::{Certainty, Code, Limits};
use bytes::{Bytes, BytesMut};

use crate::pair::{
    START, call, cancel, ends, events, frame, frames, machine, open, opened, pump, ready, receive,
    reply, sent,
};

const MIB: usize = 1024 * 1024;
/// The most of long replies that may wait at a side with `limits`.
const REPLIES: usize = 4 * MIB;

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.max_message, limits.reply_bytes) = (MIB as u32, REPLIES);
    limits
}

/// Two machines, the second of which has `many` calls of the first, of a minute: their ids there and here.
fn called(many: usize, kind: CallKind) -> (Machine, Machine, Vec<CallId>, Vec<CallId>) {
    let (mut dialer, mut listener) = ready(&limits());
    let one = || {
        call(b"x")
            .kind(kind)
            .deadline(START + Duration::from_secs(60))
    };
    let ours = (0..many).map(|_| open(&mut dialer, one())).collect();
    pump(&mut dialer, &mut listener, START);
    let theirs = opened(events(&mut listener));
    let theirs = theirs.into_iter().map(|call| call.call).collect();
    (dialer, listener, ours, theirs)
}

/// The codes and certainties of the FAIL frames in `bytes`.
fn failures(bytes: &[u8]) -> Vec<(u64, u16, u8)> {
    let mut failures = Vec::new();
    let mut at = 0;
    for frame in frames(bytes) {
        if frame.kind == 0x13 {
            let code = u16::from_be_bytes([bytes[at + 6], bytes[at + 7]]);
            failures.push((frame.id, code, frame.payload[0]));
        }
        at += 16 + frame.payload.len();
    }
    failures
}

// P8
#[test]
fn a_reply_that_would_be_too_much_fails_as_executed_and_short_ones_go_out() {
    let (mut dialer, mut listener, ours, theirs) = called(50, CallKind::UNARY);
    for call in &theirs[..40] {
        reply(&mut listener, *call, &vec![7; MIB]).unwrap();
    }
    let bound = limits().report().called();
    assert!(listener.memory_in_use() < REPLIES + MIB && REPLIES + MIB < bound);
    for call in &theirs[40..] {
        reply(&mut listener, *call, &[7; 60_000]).unwrap();
    }
    // Nothing is granted for what comes.
    let bytes = sent(&mut listener, START);
    let failed = failures(&bytes);
    assert_eq!(failed.len(), 36);
    assert!(
        failed
            .iter()
            .all(|(_, code, certainty)| (*code, *certainty) == (9, 3))
    );
    receive(&mut dialer, START, &bytes).unwrap();
    let ended = ends(&mut dialer);
    let failed = Err((Code::TooLarge, Certainty::Executed));
    assert!(
        ours[4..40]
            .iter()
            .all(|call| ended.contains(&(*call, failed.clone())))
    );
    assert!(
        ours[40..]
            .iter()
            .all(|call| ended.contains(&(*call, Ok(vec![7; 60_000]))))
    );
    // Once the first ones are granted for, others find room.
    pump(&mut dialer, &mut listener, START);
    assert_eq!(ends(&mut dialer).len(), 4);
    let next = open(&mut dialer, call(b"y"));
    pump(&mut dialer, &mut listener, START);
    let theirs = opened(events(&mut listener))[0].call;
    reply(&mut listener, theirs, &vec![8; MIB]).unwrap();
    pump(&mut dialer, &mut listener, START);
    assert_eq!(ends(&mut dialer), [(next, Ok(vec![8; MIB]))]);
}

// P8
#[test]
fn what_is_granted_but_for_its_last_bytes_counts_as_a_whole() {
    let (_, mut listener, _, theirs) = called(100, CallKind::UNARY);
    let mut taken = 0;
    for call in &theirs {
        reply(&mut listener, *call, &vec![7; MIB]).unwrap();
        let bytes = sent(&mut listener, START);
        if failures(&bytes).is_empty() {
            taken += 1;
            // All but the end of it: what is left keeps the whole of it.
            let missing = (MIB - 64 * 1024) as u32;
            let credit = frame(0x15, 0, 0, call.as_u64(), &missing.to_be_bytes());
            receive(&mut listener, START, &credit).unwrap();
            sent(&mut listener, START);
        }
    }
    assert_eq!(taken, REPLIES / MIB);
    assert!(listener.memory_in_use() >= REPLIES, "it is all there");
}

// P8, R5
#[test]
fn a_reply_waits_no_longer_than_its_caller() {
    let (mut dialer, mut listener, ours, theirs) = called(2, CallKind::UNARY);
    reply(&mut listener, theirs[0], &vec![7; MIB]).unwrap();
    let first = sent(&mut listener, START);
    assert!(listener.memory_in_use() > MIB);
    let due = START + Duration::from_secs(60);
    step(&mut listener, due - Duration::from_millis(1));
    assert!(listener.memory_in_use() > MIB, "it is not due");
    let rest = step(&mut listener, due);
    assert_eq!(failures(&rest), [(1, 2, 3)], "DeadlineExceeded, executed");
    assert!(listener.memory_in_use() < MIB);
    // A caller whose clock is slower has it as the outcome, in the middle of its reply.
    receive(&mut dialer, START, &first).unwrap();
    receive(&mut dialer, START, &rest).unwrap();
    let late = Err((Code::DeadlineExceeded, Certainty::Executed));
    assert_eq!(ends(&mut dialer), [(ours[0], late)]);
    // And the connection lives.
    reply(&mut listener, theirs[1], b"y").unwrap();
    pump(&mut dialer, &mut listener, due);
    assert_eq!(ends(&mut dialer), [(ours[1], Ok(b"y".to_vec()))]);
}

/// Goes to `to` in time, by all that is due before; what is sent.
fn step(machine: &mut Machine, to: Instant) -> Vec<u8> {
    let mut bytes = Vec::new();
    // The peer is alive.
    receive(machine, to, &frame(0x07, 0, 0, 0, &[5; 8])).unwrap();
    while let Some(due) = machine.poll_timeout()
        && due <= to
    {
        machine.handle_timeout(due);
        bytes.extend(sent(machine, due));
    }
    bytes
}

// P8
#[test]
fn the_answer_behind_items_that_nobody_takes_waits_no_longer_than_its_caller() {
    let (_, mut listener, _, theirs) = called(1, CallKind::EXECUTOR_STREAMS);
    let call = theirs[0];
    // The rest of the second waits for credit, and so does the outcome behind it.
    for length in [30_000, 50_000] {
        item(&mut listener, call, length).unwrap();
        sent(&mut listener, START);
    }
    let failure = Failure::new(Code::Panic).certainty(Certainty::Executed);
    listener
        .command(START, Command::Fail { call, failure })
        .unwrap();
    assert_eq!(failures(&sent(&mut listener, START)), []);
    let bytes = step(&mut listener, START + Duration::from_secs(60));
    assert_eq!(failures(&bytes), [(1, 7, 3)], "the outcome it had");
}

fn item(machine: &mut Machine, call: CallId, length: usize) -> Result<CallId, Rejected> {
    let body = Bytes::from(vec![7; length]);
    machine.command(START, Command::Item { call, body })
}

fn has_room(machine: &mut Machine) -> Vec<CallId> {
    let rooms = events(machine).into_iter().filter_map(|event| match event {
        Event::Room { call } => Some(call),
        _ => None,
    });
    rooms.collect()
}

// P8
#[test]
fn long_items_wait_for_each_other() {
    let (_, mut listener, _, theirs) = called(8, CallKind::EXECUTOR_STREAMS);
    for call in &theirs[..4] {
        item(&mut listener, *call, MIB).unwrap();
    }
    for call in &theirs[4..] {
        assert_eq!(item(&mut listener, *call, MIB), Err(Rejected::NoRoom));
    }
    // Short ones need no more than their window.
    item(&mut listener, theirs[4], 1000).unwrap();
    sent(&mut listener, START);
    has_room(&mut listener);
    assert_eq!(item(&mut listener, theirs[4], MIB), Err(Rejected::NoRoom));
    // One of them is granted for, or given up.
    let credit = frame(0x15, 0, 0, theirs[0].as_u64(), &(MIB as u32).to_be_bytes());
    receive(&mut listener, START, &credit).unwrap();
    sent(&mut listener, START);
    let mut roomy = has_room(&mut listener);
    roomy.sort();
    assert_eq!(roomy, theirs[4..]);
    item(&mut listener, theirs[5], MIB).unwrap();
    assert_eq!(item(&mut listener, theirs[6], MIB), Err(Rejected::NoRoom));
    let gone = frame(0x14, 0, 1, theirs[1].as_u64(), &[]);
    receive(&mut listener, START, &gone).unwrap();
    let call = theirs[1];
    let failure = Failure::new(Code::Cancelled);
    listener
        .command(START, Command::Fail { call, failure })
        .unwrap();
    assert_eq!(has_room(&mut listener), [theirs[6]]);
    item(&mut listener, theirs[6], MIB).unwrap();
}

// P8
#[test]
fn items_of_callers_wait_for_each_other_too() {
    let mut limits = limits();
    limits.queue_bytes = 2 * MIB;
    let (mut dialer, mut listener) = ready(&limits);
    let streams = || call(b"x").kind(CallKind::CALLER_STREAMS);
    let ours: Vec<_> = (0..3).map(|_| open(&mut dialer, streams())).collect();
    sent(&mut dialer, START);
    has_room(&mut dialer);
    item(&mut dialer, ours[0], MIB).unwrap();
    item(&mut dialer, ours[1], MIB).unwrap();
    assert_eq!(item(&mut dialer, ours[2], MIB), Err(Rejected::NoRoom));
    assert_eq!(has_room(&mut dialer), []);
    cancel(&mut dialer, ours[0]).unwrap();
    let seen = events(&mut dialer);
    assert!(
        seen.iter()
            .any(|event| matches!(event, Event::Room { call } if *call == ours[2])),
        "{seen:?}"
    );
    item(&mut dialer, ours[2], MIB).unwrap();
    assert!(events(&mut listener).is_empty());
}

// P8
#[test]
fn no_more_waits_for_a_peer_than_our_window_however_large_its_own_is() {
    let mut wide = Limits::trusted();
    wide.call_window = 1 << 30;
    let mut dialer = machine(Side::Dialer, &wide);
    let mut listener = machine(Side::Listener, &limits());
    pump(&mut dialer, &mut listener, START);
    open(&mut dialer, call(b"x").kind(CallKind::EXECUTOR_STREAMS));
    pump(&mut dialer, &mut listener, START);
    let call = opened(events(&mut listener))[0].call;
    // It stops reading here.
    let before = listener.memory_in_use();
    let mut taken = 0;
    while item(&mut listener, call, 1000).is_ok() {
        taken += 1;
        assert!(taken < 1000, "it takes them all");
    }
    assert_eq!(taken, 64 * 1024 / 1016);
    let mut many = Items::new();
    (0..10).for_each(|_| many.push(&[7; 1000]));
    let items = many;
    assert_eq!(
        listener.command(START, Command::Items { call, items }),
        Err(Rejected::NoRoom)
    );
    assert!(listener.memory_in_use() < before + 2 * 64 * 1024);
    let bytes = sent(&mut listener, START);
    assert_eq!(has_room(&mut listener), [call]);
    let mut input = BytesMut::from(&bytes[..]);
    dialer.handle_bytes(START, &mut input).unwrap();
    let items = events(&mut dialer).into_iter();
    let items = items.filter(|event| matches!(event, Event::Item { .. }));
    assert_eq!(items.count(), taken);
}
