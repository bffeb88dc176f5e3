//! Counts the bodies that are not dropped yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts those that are alive.
pub(crate) struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub(crate) fn new(counter: &Arc<AtomicUsize>) -> Alive {
        counter.fetch_add(1, Ordering::SeqCst);
        Alive(counter.clone())
    }
}

impl Clone for Alive {
    fn clone(&self) -> Alive {
        Alive::new(&self.0)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
