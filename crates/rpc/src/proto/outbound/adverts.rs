//! The methods this side offers.

use bytes::{BufMut, BytesMut};

use crate::proto::frame::{ADVERTISE, HEADER, Header, WITHDRAW};
use crate::proto::machine::Phase;
use crate::proto::methods::MAX_NAME;
use crate::proto::{Advertised, CallId, Machine, MethodId, Rejected};

impl Machine {
    /// Queues the first snapshot, which is one frame even if it is empty.
    pub(in crate::proto) fn put_snapshot(&mut self) {
        let mut methods = std::mem::take(&mut self.snapshot);
        methods.retain(|method| self.may_call(method));
        // What the peer has no room for it can still call by name.
        methods.truncate(self.agreed.max_methods as usize);
        self.advertised = methods.len();
        self.put_advertise(&methods);
    }

    pub(in crate::proto) fn put_advertise(&mut self, methods: &[Advertised]) {
        let mut rest = methods;
        loop {
            let mut room = self.agreed.max_frame;
            let fits = rest
                .iter()
                .take(usize::from(u16::MAX))
                .take_while(|method| {
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
            now.iter().for_each(|method| method.put(&mut frame));
            self.adverts.push_back(frame.freeze());
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
        if self.phase == Phase::Open {
            methods.retain(|method| self.may_call(method));
            if self.advertised + methods.len() > room.min(self.agreed.max_methods as usize)
                || self.adverts.len() >= 64
            {
                return Err(Rejected::Overloaded);
            }
            if !methods.is_empty() {
                self.advertised += methods.len();
                self.put_advertise(&methods);
            }
        } else {
            if self.snapshot.len() + methods.len() > room {
                return Err(Rejected::Overloaded);
            }
            self.snapshot.extend(methods);
        }
        Ok(CallId::CONNECTION)
    }

    pub(in crate::proto) fn withdraw(&mut self, methods: &[MethodId]) -> Result<CallId, Rejected> {
        if self.phase != Phase::Open {
            self.snapshot
                .retain(|method| !methods.contains(&method.method));
            return Ok(CallId::CONNECTION);
        }
        if methods.len() > self.config.limits.max_methods as usize || self.adverts.len() >= 64 {
            return Err(Rejected::Overloaded);
        }
        self.advertised = self.advertised.saturating_sub(methods.len());
        for part in methods.chunks((self.agreed.max_frame / 4).min(usize::from(u16::MAX))) {
            let mut frame = BytesMut::with_capacity(HEADER + part.len() * 4);
            frame
                .put_slice(&Header::new(WITHDRAW, part.len() * 4, part.len() as u16, 0).to_bytes());
            part.iter().for_each(|method| frame.put_u32(method.0));
            self.adverts.push_back(frame.freeze());
        }
        Ok(CallId::CONNECTION)
    }
}
