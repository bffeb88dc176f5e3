//! Counters that many tasks raise, and what they come to.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter. It says how many, never in which order: nothing is published by it.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Makes a public struct of numbers, and a private one of counters that come to it.
macro_rules! counters {
    (
        $(#[$about:meta])*
        pub struct $snapshot:ident from $counters:ident {
            $($(#[$about_one:meta])* $name:ident,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $snapshot {
            $($(#[$about_one])* pub $name: u64,)*
        }

        /// The same, while they count.
        #[derive(Debug, Default)]
        pub(super) struct $counters {
            $(pub(super) $name: $crate::counters::Count,)*
        }

        impl $counters {
            pub(super) fn snapshot(&self) -> $snapshot {
                $snapshot { $($name: self.$name.value(),)* }
            }
        }
    };
}

pub(crate) use counters;
