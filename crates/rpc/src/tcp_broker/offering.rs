//! What one who calls was told is offered, and how that changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::method::Resolved;
use crate::offers::{Offered, Served};
use crate::proto::{Advertised, MethodId, MethodOptions};
use crate::stream::Streaming;
use crate::sys::Reserved;

/// A method that may be called.
#[derive(Clone)]
pub(super) enum Offer {
    Served(Served),
    Reserved(Reserved),
}

/// What one who calls was told is offered: a peer, or the broker itself.
pub(super) struct Offering {
    /// The method with id `n` at `n - 1`, unless it was withdrawn.
    methods: Vec<Option<Offer>>,
    /// The ids of those that are offered.
    ids: BTreeMap<Arc<str>, MethodId>,
    /// Handlers the executor runs at once; fixed, so it is not asked again for every call.
    workers: usize,
    /// The share of the broker among those that offer the same.
    weight: u16,
}

/// What is to be told: no longer, and from now on.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) gone: Vec<MethodId>,
    pub(super) new: Vec<Advertised>,
}

impl Offering {
    /// Of nothing, by an executor with so many workers, at a broker of `weight`.
    pub(super) fn new(workers: usize, weight: u16) -> Self {
        Self {
            methods: Vec::new(),
            ids: BTreeMap::new(),
            workers,
            weight,
        }
    }

    /// Handlers the executor runs at once.
    pub(super) fn workers(&self) -> usize {
        self.workers
    }

    /// Whether nothing was ever told.
    pub(super) fn is_empty(&self) -> bool {
        self.methods.is_empty()
    }

    /// What goes by `id`.
    pub(super) fn find(&self, id: MethodId) -> Option<&Offer> {
        let place = (id.0 as usize).checked_sub(1)?;
        self.methods.get(place)?.as_ref()
    }

    /// Whether something went by `id`, and nothing does any more.
    pub(super) fn is_withdrawn(&self, id: MethodId) -> bool {
        (1..=self.methods.len()).contains(&(id.0 as usize)) && self.find(id).is_none()
    }

    /// The ids of what is offered.
    pub(super) fn ids(&self) -> Vec<MethodId> {
        self.ids.values().copied().collect()
    }

    /// It was not told after all.
    pub(super) fn forget(&mut self) {
        self.methods.clear();
        self.ids.clear();
    }

    /// What is to be told now that `offered` is offered.
    pub(super) fn change(&mut self, offered: &Offered) -> Change {
        let mut change = Change::default();
        let methods = &mut self.methods;
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
                change.gone.push(*id);
                if let Some(place) = place {
                    *place = None;
                }
            }
            stays
        });
        for served in offered.iter() {
            let name = served.method.name.shared();
            if !self.ids.contains_key(name) {
                let id = self.add(name.clone(), Offer::Served(served.clone()));
                let method = advertised(&served.method, id, self.workers);
                change.new.push(method.weight(self.weight));
            }
        }
        change
    }

    /// Tells of the reserved methods, once.
    pub(super) fn reserve(&mut self, change: &mut Change) {
        for reserved in Reserved::ALL {
            let name: Arc<str> = reserved.name().into();
            if !self.ids.contains_key(&name) {
                let id = self.add(name.clone(), Offer::Reserved(reserved));
                change.new.push(Advertised::new(id, name));
            }
        }
    }

    fn add(&mut self, name: Arc<str>, offer: Offer) -> MethodId {
        // Ids are never used again.
        self.methods.push(Some(offer));
        let id = MethodId(u32::try_from(self.methods.len()).unwrap_or(u32::MAX));
        self.ids.insert(name, id);
        id
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
