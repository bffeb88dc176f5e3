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
        // What the peer has no room for it can still call by name.
        methods.truncate(self.agreed.max_methods as usize);
        self.put_advertise(&methods, usize::from(u16::MAX));
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
            if self.adverts.told() + methods.len() > room.min(self.agreed.max_methods as usize) {
                return Err(Rejected::Overloaded);
            }
            if !self.adverts.has_room(methods.len(), room) {
                return Err(Rejected::NoRoom);
            }
            self.put_advertise(&methods, self.adverts.most_of_frame());
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
        if !self
            .adverts
            .has_room(methods.len().min(self.adverts.told()), room)
        {
            return Err(Rejected::NoRoom);
        }
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
        Ok(CallId::CONNECTION)
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
