//! What breaks the rules once a connection is ready breaks them before, too: nothing of it is taken,
//! kept or answered but with the one CLOSE.

use std::sync::Arc;

use bowline_rpc::proto::{CloseCause, Config, Event, Machine, Side, Violation};
use bowline_rpc::{Limits, Secret};
use bytes::BytesMut;

use crate::pair::{START, events, frame, open_frame, opened, ready, receive, sent};

const PREFACE: &[u8] = b"\xB0BWL\r\n\x1A\0";

/// Bytes of a dialer that means harm, and the rule they break once the connection is ready.
struct Harm {
    what: &'static str,
    bytes: Vec<u8>,
    breaks: Violation,
}

fn harm(what: &'static str, bytes: Vec<u8>, rule: &'static str) -> Harm {
    let breaks = match rule {
        "pings" | "advertisements" => Violation::Flood(rule),
        _ => Violation::Rule(rule),
    };
    Harm {
        what,
        bytes,
        breaks,
    }
}

/// The first part of arguments of `total` bytes.
fn first_of(id: u64, total: u32, part: &[u8]) -> Vec<u8> {
    let mut bytes = open_frame(id, &[&total.to_be_bytes()[..], part].concat());
    bytes[5] = 1;
    bytes
}

/// With limits of which there are few of everything.
fn few() -> Limits {
    let mut limits = Limits::default();
    (limits.max_calls, limits.max_methods) = (8, 4);
    (limits.max_frame, limits.call_window, limits.max_message) = (4096, 4096, 100_000);
    limits
}

fn every_harm() -> Vec<Harm> {
    let credit = |id, amount: u32| frame(0x15, 0, 0, id, &amount.to_be_bytes());
    let entry = |id: u32, name: &[u8]| {
        let length = (name.len() as u16).to_be_bytes();
        [&id.to_be_bytes(), &[0; 14][..], &[0, 1], &length, name].concat()
    };
    let calls = |count: u64| -> Vec<u8> {
        (0..count)
            .flat_map(|n| open_frame(2 * n + 1, b""))
            .collect()
    };
    let given_up = |count: u64| -> Vec<u8> {
        let both = |id| [open_frame(id, b"x"), frame(0x14, 0, 1, id, &[])].concat();
        (0..count).flat_map(|n| both(2 * n + 1)).collect()
    };
    let ping = frame(0x06, 0, 0, 0, &[0; 8]);
    let withdraw = frame(0x21, 0, 1, 0, &[0, 0, 0, 9]);
    vec![
        harm(
            "R3 a number of the other side",
            open_frame(2, b""),
            "id-parity",
        ),
        harm(
            "R3 a number twice",
            [calls(3), open_frame(5, b"")].concat(),
            "id-decrease",
        ),
        harm(
            "R3 a number far away",
            open_frame(3 + (1 << 20), b""),
            "id-step",
        ),
        harm(
            "R3 an answer to nothing",
            frame(0x12, 0, 0, 2, b"y"),
            "id-unknown",
        ),
        harm("R8 more calls than slots", calls(9), "max-calls"),
        harm("R8 calls given up at once", given_up(10_000), "max-calls"),
        harm("R9 many PINGs", ping.repeat(10_000), "pings"),
        harm(
            "R9 many WITHDRAWs",
            withdraw.repeat(10_000),
            "advertisements",
        ),
        harm(
            "R9 more methods than there may be",
            (1..=5)
                .flat_map(|n| frame(0x20, 0, 1, 0, &entry(n, &[b'a' + n as u8])))
                .collect(),
            "advertisements",
        ),
        harm("R10 credit of nothing", credit(0, 0), "credit-zero"),
        harm(
            "R10 credit without end",
            credit(0, 1 << 31),
            "credit-overflow",
        ),
        harm(
            "R10 more than the window of a call",
            [
                first_of(1, 90_000, &[1; 4000]),
                frame(0x11, 1, 0, 1, &[1; 4000]),
            ]
            .concat(),
            "call-window",
        ),
        harm(
            "R13 fewer bytes than their total",
            [first_of(1, 10, b"12345"), frame(0x11, 0, 0, 1, b"6789")].concat(),
            "message-total",
        ),
        harm(
            "R13 more bytes than their total",
            [first_of(1, 10, b"12345"), frame(0x11, 0, 0, 1, b"678901")].concat(),
            "message-total",
        ),
        harm(
            "R22 what is critical and unknown",
            frame(0x70, 0x80, 0, 0, b"?"),
            "critical-frame",
        ),
        harm(
            "a second HELLO",
            frame(0x01, 0, 0, 0, &[0; 100]),
            "handshake-again",
        ),
    ]
}

fn closed(machine: &mut Machine) -> Violation {
    match &events(machine)[..] {
        [.., Event::Closed(CloseCause::Violation(violation))] => *violation,
        other => panic!("not closed: {other:?}"),
    }
}

/// Code and message of the one CLOSE in what a machine sends.
fn close_in(bytes: &[u8]) -> (u16, String) {
    let mut closes = Vec::new();
    let mut rest = bytes.strip_prefix(PREFACE).unwrap_or(bytes);
    while let Some((header, after)) = rest.split_first_chunk::<16>() {
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if header[4] == 4 {
            let code = u16::from_be_bytes([header[6], header[7]]);
            closes.push((code, String::from_utf8_lossy(&after[..length]).into_owned()));
        }
        rest = &after[length..];
    }
    assert_eq!(closes.len(), 1, "one CLOSE: {closes:?}");
    closes.remove(0)
}

// R3, R8, R9, R10, R13, R22
#[test]
fn harm_done_by_a_peer_that_is_ready_ends_its_connection_within_the_bounds() {
    for Harm {
        what,
        bytes,
        breaks,
    } in every_harm()
    {
        let (_, mut listener) = ready(&few());
        let bound = few().report().connection();
        // As it comes: in parts, after each of which the driver looks.
        let (mut input, mut result, mut calls) = (BytesMut::new(), Ok(()), 0);
        for part in bytes.chunks(1000) {
            input.extend_from_slice(part);
            result = listener.handle_bytes(START, &mut input);
            assert!(listener.memory_in_use() <= bound, "{what}");
            if result.is_err() {
                break;
            }
            calls += opened(events(&mut listener)).len();
            assert!(calls <= 8, "{what}: {calls} calls run");
        }
        assert_eq!(result, Err(breaks), "{what}");
        assert_eq!(closed(&mut listener), breaks, "{what}");
        let (code, message) = close_in(&sent(&mut listener, START));
        assert_eq!(
            (code, &*message),
            (breaks.code().as_u16(), breaks.rule()),
            "{what}"
        );
        assert!(
            listener.is_finished() && listener.memory_in_use() < 16 * 1024,
            "{what}"
        );
    }
}

/// How far a handshake has come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// The preface of the peer is there.
    Hello,
    /// Its HELLO too, and its READY is due.
    Ready,
    /// Its HELLO too, and its proof is due.
    Proof,
}

/// A machine of `side` whose peer has said so much.
fn early(side: Side, stage: Stage) -> Machine {
    let with = |instance| {
        let config = Config::new("example", [instance; 16]).limits(few());
        Arc::new(match stage {
            Stage::Proof => config.secret("k", Secret::new([7; 16]).expect("long enough")),
            _ => config,
        })
    };
    let mut dialer = Machine::new(with(1), Side::Dialer, START, [1; 32]);
    let mut listener = Machine::new(with(2), Side::Listener, START, [2; 32]);
    let hello = sent(&mut dialer, START);
    let (mut victim, said) = match side {
        Side::Listener => (listener, hello),
        Side::Dialer => {
            receive(&mut listener, START, &hello).expect("it fits");
            (dialer, sent(&mut listener, START))
        }
    };
    let length = u32::from_be_bytes([said[8], said[9], said[10], said[11]]) as usize;
    let end = match stage {
        Stage::Hello => PREFACE.len(),
        _ => PREFACE.len() + 16 + length,
    };
    receive(&mut victim, START, &said[..end]).expect("it fits");
    sent(&mut victim, START);
    assert!(events(&mut victim).is_empty() && !victim.is_ready());
    victim
}

// R3, R8, R9, R10, R13, R22
#[test]
fn harm_done_before_a_connection_is_ready_costs_nothing_and_ends_it() {
    let stages = [Stage::Hello, Stage::Ready, Stage::Proof];
    let sides = [Side::Listener, Side::Dialer];
    let all = sides
        .into_iter()
        .flat_map(|side| stages.map(|stage| (side, stage)));
    for (side, stage) in all {
        // There is nothing that may be ignored, either, and nothing that costs a call alone.
        let ignored = frame(0x70, 0, 0, 0, b"?");
        let too_long = first_of(1, u32::MAX, b"1");
        let mild = [("R22 unknown", ignored), ("R13 over the limit", too_long)];
        let mild = mild.map(|(what, bytes)| harm(what, bytes, "handshake-order"));
        for Harm { what, bytes, .. } in every_harm().into_iter().chain(mild) {
            let mut victim = early(side, stage);
            let before = victim.memory_in_use();
            let (mut input, mut result) = (BytesMut::new(), Ok(()));
            for part in bytes.chunks(1000) {
                input.extend_from_slice(part);
                result = victim.handle_bytes(START, &mut input);
                assert!(
                    victim.memory_in_use() <= before + 1024,
                    "{side:?} {stage:?} {what}"
                );
                if result.is_err() {
                    break;
                }
            }
            let violation = result.expect_err(what);
            let first = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            match violation {
                Violation::HandshakeTooLong { limit: 4096 } => assert!(first > 3900, "{what}"),
                // All zeros: it asks for no version there is.
                Violation::Rule(_) | Violation::NothingCommon(_) if what == "a second HELLO" => {}
                other => assert_eq!(other, Violation::Rule("handshake-order"), "{what}"),
            }
            let seen = events(&mut victim);
            assert!(
                matches!(&seen[..], [Event::Closed(_)]),
                "{side:?} {stage:?} {what}: {seen:?}"
            );
            let said = sent(&mut victim, START);
            let is_stranger = (side, stage) == (Side::Listener, Stage::Hello);
            if is_stranger && !matches!(violation, Violation::NothingCommon(_)) {
                assert!(said.is_empty(), "{what}: {said:?}");
            } else {
                let (code, message) = close_in(&said);
                assert_eq!(
                    (code, &*message),
                    (violation.code().as_u16(), violation.rule()),
                    "{what}"
                );
            }
            assert!(
                victim.is_finished() && victim.memory_in_use() <= before + 1024,
                "{what}"
            );
        }
    }
}
