//! Which methods a broker offers, and how that changes while it runs.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline_channel::{WatchReceiver, WatchSender, watch};

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
    /// Of every method that was ever offered.
    meters: BTreeMap<Arc<str>, Arc<Meter>>,
    offered: Arc<Offered>,
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
        let meters: Vec<_> = self.state().meters.values().cloned().collect();
        let each = meters.iter().map(|meter| meter.ends());
        each.fold(Ends::default(), |all, one| Ends {
            open: all.open + one.open,
            queued: all.queued + one.queued,
            finished: all.finished + one.finished,
        })
    }

    /// What was counted of each method that was ever offered.
    pub(crate) fn stats(&self) -> Vec<MethodStats> {
        let meters: Vec<_> = self.state().meters.values().cloned().collect();
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

impl State {
    /// What was offered before.
    fn update(&mut self) -> Arc<Offered> {
        let mut offered = Offered::default();
        for method in self.registries.iter().flat_map(Registry::all) {
            let name = method.name.shared().clone();
            let meter = self.meters.entry(name.clone());
            let meter = meter
                .or_insert_with(|| Arc::new(Meter::new(method.name.clone(), self.gate.clone())));
            if self.paused.contains(&name) {
                continue;
            }
            let meter = meter.clone();
            if let Some(call) = method.entry.call {
                let first = offered.calls.entry(call);
                first.or_insert_with(|| meter.clone());
            }
            offered.order.push(name.clone());
            offered.methods.insert(name, Served { method, meter });
        }
        std::mem::replace(&mut self.offered, Arc::new(offered))
    }
}
