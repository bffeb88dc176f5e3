//! What a registry tells about its methods.

use std::any::TypeId;

use super::Registry;
use crate::method::Resolved;
use crate::{CallType, Method, MethodInfo, MethodName, RegistryError};

impl Registry {
    /// Whether there is a method called `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.table().by_name.contains_key(name)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.table().by_name.len()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names and what is known of their methods, in insertion order; a copy of this moment.
    pub fn iter(&self) -> impl Iterator<Item = (MethodName, MethodInfo)> + use<> {
        let all: Vec<_> = self
            .table()
            .by_place
            .values()
            .map(|(name, entry)| (name.clone(), MethodInfo { spec: entry.spec }))
            .collect();
        all.into_iter()
    }

    /// The names, in insertion order; a copy of this moment.
    pub fn names(&self) -> Vec<MethodName> {
        self.iter().map(|(name, _)| name).collect()
    }

    /// The names of a function with the attribute, in insertion order.
    pub fn names_of<F, M>(&self, function: F) -> Vec<MethodName>
    where
        F: Method<M>,
    {
        let _ = function;
        let table = self.table();
        let call = Some(TypeId::of::<F::Call>());
        table
            .by_place
            .values()
            .filter(|(_, entry)| entry.call == call)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// What is known of a method: of the one with this name, or of a function with the attribute,
    /// whatever its names are.
    ///
    /// ```
    /// use bowline_rpc::Registry;
    ///
    /// let registry = Registry::new("shop");
    /// registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b })?;
    /// assert!(registry.resolve("add").is_some() && registry.resolve("sub").is_none());
    /// # Ok::<(), bowline_rpc::RegistryError>(())
    /// ```
    pub fn resolve<K: MethodRef<M>, M>(&self, method: K) -> Option<MethodInfo> {
        method.find_in(self)
    }

    /// All methods in insertion order.
    pub(crate) fn all(&self) -> Vec<Resolved> {
        let table = self.table();
        table
            .by_place
            .values()
            .map(|(name, entry)| Resolved {
                name: name.clone(),
                entry: entry.clone(),
            })
            .collect()
    }

    /// The name that calls of a type go by to peers, who know nothing of the names they have here.
    pub(crate) fn declared_name(&self, call: CallType) -> Result<MethodName, RegistryError> {
        self.complete(&call.name)
    }

    /// The name calls of a type go by here: their first name here, else the one they would get here.
    pub(crate) fn name_of_call(&self, call: CallType) -> Result<MethodName, RegistryError> {
        let id = Some(call.id);
        let here = {
            let table = self.table();
            table
                .by_place
                .values()
                .find(|(_, entry)| entry.call == id)
                .map(|(name, _)| name.clone())
        };
        match here {
            Some(name) => Ok(name),
            None => self.declared_name(call),
        }
    }

    fn info_of_name(&self, name: &str) -> Option<MethodInfo> {
        let table = self.table();
        table
            .entry(name)
            .map(|(_, entry)| MethodInfo { spec: entry.spec })
    }

    fn info_of_call(&self, call: TypeId) -> Option<MethodInfo> {
        let table = self.table();
        let mut entries = table.by_place.values();
        entries
            .find(|(_, entry)| entry.call == Some(call))
            .map(|(_, entry)| MethodInfo { spec: entry.spec })
    }

    /// The method called `name`.
    pub(crate) fn find(&self, name: &str) -> Option<Resolved> {
        self.table().entry(name).map(|(name, entry)| Resolved {
            name: name.clone(),
            entry: entry.clone(),
        })
    }
}

/// What [`Registry::resolve`] looks a method up by: its name, or the function behind it.
///
/// Implemented for both; `M` tells them apart.
pub trait MethodRef<M> {
    #[doc(hidden)]
    fn find_in(&self, registry: &Registry) -> Option<MethodInfo>;
}

impl MethodRef<&str> for &str {
    fn find_in(&self, registry: &Registry) -> Option<MethodInfo> {
        registry.info_of_name(self)
    }
}

impl<F: Method<M>, M> MethodRef<(M,)> for F {
    fn find_in(&self, registry: &Registry) -> Option<MethodInfo> {
        registry.info_of_call(TypeId::of::<F::Call>())
    }
}
