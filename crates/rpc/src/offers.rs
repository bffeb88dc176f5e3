//! Which methods a broker offers, and how that changes while it runs.

use std::any::TypeId;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline_channel::{WatchReceiver, WatchSender, watch};

use crate::executor::Executor;
use crate::meter::{Ends, Gate, Meter};
use crate::method::Resolved;
use crate::sys::MethodStats;
use crate::{Error, ErrorKind, Registry, RegistryError};

/// The methods of one broker: those of its registries, except the paused ones.
pub(crate) struct Offers {
    project: Arc<str>,
    /// Most methods that are offered at once.
    most: usize,
    gate: Arc<Gate>,
    state: Mutex<State>,
    /// Tells that something changed, after it did.
    changes: (WatchSender<()>, WatchReceiver<()>),
}

struct State {
    registries: Vec<Registry>,
    paused: BTreeSet<Arc<str>>,
    gate: Arc<Gate>,
    /// Of every method that is offered or paused, and of the last that were.
    meters: BTreeMap<Arc<str>, Metered>,
    /// How often what is offered was made anew.
    updates: u64,
    /// What those counted that are forgotten.
    forgotten: Ends,
    offered: Arc<Offered>,
}

/// Methods that nobody offers any more, of which is told what they counted: the last ones.
const REMEMBERED: usize = 1024;

/// What counts the calls of a method.
struct Metered {
    meter: Arc<Meter>,
    /// The last update that it was offered or paused at.
    seen: u64,
}

/// What is offered at one time, by name.
#[derive(Default)]
pub(crate) struct Offered {
    methods: BTreeMap<Arc<str>, Served>,
    /// What counts the calls of each call type: of the first method that runs them.
    calls: BTreeMap<TypeId, Arc<Meter>>,
    /// In the order of the registries.
    order: Vec<Arc<str>>,
}

/// A method that is offered.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) method: Resolved,
    pub(crate) meter: Arc<Meter>,
}

impl Offered {
    pub(crate) fn find(&self, name: &str) -> Option<&Served> {
        self.methods.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Served> {
        self.order.iter().filter_map(|name| self.methods.get(name))
    }
}

impl Offers {
    /// Those of a locked registry; of a broker that runs nothing none.
    pub(crate) fn new(project: &str, registry: Option<Registry>, most: usize) -> Self {
        let gate = Gate::new();
        let mut state = State {
            registries: registry.into_iter().collect(),
            paused: BTreeSet::new(),
            gate: gate.clone(),
            meters: BTreeMap::new(),
            updates: 0,
            forgotten: Ends::default(),
            offered: Arc::default(),
        };
        state.update();
        Self {
            project: project.into(),
            most,
            gate,
            state: Mutex::new(state),
            changes: watch(()),
        }
    }

    /// What is offered now.
    pub(crate) fn now(&self) -> Arc<Offered> {
        self.state().offered.clone()
    }

    /// What counts the calls of this type, if a method that runs them is offered now.
    pub(crate) fn meter_of(&self, call: TypeId) -> Option<Arc<Meter>> {
        self.state().offered.calls.get(&call).cloned()
    }

    /// Tells of every change from now on.
    pub(crate) fn changes(&self) -> WatchReceiver<()> {
        self.changes.0.subscribe()
    }

    /// What tells of calls that end.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// New calls of the program are refused from its first poll on, where they are asked for here;
    /// completes when no call is open.
    pub(crate) async fn last_call(&self) {
        let mut ends = self.gate.close();
        while self.ends().open > 0 {
            if ends.changed().await.is_err() {
                break;
            }
        }
    }

    /// How calls ended, of all methods together.
    pub(crate) fn ends(&self) -> Ends {
        let state = self.state();
        let (meters, forgotten) = (state.meters(), state.forgotten);
        drop(state);
        // Before any of them is asked what came: a call that is made by one of another method, which ends then,
        // would be seen by neither.
        let over: Vec<_> = meters.iter().map(|meter| meter.over()).collect();
        let each = meters.iter().zip(over);
        let each = each.map(|(meter, over)| meter.ends(over));
        each.fold(forgotten, Ends::and)
    }

    /// What was counted of each method that is offered or paused, and of the last that were.
    pub(crate) fn stats(&self) -> Vec<MethodStats> {
        let meters = self.state().meters();
        meters.iter().map(|meter| meter.read()).collect()
    }

    /// Offers the methods of `registry` as well; it is locked for good.
    pub(crate) fn attach(&self, registry: &Registry) -> Result<(), Error> {
        let (ours, theirs) = (&*self.project, registry.project());
        if ours != theirs {
            let message =
                format!("a registry of project {theirs:?} at a broker of project {ours:?}");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        registry.lock();
        let mut state = self.state();
        let known = state.registries.iter().flat_map(Registry::all);
        let known: BTreeSet<_> = known.map(|method| method.name).collect();
        let new = registry.all();
        let twice = new.iter().find(|method| known.contains(&method.name));
        if let Some(method) = twice {
            return Err(RegistryError::Duplicate(method.name.clone()).into());
        }
        let (count, most) = (known.len() + new.len(), self.most);
        if count > most {
            let message = format!("{count} methods; a broker offers {most} at most");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        state.registries.push(registry.clone());
        self.change(state);
        Ok(())
    }

    /// Offers the methods of `registry`, of this project, and no others; it is locked for good.
    #[cfg(unix)]
    pub(crate) fn set(&self, registry: &Registry) {
        registry.lock();
        let mut state = self.state();
        state.registries = vec![registry.clone()];
        self.change(state);
    }

    /// Offers the methods of `registry` no longer; whether it did.
    pub(crate) fn detach(&self, registry: &Registry) -> bool {
        let mut state = self.state();
        let before = state.registries.len();
        state.registries.retain(|known| !known.is(registry));
        let changed = state.registries.len() < before;
        self.change(state);
        changed
    }

    /// Offers the method no longer, or again.
    pub(crate) fn pause(&self, name: &str, paused: bool) -> Result<(), RegistryError> {
        let mut state = self.state();
        let mut registries = state.registries.iter();
        let Some(method) = registries.find_map(|registry| registry.find(name)) else {
            return Err(RegistryError::Unknown(name.into()));
        };
        match paused {
            true => state.paused.insert(method.name.shared().clone()),
            false => state.paused.remove(name),
        };
        self.change(state);
        Ok(())
    }

    fn change(&self, mut state: MutexGuard<'_, State>) {
        let former = state.update();
        drop(state);
        drop(former);
        // There is a receiver: ours.
        let _ = self.changes.0.send(());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses to offer methods that `executor` would not run.
pub(crate) fn check_runs(executor: &dyn Executor) -> Result<(), Error> {
    if executor.capacity().max_workers == 0 {
        let message = "a broker that only calls offers no methods";
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    if !executor.takes_methods() {
        let message = "the executor of the broker runs the methods of its own registry alone, as a pool of processes \
                       does: a child builds that when it starts";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(())
}

impl State {
    /// What was offered before.
    fn update(&mut self) -> Arc<Offered> {
        let mut offered = Offered::default();
        self.updates += 1;
        for method in self.registries.iter().flat_map(Registry::all) {
            let name = method.name.shared().clone();
            let metered = self.meters.entry(name.clone());
            let metered = metered.or_insert_with(|| Metered {
                meter: Arc::new(Meter::new(method.name.clone(), self.gate.clone())),
                seen: 0,
            });
            metered.seen = self.updates;
            if self.paused.contains(&name) {
                continue;
            }
            let meter = metered.meter.clone();
            if let Some(call) = method.entry.call {
                let first = offered.calls.entry(call);
                first.or_insert_with(|| meter.clone());
            }
            offered.order.push(name.clone());
            offered.methods.insert(name, Served { method, meter });
        }
        let former = std::mem::replace(&mut self.offered, Arc::new(offered));
        self.forget();
        former
    }

    /// Forgets the methods that went first of those that nobody offers, if they are too many. One that somebody
    /// still has, who may count a call, stays.
    fn forget(&mut self) {
        let is_gone = |metered: &Metered| metered.seen < self.updates;
        let gone = self.meters.values().filter(|metered| is_gone(metered));
        let too_many = gone.count().saturating_sub(REMEMBERED);
        if too_many == 0 {
            return;
        }
        let gone = self.meters.iter().filter(|(_, metered)| is_gone(metered));
        let gone = gone.map(|(name, metered)| (metered.seen, name.clone()));
        let mut gone: Vec<_> = gone.collect();
        gone.sort_unstable();
        for (_, name) in gone.into_iter().take(too_many) {
            if let Entry::Occupied(entry) = self.meters.entry(name)
                && Arc::strong_count(&entry.get().meter) == 1
            {
                let meter = entry.remove().meter;
                let ends = meter.ends(meter.over());
                self.forgotten = self.forgotten.and(ends);
            }
        }
    }

    fn meters(&self) -> Vec<Arc<Meter>> {
        let meters = self.meters.values();
        meters.map(|metered| metered.meter.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use bowline_backend::{Backend, time};

    use super::*;
    use crate::Code;

    #[test]
    fn methods_that_come_and_go_are_forgotten_but_for_the_last_and_those_in_use() {
        let offers = Offers::new("", None, 8);
        let registry = |name: &str| {
            let registry = Registry::new("");
            registry.register_fn(name, |(): ()| async {}).unwrap();
            registry
        };
        let mut used = None;
        for n in 0..3 * REMEMBERED {
            let name = format!("method{n}");
            let one = registry(&name);
            offers.attach(&one).unwrap();
            let meter = offers.now().find(&name).unwrap().meter.clone();
            meter.refused(Code::WrongSchema);
            // A call of the first is under way all the time.
            if n == 0 {
                meter.arrived();
                used = Some(meter);
            }
            assert!(offers.detach(&one));
            assert!(offers.state().meters.len() <= REMEMBERED + 2);
        }
        let told: BTreeSet<_> = offers.stats().into_iter().map(|it| it.method).collect();
        let last = 2 * REMEMBERED + 1..3 * REMEMBERED;
        assert!(
            last.into_iter()
                .all(|n| told.contains(&format!("method{n}")))
        );
        assert!(told.contains("method0") && !told.contains("method1"));
        // None of what they counted is lost, and the open call is not.
        assert_eq!(offers.ends().open, 1);
        let used = used.unwrap();
        used.begun();
        used.ended(
            time::Instant::NEVER,
            true,
            &crate::executor::JobEnd::Reply(Default::default()),
        );
        assert_eq!((offers.ends().open, offers.ends().finished), (0, 1));
        drop(used);
        // Once nobody has it, it goes as others do.
        let more = registry("more");
        offers.attach(&more).unwrap();
        let told = offers.stats();
        assert!(told.iter().all(|it| it.method != "method0"));
        assert_eq!((offers.ends().open, offers.ends().finished), (0, 1));
    }

    #[test]
    fn a_call_that_is_made_by_another_which_ends_is_missed_at_no_time() {
        use std::sync::atomic::{AtomicBool, Ordering};

        let registry = Registry::new("");
        // Between the first and the last that are looked at, much time passes.
        let others = (0..1000).map(|n| format!("between.{n}"));
        for name in others.chain(["asks".to_owned(), "makes".to_owned()]) {
            registry.register_fn(name, |(): ()| async {}).unwrap();
        }
        let offers = Offers::new("", Some(registry), 2000);
        let offered = offers.now();
        let [asks, makes] = ["asks", "makes"].map(|name| &offered.find(name).unwrap().meter);
        let end = |meter: &Meter| {
            meter.begun();
            let end = crate::executor::JobEnd::Reply(Default::default());
            meter.ended(time::Instant::NEVER, true, &end);
        };
        let over = AtomicBool::new(false);
        // Longer than a look at one of them.
        let stay = || (0..5000).for_each(|_| std::hint::spin_loop());
        makes.arrived();
        Backend::Sim.block_on(async {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        asks.arrived();
                        end(makes);
                        stay();
                        makes.arrived();
                        end(asks);
                        stay();
                    }
                });
                let missed = (0..200).filter(|_| offers.ends().open == 0).count();
                over.store(true, Ordering::Relaxed);
                assert_eq!(missed, 0);
            });
        });
    }
}
