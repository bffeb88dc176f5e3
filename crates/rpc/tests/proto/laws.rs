//! What holds for every machine, whatever is done to it: for property tests and the fuzzer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bowline_backend::time::Instant;
use bowline_codec::OutputBatch;
use bowline_rpc::proto::{
    BrokenKind, CallId, CallKind, CancelReason, CodecId, Command, Event, Failure, Items, Machine,
    Open, Rejected, Side, StreamEnd, Target, charge,
};
use bowline_rpc::{Certainty, Code, Limits};
use bytes::{Bytes, BytesMut};

use crate::pair::{START, events, machine, millis};

pub(crate) fn small() -> Limits {
    let mut limits = Limits::paranoid();
    (limits.max_calls, limits.queue_calls) = (4, 8);
    limits
}

/// Everything there is to see of a machine after it was fed `bytes` in parts.
pub(crate) fn story(mut machine: Machine, parts: &[&[u8]]) -> Vec<String> {
    let mut story = Vec::new();
    let mut input = BytesMut::new();
    let mut failed = false;
    for part in parts {
        input.extend_from_slice(part);
        let result = machine.handle_bytes(START, &mut input);
        assert!(!failed || result.is_err(), "a violation stays");
        if let (Err(violation), false) = (result, failed) {
            failed = true;
            story.push(format!("{violation:?}"));
        }
        story.extend(
            events(&mut machine)
                .iter()
                .map(|event| format!("{event:?}")),
        );
    }
    machine.handle_end(START, StreamEnd::Ended);
    story.extend(
        events(&mut machine)
            .iter()
            .map(|event| format!("{event:?}")),
    );
    story.push(format!("{:?}", machine.stats()));
    assert!(machine.poll_timeout().is_none() && machine.is_finished());
    // A violation and what was told before it come in either order, as events are polled after it.
    story.sort_unstable();
    story
}

/// Two machines, the bytes between them, and what each caller and each executor knows.
pub(crate) struct Joined {
    ends: [End; 2],
    now: Instant,
}

struct End {
    machine: Machine,
    /// Bytes handed out and not yet taken by the transport.
    out: Vec<u8>,
    /// Bytes on the way to this end, and those in its buffer.
    wire: Vec<u8>,
    input: BytesMut,
    open: BTreeMap<CallId, Vec<u8>>,
    outcomes: BTreeMap<CallId, usize>,
    never_ran: Vec<Vec<u8>>,
    running: Vec<(CallId, Vec<u8>)>,
    ran: BTreeSet<Vec<u8>>,
    /// Items said on calls of ours and not yet heard again.
    said: BTreeMap<CallId, VecDeque<Vec<u8>>>,
    /// Items heard on calls of the peer and not yet said again.
    heard: VecDeque<(CallId, Bytes)>,
    seen: BTreeSet<CallId>,
    opens: u32,
}

impl Joined {
    pub(crate) fn new() -> Self {
        let end = |side| End {
            machine: machine(side, &small()),
            out: Vec::new(),
            wire: Vec::new(),
            input: BytesMut::new(),
            open: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            never_ran: Vec::new(),
            running: Vec::new(),
            ran: BTreeSet::new(),
            said: BTreeMap::new(),
            heard: VecDeque::new(),
            seen: BTreeSet::new(),
            opens: 0,
        };
        Self {
            ends: [end(Side::Dialer), end(Side::Listener)],
            now: START,
        }
    }

    pub(crate) fn run(&mut self, steps: &[(u8, u16)]) {
        for (what, n) in steps {
            self.step(*what, usize::from(*n));
            self.check();
        }
        // The connection breaks with whatever is on the way; nobody is left without an outcome.
        for end in &mut self.ends {
            end.machine
                .handle_end(self.now, StreamEnd::Broken(BrokenKind::Stalled));
            end.take_events();
            assert!(end.machine.poll_timeout().is_none());
            assert!(end.outcomes.values().all(|n| *n == 1));
            assert_eq!(end.outcomes.len(), end.opens as usize);
        }
        let ran: Vec<_> = self.ends.iter().map(|end| end.ran.clone()).collect();
        for (caller, executor) in [(0, 1), (1, 0)] {
            for body in &self.ends[caller].never_ran {
                assert!(
                    !ran[executor].contains(body),
                    "told that it did not run, and it did"
                );
            }
        }
    }

    fn step(&mut self, what: u8, n: usize) {
        let now = self.now;
        let side = n & 1;
        let mut amount = (n >> 1) % 300;
        if (6..=10).contains(&what) && n.is_multiple_of(3) {
            amount *= 300;
        }
        match what {
            0..=2 => self.ends[side].open(now, amount),
            3 => self.ends[side].cancel(now, amount),
            12 => self.ends[side].say(now, amount),
            13 => self.ends[side].echo(now),
            4 | 5 => self.ends[side].answer(now, amount),
            6 | 7 => {
                // The machine hands out, the transport takes a part.
                let end = &mut self.ends[side];
                let mut batch = OutputBatch::new();
                end.machine.poll_transmit(now, &mut batch, amount * 4);
                end.out.extend(batch.slices().flatten());
                let taken = amount.min(end.out.len());
                let bytes: Vec<u8> = end.out.drain(..taken).collect();
                end.machine.on_transmitted(taken);
                self.ends[1 - side].wire.extend(bytes);
            }
            8..=10 => {
                let end = &mut self.ends[side];
                let taken = (amount * 3).min(end.wire.len());
                end.input.extend(end.wire.drain(..taken));
                end.machine
                    .handle_bytes(now, &mut end.input)
                    .expect("our own machine keeps the rules");
                end.take_events();
            }
            _ => {
                self.now += millis((amount as u64).min(40));
                for end in &mut self.ends {
                    end.machine.handle_timeout(self.now);
                    end.take_events();
                }
            }
        }
    }

    fn check(&self) {
        for end in &self.ends {
            let bound = small().report().connection();
            assert!(end.machine.memory_in_use() <= bound);
            assert!(end.outcomes.values().all(|n| *n == 1));
        }
    }
}

impl End {
    fn open(&mut self, now: Instant, n: usize) {
        let mut body = self.opens.to_be_bytes().to_vec();
        // Some go out in parts.
        let length = if n.is_multiple_of(7) { n * 200 } else { n };
        body.resize(4 + length, 0);
        let mut open = Open::new(
            Target::Name("f".into()),
            CodecId::JSON,
            Bytes::from(body.clone()),
        )
        .hops((n % 3) as u8)
        .priority((n % 8) as u8);
        if n.is_multiple_of(5) {
            open = open.kind(CallKind::BOTH_STREAM);
        }
        if n.is_multiple_of(2) {
            open = open.deadline(now + millis(n as u64));
        }
        if let Ok(id) = self.machine.command(now, Command::Open(open)) {
            self.opens += 1;
            if n.is_multiple_of(5) {
                self.said.insert(id, VecDeque::new());
            }
            assert!(
                self.open.insert(id, body).is_none(),
                "an id was given twice"
            );
        }
    }

    /// An item on the oldest call that streams, or the end of its items.
    fn say(&mut self, now: Instant, n: usize) {
        let Some((call, said)) = self.said.iter_mut().next() else {
            return;
        };
        let call = *call;
        if n.is_multiple_of(41) {
            let _ = self.machine.command(now, Command::End { call });
            return;
        }
        if n.is_multiple_of(11) {
            let together: Vec<_> = (0..n % 7).map(|k| vec![k as u8; n * k % 400]).collect();
            let mut items = Items::new();
            together.iter().for_each(|item| items.push(item));
            let sent = self.machine.command(now, Command::Items { call, items });
            if sent.is_ok() {
                said.extend(together);
            }
            return;
        }
        let length = if n.is_multiple_of(13) { n * 100 } else { n };
        let item = vec![n as u8; length];
        let body = Bytes::from(item.clone());
        if self
            .machine
            .command(now, Command::Item { call, body })
            .is_ok()
        {
            said.push_back(item);
        }
    }

    /// Says again what was heard first, and only then counts it as taken.
    fn echo(&mut self, now: Instant) {
        let Some((call, body)) = self.heard.pop_front() else {
            return;
        };
        let item = body.clone();
        match self.machine.command(now, Command::Item { call, body }) {
            Err(Rejected::NoRoom) => self.heard.push_front((call, item)),
            Err(_) => {}
            Ok(_) => {
                let amount = charge(item.len());
                let taken = Command::Consumed { call, amount };
                self.machine.command(now, taken).expect("it is open");
            }
        }
    }

    fn cancel(&mut self, now: Instant, n: usize) {
        let ids: Vec<_> = self.open.keys().copied().collect();
        if !ids.is_empty() {
            let call = ids[n % ids.len()];
            let _ = self.machine.command(
                now,
                Command::Cancel {
                    call,
                    reason: CancelReason::Dropped,
                },
            );
            self.take_events();
        }
    }

    fn answer(&mut self, now: Instant, n: usize) {
        if self.running.is_empty() {
            return;
        }
        let (call, body) = self.running.swap_remove(n % self.running.len());
        let command = if n.is_multiple_of(3) {
            Command::Fail {
                call,
                failure: Failure::new(Code::Overloaded),
            }
        } else {
            self.ran.insert(body.clone());
            Command::Reply {
                call,
                body: Bytes::from(body),
            }
        };
        let _ = self.machine.command(now, command);
    }

    fn take_events(&mut self) {
        for event in events(&mut self.machine) {
            match event {
                Event::Opened(call) => {
                    // Those whose arguments have parts come later than they were opened.
                    assert!(self.seen.insert(call.call), "a number twice");
                    self.running.push((call.call, call.body.to_vec()));
                }
                Event::Item { call, body } if call.is_ours() => {
                    let said = self.said.get_mut(&call).and_then(VecDeque::pop_front);
                    assert_eq!(
                        said.as_deref(),
                        Some(&body[..]),
                        "items in order, unchanged"
                    );
                    let amount = charge(body.len());
                    let _ = self
                        .machine
                        .command(START, Command::Consumed { call, amount });
                }
                Event::Item { call, body } => self.heard.push_back((call, body)),
                Event::Replied { call, body } => {
                    self.said.remove(&call);
                    let sent = self.open.remove(&call).expect("a call that was open");
                    assert_eq!(&body[..], &sent[..], "an echo");
                    *self.outcomes.entry(call).or_default() += 1;
                }
                Event::Failed { call, error } => {
                    self.said.remove(&call);
                    let sent = self.open.remove(&call).expect("a call that was open");
                    *self.outcomes.entry(call).or_default() += 1;
                    if error.certainty().did_not_run() {
                        self.never_ran.push(sent);
                    } else {
                        assert_ne!(
                            error.certainty(),
                            Certainty::Executed,
                            "no handler fails here"
                        );
                    }
                }
                _ => {}
            }
        }
    }
}
