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
    /// Those that were not withdrawn, in the order of their ids.
    methods: Vec<(MethodId, Offer)>,
    /// The last id that was given.
    last: u32,
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
            last: 0,
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
        self.last == 0
    }

    /// What goes by `id`.
    pub(super) fn find(&self, id: MethodId) -> Option<&Offer> {
        find(&self.methods, id)
    }

    /// Whether something went by `id`, and nothing does any more.
    pub(super) fn is_withdrawn(&self, id: MethodId) -> bool {
        (1..=self.last).contains(&id.0) && self.find(id).is_none()
    }

    /// The ids of what is offered.
    pub(super) fn ids(&self) -> Vec<MethodId> {
        self.ids.values().copied().collect()
    }

    /// It was not told after all.
    pub(super) fn forget(&mut self) {
        self.methods.clear();
        self.last = 0;
        self.ids.clear();
    }

    /// What is to be told now that `offered` is offered.
    pub(super) fn change(&mut self, offered: &Offered) -> Change {
        let mut change = Change::default();
        let methods = &self.methods;
        self.ids.retain(|name, id| {
            let stays = match (offered.find(name), find(methods, *id)) {
                (Some(now), Some(Offer::Served(known))) => {
                    Arc::ptr_eq(&now.method.entry, &known.method.entry)
                }
                (_, known) => matches!(known, Some(Offer::Reserved(_))),
            };
            if !stays {
                change.gone.push(*id);
            }
            stays
        });
        if !change.gone.is_empty() {
            change.gone.sort_unstable();
            let stays = |id: MethodId| change.gone.binary_search(&id).is_err();
            self.methods.retain(|(id, _)| stays(*id));
        }
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
        self.last = self.last.saturating_add(1);
        let id = MethodId(self.last);
        self.methods.push((id, offer));
        self.ids.insert(name, id);
        id
    }
}

/// What goes by `id`, of `methods` in the order of their ids.
fn find(methods: &[(MethodId, Offer)], id: MethodId) -> Option<&Offer> {
    // Where none was withdrawn, it is where its number says.
    let likely = methods.get((id.0 as usize).wrapping_sub(1));
    if let Some((_, offer)) = likely.filter(|(known, _)| *known == id) {
        return Some(offer);
    }
    let place = methods.binary_search_by_key(&id, |(known, _)| *known);
    Some(&methods[place.ok()?].1)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;
    use crate::offers::Offers;

    #[test]
    fn methods_that_come_and_go_leave_nothing() {
        let offers = Offers::new("", None, 8);
        let registry = |name: &str| {
            let registry = Registry::new("");
            registry.register_fn(name, |(): ()| async {}).unwrap();
            registry
        };
        offers.attach(&registry("stays")).unwrap();
        let mut offering = Offering::new(1, 1);
        let first = offering.change(&offers.now()).new;
        let mut last = MethodId(first.len() as u32);
        for n in 0..1000 {
            let one = registry(&format!("method{n}"));
            offers.attach(&one).unwrap();
            let change = offering.change(&offers.now());
            assert_eq!(change.new.len(), 1);
            let id = change.new[0].method;
            assert!(id > last, "ids are never used again");
            assert!(
                matches!(offering.find(id), Some(Offer::Served(served)) if *served.method.name == *change.new[0].name)
            );
            assert!(offering.find(last).is_none() || last == first[0].method);
            last = id;
            assert!(offers.detach(&one));
            assert_eq!(offering.change(&offers.now()).gone, [id]);
            assert!(offering.find(id).is_none() && offering.is_withdrawn(id));
            assert!(offering.find(first[0].method).is_some());
            assert!(offering.methods.len() == 1 && offering.methods.capacity() <= 8);
        }
        let none = [MethodId(0), MethodId(last.0 + 1)];
        assert!(
            none.iter()
                .all(|id| offering.find(*id).is_none() && !offering.is_withdrawn(*id))
        );
    }
}
