//! Which methods a broker offers to its peers, and how that changes while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::TcpBroker;
use crate::method::Resolved;
use crate::{Error, ErrorKind, Registry, RegistryError};

/// The methods of one broker: those of its registries, except the paused ones.
pub(super) struct Offers {
    /// Most methods that are offered at once.
    most: usize,
    state: Mutex<State>,
}

struct State {
    registries: Vec<Registry>,
    paused: BTreeSet<Arc<str>>,
    offered: Arc<Offered>,
}

/// What is offered at one time, by name.
#[derive(Default)]
pub(super) struct Offered {
    methods: BTreeMap<Arc<str>, Resolved>,
    /// In the order of the registries.
    order: Vec<Arc<str>>,
}

impl Offered {
    pub(super) fn find(&self, name: &str) -> Option<&Resolved> {
        self.methods.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Resolved> {
        self.order.iter().filter_map(|name| self.methods.get(name))
    }
}

impl Offers {
    /// Those of a locked registry; of a broker that runs nothing none.
    pub(super) fn new(registry: Option<Registry>, most: usize) -> Self {
        let mut state = State {
            registries: registry.into_iter().collect(),
            paused: BTreeSet::new(),
            offered: Arc::default(),
        };
        state.update();
        Self {
            most,
            state: Mutex::new(state),
        }
    }

    /// What is offered now.
    pub(super) fn now(&self) -> Arc<Offered> {
        self.state().offered.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attach(&self, registry: &Registry) -> Result<(), Error> {
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
        state.update();
        Ok(())
    }

    fn detach(&self, registry: &Registry) -> bool {
        let mut state = self.state();
        let before = state.registries.len();
        state.registries.retain(|known| !known.is(registry));
        let changed = state.registries.len() < before;
        state.update();
        changed
    }

    fn pause(&self, name: &str, paused: bool) -> Result<(), RegistryError> {
        let mut state = self.state();
        let mut registries = state.registries.iter();
        let Some(method) = registries.find_map(|registry| registry.find(name)) else {
            return Err(RegistryError::Unknown(name.into()));
        };
        match paused {
            true => state.paused.insert(method.name.shared().clone()),
            false => state.paused.remove(name),
        };
        state.update();
        Ok(())
    }
}

impl State {
    fn update(&mut self) {
        let mut offered = Offered::default();
        let known = self.registries.iter().flat_map(Registry::all);
        for method in known {
            let name = method.name.shared().clone();
            if !self.paused.contains(&name) {
                offered.order.push(name.clone());
                offered.methods.insert(name, method);
            }
        }
        self.offered = Arc::new(offered);
    }
}

impl TcpBroker {
    /// Offers the methods of `registry` as well, run by the broker's executor, and tells every peer. It
    /// is locked for good.
    ///
    /// # Errors
    /// A method of that name is offered already, and nothing has changed. The registry is of another
    /// project, or the broker runs nothing.
    pub fn attach(&self, registry: &Registry) -> Result<(), Error> {
        let (ours, theirs) = (self.shared.registry.project(), registry.project());
        let misused = if self.shared.executor.capacity().max_workers == 0 {
            Some("a broker that only calls offers no methods".to_owned())
        } else if ours != theirs {
            Some(format!(
                "a registry of project {theirs:?} at a broker of project {ours:?}"
            ))
        } else {
            None
        };
        if let Some(misused) = misused {
            return Err(Error::new(ErrorKind::InvalidInput, misused));
        }
        registry.lock();
        self.shared.offers.attach(registry)?;
        self.shared.routes.refresh();
        Ok(())
    }

    /// Offers the methods of `registry` no longer, and tells every peer; whether it did. Calls that run
    /// go on.
    pub fn detach(&self, registry: &Registry) -> bool {
        let changed = self.shared.offers.detach(registry);
        if changed {
            self.shared.routes.refresh();
        }
        changed
    }

    /// Offers the method with this full name no longer, until it is [resumed](Self::resume), and tells
    /// every peer. Calls that run go on.
    ///
    /// # Errors
    /// There is no such method here.
    pub fn pause(&self, name: &str) -> Result<(), RegistryError> {
        self.shared.offers.pause(name, true)?;
        self.shared.routes.refresh();
        Ok(())
    }

    /// Offers a paused method again, and tells every peer.
    ///
    /// # Errors
    /// There is no such method here.
    pub fn resume(&self, name: &str) -> Result<(), RegistryError> {
        self.shared.offers.pause(name, false)?;
        self.shared.routes.refresh();
        Ok(())
    }
}
