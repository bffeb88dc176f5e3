//! Messages of several frames: their totals, their credit, and whose turn it is.

use bowline_rpc::proto::{CallId, Command, Event, Machine, Open, Side, Violation, charge};
use bowline_rpc::{Certainty, Code, Limits};

use crate::pair::{
    Frame, START, call, cancel, consumed, ends, events, frame, frames, machine, open, open_frame,
    opened, pump, ready, receive, reply, sent,
};

const MIB: usize = 1024 * 1024;

/// Bytes that tell where they are.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 251 + n) as u8).collect()
}

/// The first part of arguments of `total` bytes.
fn first_of(id: u64, total: u32, part: &[u8]) -> Vec<u8> {
    let mut bytes = open_frame(id, &[&total.to_be_bytes()[..], part].concat());
    bytes[5] = 1;
    bytes
}

#[test]
fn long_arguments_and_replies_arrive_whole() {
    let mut small = Limits::default();
    (small.max_frame, small.call_window) = (1024, 4096);
    for (ours, theirs) in [
        (Limits::default(), Limits::default()),
        (small.clone(), Limits::default()),
        (Limits::default(), small.clone()),
    ] {
        for length in [0, 1024, 4080, 32_768, 32_769, 65_520, 65_521, 4 * MIB] {
            let mut dialer = machine(Side::Dialer, &ours);
            let mut listener = machine(Side::Listener, &theirs);
            pump(&mut dialer, &mut listener, START);
            let body = pattern(length);
            let id = open(&mut dialer, call(&body));
            pump(&mut dialer, &mut listener, START);
            let calls = opened(events(&mut listener));
            assert!(calls[0].body == body, "{length}");
            reply(&mut listener, calls[0].call, &body).unwrap();
            pump(&mut dialer, &mut listener, START);
            assert!(ends(&mut dialer) == [(id, Ok(body))], "{length}");
            // Nothing is kept of it, once it is taken; the answer said so of the arguments.
            let (call, amount) = (id, charge(length));
            let took = dialer.command(START, Command::Consumed { call, amount });
            let long = length > ours.call_window as usize;
            assert!(took.is_ok() || !long, "{length}");
            assert!(
                dialer.memory_in_use() < 64 * 1024,
                "{}",
                dialer.memory_in_use()
            );
            assert!(listener.memory_in_use() < 64 * 1024);
        }
    }
}

// R13
#[test]
fn parts_that_do_not_add_up_to_their_total_break_the_rules() {
    let short = [first_of(1, 10, b"12345"), frame(0x11, 0, 0, 1, b"6789")].concat();
    let long = [first_of(1, 10, b"12345"), frame(0x11, 0, 0, 1, b"678901")].concat();
    let long_with_more = [first_of(1, 10, b"12345"), frame(0x11, 1, 0, 1, b"678901")].concat();
    let longer_at_once = first_of(1, 4, b"12345");
    let no_total = {
        let mut bytes = open_frame(1, b"123");
        bytes[5] = 1;
        bytes
    };
    for bytes in [&short, &long, &long_with_more, &longer_at_once, &no_total] {
        let (_, mut listener) = ready(&Limits::default());
        assert_eq!(
            receive(&mut listener, START, bytes),
            Err(Violation::Rule("message-total"))
        );
    }
    let (_, mut listener) = ready(&Limits::default());
    let fits = [first_of(1, 10, b"12345"), frame(0x11, 0, 0, 1, b"67890")].concat();
    receive(&mut listener, START, &fits).unwrap();
    assert_eq!(&opened(events(&mut listener))[0].body[..], b"1234567890");
    // The same for replies.
    for (last, ok) in [(&b"6789"[..], false), (b"67890", true), (b"678901", false)] {
        let (mut dialer, _) = ready(&Limits::default());
        let id = open(&mut dialer, call(b"x"));
        sent(&mut dialer, START);
        let first = frame(
            0x12,
            1,
            0,
            1,
            &[&10u32.to_be_bytes()[..], b"12345"].concat(),
        );
        receive(&mut dialer, START, &first).unwrap();
        let result = receive(&mut dialer, START, &frame(0x11, 0, 0, 1, last));
        assert_eq!(result.is_ok(), ok);
        if ok {
            assert_eq!(ends(&mut dialer), [(id, Ok(b"1234567890".to_vec()))]);
        }
    }
}

// R10: use beyond the grant.
#[test]
fn a_message_beyond_its_grant_breaks_the_rules() {
    let window = Limits::default().call_window as usize;
    let (_, mut listener) = ready(&Limits::default());
    let first = first_of(1, 4 * MIB as u32, &vec![1; window - 16 - 10_000]);
    receive(&mut listener, START, &first).unwrap();
    // Its grant is not sent yet, so what is left of the window is all.
    let over = frame(0x11, 1, 0, 1, &vec![2; 10_001]);
    assert_eq!(
        receive(&mut listener, START, &over),
        Err(Violation::Rule("call-window"))
    );
    let (_, mut listener) = ready(&Limits::default());
    receive(&mut listener, START, &first).unwrap();
    let grant = frames(&sent(&mut listener, START));
    let missing = 4 * MIB - (window - 16);
    assert_eq!((grant[0].kind, grant[0].id), (0x15, 1));
    assert_eq!(grant[0].payload, (missing as u32).to_be_bytes());
    receive(&mut listener, START, &over).unwrap();
}

#[test]
fn messages_beyond_their_windows_are_let_in_one_after_the_other() {
    let mut limits = Limits::default();
    (limits.max_message, limits.reassembly) = (MIB as u32, 2 * MIB);
    let (_, mut listener) = ready(&limits);
    let part = vec![1; 1000];
    for n in 0..5u64 {
        receive(
            &mut listener,
            START,
            &first_of(2 * n + 1, MIB as u32, &part),
        )
        .unwrap();
    }
    let granted = |machine: &mut Machine| -> Vec<u64> {
        frames(&sent(machine, START)).iter().map(|f| f.id).collect()
    };
    assert_eq!(granted(&mut listener), [1, 3], "2 MiB are two of them");
    assert!(listener.memory_in_use() < 5 * MIB);
    // The second is given up, the next one has its turn.
    receive(&mut listener, START, &frame(0x14, 0, 1, 3, &[])).unwrap();
    let next = frames(&sent(&mut listener, START));
    let kinds: Vec<_> = next.iter().map(|f| (f.kind, f.id)).collect();
    assert!(
        kinds.contains(&(0x15, 5)) && kinds.contains(&(0x13, 3)),
        "{kinds:?}"
    );
    // The first comes to its end; it takes the room until the application has taken it.
    let mut rest = MIB - 1000;
    while rest > 0 {
        let length = rest.min(60_000);
        rest -= length;
        let more = u8::from(rest > 0);
        receive(
            &mut listener,
            START,
            &frame(0x11, more, 0, 1, &vec![1; length]),
        )
        .unwrap();
    }
    assert!(granted(&mut listener).is_empty());
    let calls = opened(events(&mut listener));
    assert_eq!(calls[0].body.len(), MIB);
    assert!(granted(&mut listener).is_empty());
    consumed(&mut listener, calls[0].call, charge(MIB));
    assert_eq!(granted(&mut listener), [7]);
}

fn large(priority: u8) -> Open {
    call(&vec![priority; 4 * MIB]).priority(priority)
}

/// A connection with four large calls on the way, whose window is no obstacle.
fn busy() -> (Machine, Machine, Vec<CallId>) {
    let mut limits = Limits::default();
    limits.call_window = 8 * MIB as u32;
    let (mut dialer, listener) = ready(&limits);
    let ids = (0..3).map(|_| open(&mut dialer, large(4))).collect();
    (dialer, listener, ids)
}

/// What one write of the driver takes.
fn turn(machine: &mut Machine) -> Vec<Frame> {
    let mut batch = bowline_codec::OutputBatch::new();
    machine.poll_transmit(START, &mut batch, 64 * 1024);
    frames(&batch.slices().flatten().copied().collect::<Vec<u8>>())
}

// R16: where a small call stands among the parts of large ones, which is what it waits for.
#[test]
fn a_small_call_waits_for_one_part_of_large_ones_at_most() {
    let (mut dialer, mut listener, _) = busy();
    for _ in 0..10 {
        turn(&mut dialer);
    }
    for n in 0..100 {
        open(&mut dialer, call(b"small"));
        let written = turn(&mut dialer);
        let at = written
            .iter()
            .position(|f| f.kind == 0x10)
            .expect("it is in this write");
        let before: usize = written[..at].iter().map(|f| f.payload.len() + 16).sum();
        assert!(
            before <= 32 * 1024 + 16,
            "{before} bytes before small call {n}"
        );
        assert!(
            written.iter().any(|f| f.kind == 0x11),
            "the large ones go on"
        );
    }
    // Replies likewise.
    let ids: Vec<u64> = (0..4).map(|n| 2 * n + 1).collect();
    let opens: Vec<u8> = ids.iter().flat_map(|id| open_frame(*id, b"")).collect();
    receive(&mut listener, START, &opens).unwrap();
    let calls = opened(events(&mut listener));
    for call in &calls[1..] {
        reply(&mut listener, call.call, &vec![7; 4 * MIB]).unwrap();
    }
    for _ in 0..5 {
        turn(&mut listener);
    }
    reply(&mut listener, calls[0].call, b"small").unwrap();
    let written = turn(&mut listener);
    let at = written
        .iter()
        .position(|f| f.kind == 0x12 && f.id == 1)
        .expect("in this write");
    let before: usize = written[..at].iter().map(|f| f.payload.len() + 16).sum();
    assert!(before <= 32 * 1024 + 16, "{before}");
}

#[test]
fn small_calls_do_not_keep_large_ones_from_going_on() {
    let (mut dialer, _, _) = busy();
    for _ in 0..3 {
        turn(&mut dialer);
    }
    let (mut whole, mut parts) = (0, 0);
    for _ in 0..20 {
        for _ in 0..40 {
            open(&mut dialer, call(&[1; 4000]));
        }
        for frame in turn(&mut dialer) {
            match frame.kind {
                0x11 => parts += frame.payload.len(),
                _ => whole += frame.payload.len(),
            }
        }
    }
    assert!(
        parts * 2 > whole && whole * 2 > parts,
        "{parts} and {whole}"
    );
}

#[test]
fn calls_that_wait_for_a_slot_go_by_their_priorities() {
    let mut limits = Limits::default();
    limits.max_calls = 1;
    let (mut dialer, mut listener) = ready(&limits);
    open(&mut dialer, call(b"first"));
    pump(&mut dialer, &mut listener, START);
    let mut order = Vec::new();
    for (body, priority) in [
        (b"a", 0),
        (b"b", 3),
        (b"c", 7),
        (b"d", 3),
        (b"e", 7),
        (b"f", 0),
    ] {
        open(&mut dialer, call(body).priority(priority));
    }
    for _ in 0..7 {
        for call in opened(events(&mut listener)) {
            order.extend_from_slice(&call.body);
            reply(&mut listener, call.call, b"").unwrap();
        }
        pump(&mut dialer, &mut listener, START);
    }
    assert_eq!(order, b"firstcebdaf");
}

#[test]
fn large_messages_have_turns_by_their_priorities() {
    let mut limits = Limits::default();
    (limits.call_window, limits.queue_bytes) = (8 * MIB as u32, 32 * MIB);
    let (mut dialer, _) = ready(&limits);
    for priority in [0, 3, 7, 7] {
        open(&mut dialer, large(priority));
    }
    let mut counts = [0u32; 4];
    let mut order = Vec::new();
    for _ in 0..60 {
        for frame in turn(&mut dialer).iter().filter(|f| f.kind == 0x11) {
            counts[(frame.id / 2) as usize] += 1;
            order.push(frame.id);
        }
    }
    // They begin by their priorities. 8 to 4 to 1, and those of 8 share it by turns.
    let total: u32 = counts.iter().sum();
    assert!(
        counts[3] >= total / 13 - 2 && counts[3] <= total / 13 + 2,
        "{counts:?}"
    );
    assert!(
        counts[2] >= 4 * total / 13 - 4 && counts[2] <= 4 * total / 13 + 4,
        "{counts:?}"
    );
    assert!(counts[0].abs_diff(counts[1]) <= 2, "{counts:?}");
    // Once all of them are on the way.
    let both: Vec<_> = order.iter().filter(|id| **id <= 3).skip(8).collect();
    assert!(both.windows(2).all(|two| two[0] != two[1]), "one part each");
}

#[test]
fn a_large_call_that_is_given_up_stops_and_is_answered() {
    let (mut dialer, mut listener) = ready(&Limits::default());
    let id = open(&mut dialer, large(4));
    let begun = sent(&mut dialer, START);
    receive(&mut listener, START, &begun).unwrap();
    cancel(&mut dialer, id).unwrap();
    let bytes = sent(&mut dialer, START);
    assert_eq!(bytes, frame(0x14, 0, 1, 1, &[]), "no more parts");
    receive(&mut listener, START, &bytes).unwrap();
    assert!(events(&mut listener).is_empty(), "nobody heard of it");
    let answer = frames(&sent(&mut listener, START));
    let fail = answer
        .iter()
        .find(|f| f.kind == 0x13)
        .expect("it is answered");
    assert_eq!((fail.id, fail.payload[0]), (1, 1), "Refused");
    assert_eq!(
        ends(&mut dialer),
        [(id, Err((Code::Cancelled, Certainty::MaybeExecuted)))]
    );
    pump(&mut dialer, &mut listener, START);
    let next = open(&mut dialer, call(b"next"));
    pump(&mut dialer, &mut listener, START);
    let calls = opened(events(&mut listener));
    // A reply that waits for credit is given up for the error that says so.
    reply(&mut listener, calls[0].call, &vec![1; 4 * MIB]).unwrap();
    let begun = sent(&mut listener, START);
    cancel(&mut dialer, next).unwrap();
    let bytes = sent(&mut dialer, START);
    receive(&mut listener, START, &bytes).unwrap();
    let answer = frames(&sent(&mut listener, START));
    assert_eq!((answer[0].kind, answer[0].id), (0x13, 3));
    receive(&mut dialer, START, &begun).unwrap();
    for event in events(&mut dialer) {
        assert!(
            matches!(event, Event::Failed { call, .. } if call == next),
            "{event:?}"
        );
    }
    let last = frame(0x13, 0, 1, 3, &answer[0].payload);
    receive(&mut dialer, START, &last).unwrap();
    assert_eq!(dialer.stats().late_frames, 0);
    assert!(dialer.memory_in_use() < 64 * 1024 && listener.memory_in_use() < 64 * 1024);
}

// R8
#[test]
fn a_flood_of_calls_opened_and_given_up_never_has_more_than_its_slots() {
    let mut limits = Limits::default();
    limits.max_calls = 8;
    let (_, mut listener) = ready(&limits);
    let mut running = Vec::new();
    let mut opened_ever = 0;
    for n in 0..10_000u64 {
        let id = 2 * n + 1;
        let flood = [open_frame(id, b"x"), frame(0x14, 0, 1, id, &[])].concat();
        if receive(&mut listener, START, &flood).is_err() {
            // The ninth: giving up frees no slot before the answer does.
            break;
        }
        running.extend(opened(events(&mut listener)));
        opened_ever += 1;
        assert!(running.len() <= 8);
    }
    assert_eq!((opened_ever, running.len()), (8, 8));
    // One whose handlers answer goes on, and never has more either.
    let (_, mut listener) = ready(&limits);
    let mut running = Vec::new();
    for n in 0..10_000u64 {
        let id = 2 * n + 1;
        let flood = [open_frame(id, b"x"), frame(0x14, 0, 1, id, &[])].concat();
        receive(&mut listener, START, &flood).unwrap();
        running.extend(opened(events(&mut listener)));
        assert!(running.len() <= 8);
        if running.len() == 8 {
            let call = running.remove(0);
            reply(&mut listener, call.call, b"").unwrap();
            sent(&mut listener, START);
        }
    }
}
