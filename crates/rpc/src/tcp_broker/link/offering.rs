//! What a peer is told of what is offered.

use std::sync::Arc;

use super::{Link, Offer};
use crate::method::Resolved;
use crate::proto::{Advertised, Command, MethodId, MethodOptions};
use crate::stream::Streaming;
use crate::sys::Reserved;

impl Link {
    /// What the peer is to be told of what is offered now: no longer, and from now on.
    pub(super) fn changes(&mut self) -> [Option<Command>; 2] {
        let offered = self.place.shared.offers.now();
        let methods = &mut self.methods;
        let mut gone = Vec::new();
        self.ids.retain(|name, id| {
            let place = methods.get_mut(id.0 as usize - 1);
            let known = place.as_ref().and_then(|known| known.as_ref());
            let stays = match (offered.find(name), known) {
                (Some(now), Some(Offer::Served(known))) => {
                    Arc::ptr_eq(&now.method.entry, &known.method.entry)
                }
                (_, known) => matches!(known, Some(Offer::Reserved(_))),
            };
            if !stays {
                gone.push(*id);
                if let Some(place) = place {
                    *place = None;
                }
            }
            stays
        });
        let mut new = Vec::new();
        // Ids are never used again.
        let next = |methods: &[_]| MethodId(u32::try_from(methods.len()).unwrap_or(u32::MAX));
        for served in offered.iter() {
            let name = served.method.name.shared();
            if !self.ids.contains_key(name) {
                methods.push(Some(Offer::Served(served.clone())));
                let id = next(methods);
                self.ids.insert(name.clone(), id);
                new.push(advertised(&served.method, id, self.workers));
            }
        }
        let shared = &self.place.shared;
        let room = shared.limits.max_methods as usize;
        if self.workers > 0
            && shared.config.tells(self.side)
            && offered.iter().count() + Reserved::ALL.len() <= room
        {
            for reserved in Reserved::ALL {
                let name: Arc<str> = reserved.name().into();
                if !self.ids.contains_key(&name) {
                    methods.push(Some(Offer::Reserved(reserved)));
                    let id = next(methods);
                    self.ids.insert(name.clone(), id);
                    new.push(Advertised::new(id, name));
                }
            }
        }
        [
            (!gone.is_empty()).then_some(Command::Withdraw(gone)),
            (!new.is_empty()).then_some(Command::Advertise(new)),
        ]
    }
}

fn advertised(method: &Resolved, id: MethodId, workers: usize) -> Advertised {
    let spec = method.entry.spec;
    let mut options = MethodOptions::default();
    if spec.is_idempotent() {
        options = options.with(MethodOptions::IDEMPOTENT);
    }
    if spec.is_no_cancel() {
        options = options.with(MethodOptions::NO_CANCEL);
    }
    if spec.streams().from_caller() {
        options = options.with(MethodOptions::CALLER_STREAMS);
    }
    if spec.streams().from_executor() {
        options = options.with(MethodOptions::EXECUTOR_STREAMS);
    }
    if method.entry.knows_names() {
        options = options.with(MethodOptions::NAMED_ARGUMENTS);
    }
    if spec.streams() == Streaming::No {
        options = options.with(MethodOptions::NOTIFY);
    }
    Advertised::new(id, method.name.shared().clone())
        .schema(spec.schema_hash())
        .options(options)
        .concurrency(u32::try_from(workers).unwrap_or(u32::MAX))
}
