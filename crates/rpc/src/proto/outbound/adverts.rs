//! The methods this side offers.

use bowline_backend::time::Instant;
use bowline_codec::OutputBatch;
use bytes::{BufMut, BytesMut};

use crate::proto::adverts::Adverts;
use crate::proto::frame::{ADVERTISE, HEADER, Header, PING, WITHDRAW};
use crate::proto::machine::Phase;
use crate::proto::methods::MAX_NAME;
use crate::proto::{Advertised, CallId, Machine, MethodId, Rejected};

impl Machine {
    /// Queues the first snapshot, which is one frame even if it is empty.
    pub(in crate::proto) fn put_snapshot(&mut self) {
        let mut methods = std::mem::take(&mut self.snapshot);
        if self.adverts.is_over() {
            return;
        }
        self.adverts = Adverts::to(self.agreed.max_methods);
        methods.retain(|method| self.may_call(method));
        self.hide_beyond(&mut methods);
        self.put_advertise(&methods, usize::from(u16::MAX));
    }

    /// Takes out what the peer has no room for: it can still call that by name, and hears of it once others
    /// are gone.
    fn hide_beyond(&mut self, methods: &mut Vec<Advertised>) {
        let room = self.room_at_peer().min(methods.len());
        self.adverts.hide(methods.split_off(room));
    }

    /// How many methods more the peer takes.
    fn room_at_peer(&self) -> usize {
        (self.agreed.max_methods as usize).saturating_sub(self.adverts.told())
    }

    /// Queues ADVERTISEs of `methods`, with at most `most` in each.
    fn put_advertise(&mut self, methods: &[Advertised], most: usize) {
        let mut rest = methods;
        loop {
            let mut room = self.agreed.max_frame;
            let fits = rest.iter().take(most).take_while(|method| {
                let fits = method.wire_len() <= room;
                room = room.saturating_sub(method.wire_len());
                fits
            });
            let (now, later) = rest.split_at(fits.count());
            let length: usize = now.iter().map(Advertised::wire_len).sum();
            let mut header = Header::new(ADVERTISE, length, now.len() as u16, 0);
            if !later.is_empty() {
                header = header.with_more();
            }
            let mut frame = BytesMut::with_capacity(HEADER + length);
            frame.put_slice(&header.to_bytes());
            for method in now {
                method.put(&mut frame);
                self.adverts.tell(method.method);
            }
            self.adverts.push(now.len(), frame.freeze());
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
    }

    /// Whether the peer may know of a method of ours.
    fn may_call(&self, method: &Advertised) -> bool {
        let principal = &self.principal;
        self.config.may_call(self.side, principal, &method.name)
    }

    pub(in crate::proto) fn advertise(
        &mut self,
        mut methods: Vec<Advertised>,
    ) -> Result<CallId, Rejected> {
        let named = |m: &Advertised| m.method.0 != 0 && (1..=MAX_NAME).contains(&m.name.len());
        if !methods.iter().all(named) {
            return Err(Rejected::BadName);
        }
        let room = self.config.limits.max_methods as usize;
        if self.phase == Phase::Open && !self.offers_later {
            methods.retain(|method| self.may_call(method));
            if methods.is_empty() || self.adverts.is_over() {
                return Ok(CallId::CONNECTION);
            }
            if self.adverts.known() + methods.len() > room {
                return Err(Rejected::Overloaded);
            }
            if !self.adverts.has_room(methods.len(), room) {
                return Err(Rejected::NoRoom);
            }
            self.hide_beyond(&mut methods);
            self.put_more(&methods);
        } else {
            if self.snapshot.len() + methods.len() > room {
                return Err(Rejected::Overloaded);
            }
            self.snapshot.extend(methods);
            if self.phase == Phase::Open {
                self.offers_later = false;
                self.put_snapshot();
            }
        }
        Ok(CallId::CONNECTION)
    }

    pub(in crate::proto) fn withdraw(
        &mut self,
        mut methods: Vec<MethodId>,
    ) -> Result<CallId, Rejected> {
        if self.phase != Phase::Open {
            self.snapshot
                .retain(|method| !methods.contains(&method.method));
            return Ok(CallId::CONNECTION);
        }
        let room = self.config.limits.max_methods as usize;
        let gone = methods.len().min(self.adverts.told());
        let shown = gone.min(self.adverts.hidden());
        if !self.adverts.has_room(gone + shown, room) {
            return Err(Rejected::NoRoom);
        }
        self.adverts.unhide(&methods);
        // What the peer was not told of it need not be told is gone: it counts that all the same.
        methods.retain(|method| self.adverts.untell(*method));
        if self.adverts.is_over() {
            return Ok(CallId::CONNECTION);
        }
        let most = self.adverts.most_of_frame().min(self.agreed.max_frame / 4);
        for part in methods.chunks(most) {
            let mut frame = BytesMut::with_capacity(HEADER + part.len() * 4);
            let header = Header::new(WITHDRAW, part.len() * 4, part.len() as u16, 0);
            frame.put_slice(&header.to_bytes());
            part.iter().for_each(|method| frame.put_u32(method.0));
            self.adverts.push(part.len(), frame.freeze());
        }
        let shown = self.adverts.reveal(self.room_at_peer());
        self.put_more(&shown);
        Ok(CallId::CONNECTION)
    }

    /// Queues ADVERTISEs of `methods`, if there are any.
    fn put_more(&mut self, methods: &[Advertised]) {
        if !methods.is_empty() {
            self.put_advertise(methods, self.adverts.most_of_frame());
        }
    }

    /// Sends what is to be told of methods, as far as the peer lets it through.
    pub(super) fn put_adverts(&mut self, now: Instant, out: &mut OutputBatch) {
        while let Some(frame) = self.adverts.next(now) {
            out.put_bytes(frame);
            out.frame_done();
        }
        if let Some(question) = self.adverts.question() {
            out.put_slice(&Header::new(PING, question.len(), 0, 0).to_bytes());
            out.put_slice(&question);
            out.frame_done();
        }
    }

    /// Whether all that is to be told of methods was sent.
    pub(crate) fn has_told(&self) -> bool {
        self.adverts.is_empty()
    }
}
