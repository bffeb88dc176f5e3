//! Two machines joined by hand, and one machine facing bytes written by hand.
#![allow(dead_code)] // The fuzzer uses a part.

use std::sync::Arc;
use std::time::Duration;

use bowline_backend::time::Instant;
use bowline_codec::OutputBatch;
use bowline_rpc::proto::{
    CallId, CancelReason, CodecId, Command, Config, Event, IncomingCall, Machine, Open, Rejected,
    Side, Target, Violation,
};
use bowline_rpc::{Certainty, Code, Limits};
use bytes::{Bytes, BytesMut};

pub(crate) const START: Instant = Instant::from_nanos(1_000_000_000);

pub(crate) fn config(limits: &Limits) -> Arc<Config> {
    Arc::new(Config::new("example", [7; 16]).limits(limits.clone()))
}

pub(crate) fn machine(side: Side, limits: &Limits) -> Machine {
    Machine::new(config(limits), side, START, [1; 32])
}

/// Takes what a machine wants to send; as if the transport took it all.
pub(crate) fn sent(machine: &mut Machine, now: Instant) -> Vec<u8> {
    let bytes = handed_out(machine, now);
    machine.on_transmitted(bytes.len());
    bytes
}

/// Takes what a machine wants to send, of which the transport has taken nothing yet.
pub(crate) fn handed_out(machine: &mut Machine, now: Instant) -> Vec<u8> {
    let mut batch = OutputBatch::new();
    while machine.poll_transmit(now, &mut batch, usize::MAX) {}
    batch.slices().flatten().copied().collect()
}

pub(crate) fn events(machine: &mut Machine) -> Vec<Event> {
    let events = std::iter::from_fn(|| machine.poll_event());
    events.flat_map(one_by_one).collect()
}

/// How many items come together is a matter of how the bytes came.
pub(crate) fn one_by_one(event: Event) -> Vec<Event> {
    match event {
        Event::Items { call, items } => {
            assert!(items.iter().count() > 1, "one comes alone");
            let item = |body| Event::Item {
                call,
                body: Bytes::copy_from_slice(body),
            };
            items.iter().map(item).collect()
        }
        event => vec![event],
    }
}

pub(crate) fn receive(machine: &mut Machine, now: Instant, bytes: &[u8]) -> Result<(), Violation> {
    let mut input = BytesMut::from(bytes);
    let result = machine.handle_bytes(now, &mut input);
    assert!(
        input.is_empty() || result.is_ok(),
        "a violation discards the input"
    );
    result
}

pub(crate) fn frame(kind: u8, flags: u8, aux: u16, id: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes().to_vec();
    out.extend([kind, flags]);
    out.extend(aux.to_be_bytes());
    out.extend(id.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) more: bool,
    pub(crate) id: u64,
    pub(crate) payload: Vec<u8>,
}

/// The frames in bytes that hold whole ones, after the handshake.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<16>() {
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let id = header[8..]
            .iter()
            .fold(0, |id, byte| id << 8 | u64::from(*byte));
        frames.push(Frame {
            kind: header[4],
            more: header[5] & 1 != 0,
            id,
            payload: rest[..length].to_vec(),
        });
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "a part of a frame");
    frames
}

/// An OPEN of method 1 at hop level 0 without deadline.
pub(crate) fn open_frame(id: u64, body: &[u8]) -> Vec<u8> {
    let head = [0, 0, 0, 1, 0, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    frame(0x10, 0, 0, id, &[&head[..], body].concat())
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|two| (two[0] * 16 + two[1]) as u8)
        .collect()
}

/// Two machines past their handshake, with no event left.
pub(crate) fn ready(limits: &Limits) -> (Machine, Machine) {
    let mut dialer = machine(Side::Dialer, limits);
    let mut listener = machine(Side::Listener, limits);
    pump(&mut dialer, &mut listener, START);
    assert!(dialer.is_ready() && listener.is_ready());
    events(&mut dialer);
    events(&mut listener);
    (dialer, listener)
}

/// Carries bytes until both are silent.
pub(crate) fn pump(a: &mut Machine, b: &mut Machine, now: Instant) {
    loop {
        let (from_a, from_b) = (sent(a, now), sent(b, now));
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        receive(b, now, &from_a).expect("no violation");
        receive(a, now, &from_b).expect("no violation");
    }
}

pub(crate) fn call(body: &[u8]) -> Open {
    Open::new(
        Target::Name("mul".into()),
        CodecId::POSTCARD,
        Bytes::copy_from_slice(body),
    )
}

pub(crate) fn open(machine: &mut Machine, open: Open) -> CallId {
    machine
        .command(START, Command::Open(open))
        .expect("the call is taken")
}

pub(crate) fn reply(machine: &mut Machine, call: CallId, body: &[u8]) -> Result<CallId, Rejected> {
    machine.command(
        START,
        Command::Reply {
            call,
            body: Bytes::copy_from_slice(body),
        },
    )
}

pub(crate) fn opened(events: Vec<Event>) -> Vec<IncomingCall> {
    let calls = events.into_iter().filter_map(|event| match event {
        Event::Opened(call) => Some(call),
        _ => None,
    });
    calls.collect()
}

pub(crate) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) type Outcome = (CallId, Result<Vec<u8>, (Code, Certainty)>);

/// The ends of calls of ours.
pub(crate) fn ends(machine: &mut Machine) -> Vec<Outcome> {
    let ends = events(machine).into_iter().filter_map(|event| match event {
        Event::Replied { call, body } => Some((call, Ok(body.to_vec()))),
        Event::Failed { call, error } => Some((call, Err((error.code(), error.certainty())))),
        _ => None,
    });
    ends.collect()
}

/// The application has taken so much.
pub(crate) fn consumed(machine: &mut Machine, call: CallId, amount: u64) {
    let command = Command::Consumed { call, amount };
    machine.command(START, command).expect("it is known");
}

pub(crate) fn cancel(machine: &mut Machine, call: CallId) -> Result<CallId, Rejected> {
    machine.command(
        START,
        Command::Cancel {
            call,
            reason: CancelReason::Dropped,
        },
    )
}
