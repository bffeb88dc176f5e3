//! Names and methods in their order.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::RegistryError;
use crate::MethodName;
use crate::method::Entry;

/// What all clones of a registry share.
///
/// Invariants:
/// - R1 `by_name` and `by_place` hold the same pairs of name and place.
/// - R2 a place is never used twice, so iterating `by_place` is insertion order.
/// - R3 once `locked` is true nothing changes any more, `locked` included.
#[derive(Default)]
pub(super) struct Table {
    pub(super) by_name: BTreeMap<MethodName, u64>,
    pub(super) by_place: BTreeMap<u64, (MethodName, Arc<Entry>)>,
    next: u64,
    pub(super) locked: bool,
}

impl Table {
    /// A copy that is not locked.
    pub(super) fn unlocked(&self) -> Self {
        Self {
            by_name: self.by_name.clone(),
            by_place: self.by_place.clone(),
            next: self.next,
            locked: false,
        }
    }

    pub(super) fn check_open(&self) -> Result<(), RegistryError> {
        if self.locked {
            Err(RegistryError::Locked)
        } else {
            Ok(())
        }
    }

    pub(super) fn entry(&self, name: &str) -> Option<&(MethodName, Arc<Entry>)> {
        self.by_place.get(self.by_name.get(name)?)
    }

    pub(super) fn insert(&mut self, name: MethodName, entry: Arc<Entry>) {
        let place = self.next;
        self.next += 1;
        self.by_name.insert(name.clone(), place);
        self.by_place.insert(place, (name, entry));
    }

    /// What had the name `name`; other names of the same method stay.
    pub(super) fn remove(&mut self, name: &str) -> Option<(MethodName, Arc<Entry>)> {
        let place = self.by_name.remove(name)?;
        self.by_place.remove(&place)
    }
}
