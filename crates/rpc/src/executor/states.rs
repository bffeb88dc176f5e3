//! Values that handlers share.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Values that the handlers of an executor share, one of each type; a cheap clone.
///
/// ```
/// use bowline_rpc::executor::States;
///
/// let mut states = States::default();
/// states.insert(7_u32);
/// assert_eq!(states.find::<u32>().as_deref(), Some(&7));
/// assert!(states.find::<i32>().is_none());
/// ```
#[derive(Clone, Default)]
pub struct States(Option<Arc<Values>>);

type Values = BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>;

impl States {
    /// Adds `value`, in place of another of its type.
    pub fn insert<T: Any + Send + Sync>(&mut self, value: T) {
        let values = Arc::make_mut(self.0.get_or_insert_default());
        values.insert(TypeId::of::<T>(), Arc::new(value));
    }

    /// The value of this type.
    pub fn find<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let value = self.0.as_ref()?.get(&TypeId::of::<T>())?;
        value.clone().downcast().ok()
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.0.as_ref().map_or(0, |values| values.len());
        f.debug_tuple("States").field(&values).finish()
    }
}
