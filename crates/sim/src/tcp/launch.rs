//! Putting segments on their way, and what their loss leaves behind.

use super::stream::Fin;
use super::{Kind, Phase, Segment, SocketRef, Syn};
use crate::event::Event;
use crate::state::State;
use crate::trace::EventKind;
use crate::wire::{Fate, Way};

/// What a lost acknowledgement or window said, or one that waits: the next one says it too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) bytes: usize,
    pub(crate) fin: bool,
    pub(crate) window: usize,
}

impl Owed {
    pub(crate) fn is_nothing(self) -> bool {
        self == Owed::default()
    }
}

impl State {
    /// Sends `segment` of the socket `from` to its peer, behind what it sent before.
    pub(super) fn transmit(&mut self, from: SocketRef, segment: Segment) {
        let Some(socket) = self.net.find(from) else {
            return;
        };
        let host = socket.host;
        let Kind::Stream(stream) = &mut socket.kind else {
            return;
        };
        let (Some(to), to_host) = (stream.remote, stream.remote_host) else {
            return;
        };
        let segment = match segment {
            Segment::Ack(said) => {
                let (owed, timer) = stream.take_owed();
                if let Some(key) = timer {
                    self.events.cancel(key);
                }
                Segment::Ack(Owed {
                    bytes: said.bytes + owed.bytes,
                    fin: said.fin || owed.fin,
                    window: said.window + owed.window,
                })
            }
            segment => segment,
        };
        self.launch((host, to_host), from, to, segment, 0);
    }

    /// Answers for the socket `gone`, which no longer exists on `host`. False if the answer was
    /// lost.
    pub(super) fn answer(
        &mut self,
        host: u32,
        gone: SocketRef,
        to: SocketRef,
        segment: Segment,
    ) -> bool {
        let Some(to_host) = self.net.find(to).map(|socket| socket.host) else {
            return true;
        };
        let lost = self.net.lost;
        self.launch((host, to_host), gone, to, segment, 0);
        self.net.lost == lost
    }

    /// Puts a segment on the wire, to arrive not before `earliest`; says when it arrives if that is
    /// known.
    pub(crate) fn launch(
        &mut self,
        way: Way,
        from: SocketRef,
        to: SocketRef,
        segment: Segment,
        earliest: u64,
    ) -> Option<u64> {
        if segment.is_of_the_stream()
            && let Some(stream) = self.net.stream(from)
            && !stream.recovery.stalled.is_empty()
        {
            // It must not overtake what was lost before it.
            stream.recovery.stalled.push_back(segment);
            return None;
        }
        let fate = if segment.is_of_the_stream() && self.has_gap(from, to)
            || self.is_forgotten(way, from, to)
        {
            Fate::Lost
        } else {
            let size = segment.describe().1 as usize;
            let size = if segment.is_of_the_stream() { size } else { 0 };
            let net = &mut self.net;
            net.wires.judge(&mut self.oracle, self.now, way, size)
        };
        match fate {
            Fate::Arrives(arrival) => {
                let mut arrival = arrival.max(earliest);
                let (mut owed, mut timer) = (Owed::default(), None);
                if let Some(stream) = self.net.stream(from) {
                    arrival = arrival.max(stream.last_arrival);
                    stream.last_arrival = arrival;
                    stream.last_use = self.now;
                    if segment.is_of_the_stream() {
                        (owed, timer) = stream.take_owed();
                    }
                }
                if let Some(key) = timer {
                    self.events.cancel(key);
                }
                let event = Event::Segment { from, to, segment };
                self.events.push(arrival, 0, event, self.cause);
                if !owed.is_nothing() {
                    // Every segment acknowledges what arrived.
                    let segment = Segment::Ack(owed);
                    let event = Event::Segment { from, to, segment };
                    self.events.push(arrival, 0, event, self.cause);
                }
                Some(arrival)
            }
            Fate::Held => {
                self.miss(from, to, &segment);
                let event = Event::Segment { from, to, segment };
                self.net.wires.keep(way, event, self.cause);
                None
            }
            Fate::Lost => {
                self.lose(from, to, segment);
                None
            }
        }
    }

    /// Puts a connection request on the wire. Who asked asks again if it is lost.
    pub(crate) fn launch_syn(&mut self, syn: Syn, earliest: u64) -> Option<u64> {
        let way = (syn.host, syn.to_host);
        let net = &mut self.net;
        match net.wires.judge(&mut self.oracle, self.now, way, 0) {
            Fate::Arrives(arrival) => {
                let arrival = arrival.max(earliest);
                self.events.push(arrival, 0, Event::Syn(syn), self.cause);
                return Some(arrival);
            }
            Fate::Held => self.net.wires.keep(way, Event::Syn(syn), self.cause),
            Fate::Lost => self.count_lost("syn", u64::from(syn.from.slot), 0),
        }
        None
    }

    /// Notes a segment that will not arrive, and lets the ends of its connection behave as ends do
    /// that hear nothing.
    pub(super) fn lose(&mut self, from: SocketRef, to: SocketRef, segment: Segment) {
        let (label, size) = segment.describe();
        self.count_lost(label, u64::from(to.slot), size);
        self.miss(from, to, &segment);
        let Some(stream) = self.net.stream(from) else {
            if segment.is_of_the_stream()
                && let Some(reader) = self.net.stream(to)
            {
                reader.gap = true;
            }
            return;
        };
        match segment {
            Segment::Data(_) | Segment::Fin if stream.phase != Phase::Dead => {
                stream.recovery.stalled.push_back(segment);
            }
            Segment::Ack(said) => {
                stream.owed.bytes += said.bytes;
                stream.owed.fin |= said.fin;
                stream.owed.window += said.window;
            }
            _ => {}
        }
    }

    /// Whether something is lost that `from`, which is gone, sent before: nobody sends it again, and what
    /// was held back behind it must not come in its place.
    fn has_gap(&mut self, from: SocketRef, to: SocketRef) -> bool {
        self.net.stream(from).is_none() && self.net.stream(to).is_some_and(|reader| reader.gap)
    }

    /// Starts the timer of the end that will miss `segment`, or the answer to it.
    fn miss(&mut self, from: SocketRef, to: SocketRef, segment: &Segment) {
        match segment {
            Segment::Data(_) | Segment::Fin => self.expect_answer(from),
            Segment::SynAck { .. } => self.expect_handshake(from),
            Segment::Established { .. } => self.expect_handshake(to),
            Segment::Ack(_) | Segment::Rst => {
                self.expect_handshake(to);
                if self.net.stream(to).is_some_and(|stream| stream.is_owed()) {
                    self.expect_answer(to);
                }
            }
            Segment::Probe => {}
        }
    }

    /// Whether a translator on the way has forgotten the connection, now or before.
    fn is_forgotten(&mut self, way: Way, from: SocketRef, to: SocketRef) -> bool {
        if !self.net.wires.forgetful {
            return false;
        }
        let (now, forgets) = (self.now, self.net.wires.forgets(way));
        let uses = [from, to].map(|end| {
            let stream = self.net.stream(end)?;
            Some((stream.last_use, stream.forgotten))
        });
        let ends = || uses.iter().flatten();
        if ends().any(|end| end.1) {
            return true;
        }
        let (Some(after), Some(used)) = (forgets, ends().map(|end| end.0).max()) else {
            return false;
        };
        // What was never used is new.
        let forgotten = used > 0 && now - used > after;
        if forgotten {
            self.forget_flow(from, to);
        }
        forgotten
    }

    /// Lets every later segment between the two vanish.
    pub(crate) fn forget_flow(&mut self, one: SocketRef, other: SocketRef) {
        self.net.wires.forgetful = true;
        for end in [one, other] {
            if let Some(stream) = self.net.stream(end) {
                stream.forgotten = true;
            }
        }
    }

    pub(crate) fn count_lost(&mut self, label: &'static str, a: u64, b: u64) {
        self.record(EventKind::Lost, label, a, b);
        self.net.lost += 1;
    }
}

impl super::Stream {
    /// Whether it sent something that its peer did not acknowledge.
    pub(super) fn is_owed(&self) -> bool {
        self.phase == Phase::Established && (self.in_flight > 0 || self.fin == Fin::Sent)
    }
}
