//! One machine against a peer that means harm, a driver that does things in any order, and a clock
//! that jumps: seeded, so that a case can be run again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bowline_backend::time::Instant;
use bowline_codec::OutputBatch;
use bowline_rpc::Code;
use bowline_rpc::proto::{
    Advertised, BrokenKind, CallId, CallKind, CancelReason, CodecId, Command, Event, Failure,
    Items, Machine, MethodId, Open, Side, StreamEnd, Target,
};
use bytes::{Bytes, BytesMut};

use crate::dice::Dice;
use crate::laws::small;
use crate::pair::{START, frame, machine, open_frame, ready};

/// A machine in some state, and what is known of it.
struct Victim {
    machine: Machine,
    side: Side,
    now: Instant,
    /// How many numbers the peer has used, the calls of it that are open and their hop levels.
    opened: u64,
    levels: BTreeMap<u64, u8>,
    /// The highest number of a call of ours.
    sent: u64,
    input: BytesMut,
    open: BTreeSet<CallId>,
    ended: BTreeMap<CallId, usize>,
    theirs: Vec<CallId>,
    handed: usize,
    closed: usize,
}

/// Does `steps` things in an order drawn from `dice`; the laws hold after each.
pub(crate) fn ordeal(dice: &mut Dice, steps: u64) {
    let side = if dice.one_in(2) {
        Side::Dialer
    } else {
        Side::Listener
    };
    let machine = if dice.one_in(10) {
        machine(side, &small())
    } else {
        let (dialer, listener) = ready(&small());
        if side == Side::Dialer {
            dialer
        } else {
            listener
        }
    };
    let mut victim = Victim {
        machine,
        side,
        now: START,
        opened: 0,
        levels: BTreeMap::new(),
        sent: 0,
        input: BytesMut::new(),
        open: BTreeSet::new(),
        ended: BTreeMap::new(),
        theirs: Vec::new(),
        handed: 0,
        closed: 0,
    };
    let bound = small().report().connection();
    for _ in 0..steps {
        victim.step(dice);
        let held = victim.machine.memory_in_use();
        assert!(held <= bound, "{held} bytes held, {bound} allowed");
    }
    let end = if dice.one_in(2) {
        StreamEnd::Ended
    } else {
        StreamEnd::Broken(BrokenKind::Stalled)
    };
    victim.machine.handle_end(victim.now, end);
    victim.take_events(usize::MAX);
    assert_eq!(victim.machine.poll_timeout(), None);
    assert!(victim.machine.is_finished() && !victim.machine.is_holding());
    assert_eq!(victim.closed, 1, "one end of the connection");
    assert!(victim.open.is_empty(), "calls without an outcome");
    assert!(victim.ended.values().all(|outcomes| *outcomes == 1));
}

impl Victim {
    fn step(&mut self, dice: &mut Dice) {
        let now = self.now;
        match dice.below(16) {
            0..=5 => {
                let bytes = if dice.one_in(100) {
                    dice.input()
                } else {
                    self.allowed(dice)
                };
                let cut = dice.below(bytes.len() as u64 + 1) as usize;
                for part in [&bytes[..cut], &bytes[cut..]] {
                    self.input.extend_from_slice(part);
                    let result = self.machine.handle_bytes(now, &mut self.input);
                    assert!(result.is_ok() || self.input.is_empty(), "{result:?}");
                }
            }
            6..=9 => {
                let command = self.command(dice);
                let opens = matches!(command, Command::Open(_));
                if let (Ok(call), true) = (self.machine.command(now, command), opens) {
                    assert!(self.open.insert(call), "an id was given twice");
                }
            }
            10 | 11 => {
                let mut batch = OutputBatch::new();
                self.machine
                    .poll_transmit(now, &mut batch, dice.below(2000) as usize);
                self.hand_out(&batch);
            }
            12 => {
                // Also more than was ever handed out.
                let taken = dice.below(self.handed as u64 + 100) as usize;
                self.machine.on_transmitted(taken);
                self.handed = self.handed.saturating_sub(taken);
            }
            13 => {
                self.now += Duration::from_millis(dice.below(1000));
                self.machine.handle_timeout(self.now);
            }
            _ => {
                let most = dice.below(8) as usize;
                self.take_events(most);
            }
        }
    }

    /// A frame that a peer may send, perhaps too late or too early.
    fn allowed(&mut self, dice: &mut Dice) -> Vec<u8> {
        let parity = u64::from(self.side == Side::Listener);
        let ours = (self.sent > 0).then(|| {
            let back = 2 * dice.below(self.sent.div_ceil(2).min(6));
            self.sent - back
        });
        let theirs = self.levels.keys().nth(dice.below(6) as usize).copied();
        match (dice.below(16), ours, theirs) {
            (0..=6, ..) => {
                let hops = dice.below(10) as u8;
                let slots = if hops == 0 { 4 } else { 1 };
                let level = hops.min(8);
                if self
                    .levels
                    .values()
                    .filter(|taken| **taken == level)
                    .count()
                    >= slots
                {
                    return Vec::new();
                }
                self.opened += 1 + dice.below(3);
                let id = 2 * self.opened + parity;
                self.levels.insert(id, level);
                let mut bytes = open_frame(id, &dice.bytes(400));
                bytes[23] = hops;
                bytes[31] = dice.next() as u8;
                bytes[20] = dice.pick(&[0, 0, 0, 1, 2, 3, 8]);
                if dice.one_in(6) && bytes.len() > 36 {
                    // The first of many parts: its length is as it may be.
                    bytes[5] = 1;
                    bytes[32] = 0;
                    bytes[33] = dice.below(6) as u8;
                }
                bytes
            }
            (7..=9, Some(ours), _) => match dice.below(6) {
                0 => {
                    let total = [0, dice.below(6) as u8, dice.next() as u8, 0];
                    frame(0x12, 1, 0, ours, &[&total[..], &dice.bytes(40)].concat())
                }
                1 => frame(0x11, u8::from(dice.one_in(4)), 0, ours, &dice.bytes(400)),
                _ => frame(0x12, 0, 0, ours, &dice.bytes(400)),
            },
            (10 | 11, Some(ours), _) => {
                let certainty = 1 + dice.below(3) as u8;
                let mut payload = vec![certainty, dice.below(3) as u8, 0, 0, 0, 0, 0, 3];
                payload.extend(b"msg");
                payload.extend(dice.bytes(40));
                frame(0x13, 0, dice.below(23) as u16, ours, &payload)
            }
            (12, _, Some(theirs)) => match dice.below(4) {
                0 => frame(0x17, 0, 0, theirs, &[]),
                _ => frame(0x11, u8::from(dice.one_in(4)), 0, theirs, &dice.bytes(200)),
            },
            (13, _, Some(theirs)) => frame(0x14, 0, dice.below(7) as u16, theirs, &[]),
            (14, Some(ours), _) => {
                let amount = 1 + dice.below(99) as u32;
                frame(0x15, 0, 0, ours, &amount.to_be_bytes())
            }
            _ if dice.one_in(20) => {
                let last = if dice.one_in(2) { [0xFF; 8] } else { [0; 8] };
                frame(0x05, 0, 0, 0, &[&last[..], &[0; 4]].concat())
            }
            _ => frame(0x07, 0, 0, 0, &[5; 8]),
        }
    }

    /// Takes note of the calls opened and answered in what the machine hands out.
    fn hand_out(&mut self, batch: &OutputBatch) {
        self.handed += batch.len();
        let bytes: Vec<u8> = batch.slices().flatten().copied().collect();
        let mut rest = match bytes.strip_prefix(b"\xB0BWL\r\n\x1A\0") {
            Some(rest) => rest,
            None => &bytes[..],
        };
        while let Some((header, after)) = rest.split_first_chunk::<16>() {
            let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
            let id = header[8..]
                .iter()
                .fold(0, |id, byte| id << 8 | u64::from(*byte));
            match header[4] {
                0x10 => self.sent = id,
                // Those in parts stay taken, which is on the safe side.
                0x12 | 0x13 if header[5] == 0 => {
                    self.levels.remove(&id);
                }
                _ => {}
            }
            rest = &after[length as usize..];
        }
    }

    fn command(&mut self, dice: &mut Dice) -> Command {
        let theirs = self.theirs.get(dice.below(8) as usize).copied();
        let ours = self.open.iter().nth(dice.below(4) as usize).copied();
        let any = theirs.or(ours).unwrap_or(CallId::CONNECTION);
        let mixed = ours.filter(|_| !dice.one_in(4)).unwrap_or(any);
        let within = Duration::from_millis(dice.below(5000));
        match dice.below(40) {
            0..=15 => {
                let target = if dice.one_in(2) {
                    Target::Name("f".repeat(dice.below(260) as usize).into())
                } else {
                    Target::Method(MethodId(dice.below(4) as u32))
                };
                let body = Bytes::from(vec![1; dice.below(20_000) as usize >> dice.below(12)]);
                let mut open = Open::new(target, CodecId(dice.below(5) as u8), body)
                    .hops(dice.below(11) as u8)
                    .kind(CallKind(dice.pick(&[0, 0, 0, 0, 1, 2, 3, 4, 5, 11, 16])));
                if dice.one_in(2) {
                    open = open.deadline(self.now + Duration::from_millis(dice.below(3000)));
                }
                Command::Open(open)
            }
            16..=23 => {
                let body = Bytes::from(vec![2; dice.below(20_000) as usize >> dice.below(12)]);
                Command::Reply { call: any, body }
            }
            24..=28 => {
                let failure = match dice.below(3) {
                    0 => Failure::new(Code::Overloaded)
                        .message("m".repeat(dice.below(9000) as usize)),
                    1 => Failure::application(Bytes::from(vec![3; dice.below(20_000) as usize])),
                    _ => Failure::new(Code::Panic),
                };
                Command::Fail { call: any, failure }
            }
            29 if dice.one_in(3) => {
                let mut items = Items::new();
                let most = 1 + dice.below(1040) as usize;
                for _ in 0..dice.below(200) {
                    items.push(&vec![4; dice.below(20_000) as usize % most]);
                }
                Command::Items { call: mixed, items }
            }
            29 => Command::Item {
                call: mixed,
                body: Bytes::from(vec![4; dice.below(300_000) as usize >> dice.below(16)]),
            },
            30 => Command::End { call: mixed },
            31 => Command::Consumed {
                call: if dice.one_in(5) {
                    CallId::CONNECTION
                } else {
                    mixed
                },
                amount: dice.below(20_000),
            },
            32 | 33 => Command::Cancel {
                call: mixed,
                reason: CancelReason::Dropped,
            },
            34 | 35 => {
                let methods = (0..dice.below(40)).map(|n| {
                    Advertised::new(MethodId(n as u32), "g".repeat(dice.below(220) as usize))
                });
                Command::Advertise(methods.collect())
            }
            36 => Command::Withdraw((0..dice.below(40)).map(|n| MethodId(n as u32)).collect()),
            37 => Command::Drain { within },
            38 => Command::Leave { within },
            _ if dice.one_in(4) => {
                let message = "c".repeat(dice.below(700) as usize).into();
                Command::Close {
                    code: Code::Cancelled,
                    message,
                }
            }
            _ => Command::Withdraw(Vec::new()),
        }
    }

    fn take_events(&mut self, most: usize) {
        for _ in 0..most {
            let Some(event) = self.machine.poll_event() else {
                return;
            };
            assert_eq!(self.closed, 0, "nothing comes after the end: {event:?}");
            match event {
                Event::Opened(call) if call.kind == CallKind::NOTIFY => {}
                Event::Opened(call) => self.theirs.insert(0, call.call),
                Event::Replied { call, .. }
                | Event::Failed { call, .. }
                | Event::Notified { call } => {
                    assert!(self.open.remove(&call), "an outcome of no call");
                    *self.ended.entry(call).or_default() += 1;
                }
                Event::Closed(_) => self.closed += 1,
                _ => {}
            }
        }
    }
}
