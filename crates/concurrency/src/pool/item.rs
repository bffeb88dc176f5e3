//! What a pool does with its items.

use super::closing::Closing;
use crate::ambient;
use bowline_backend::Backend;
use bowline_backend::time::Instant;
use std::pin::Pin;
use std::time::Duration;

/// An item, and its times where the pool looks at them.
pub(super) struct Item<T> {
    pub(super) value: T,
    pub(super) times: Times,
}

#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Times {
    made: Option<Instant>,
    /// When it came back last.
    back: Option<Instant>,
}

/// What the user has said of the items.
pub(super) struct Rules<T> {
    pub(super) check: Check<T>,
    /// Without it items are dropped.
    pub(super) close_with: Option<CloseWith<T>>,
    pub(super) idle_timeout: Duration,
    pub(super) max_age: Duration,
}

pub(super) type CloseWith<T> = Box<dyn Fn(T) -> Closing + Send + Sync>;
pub(super) type Answer<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;
type CheckWith<T> = Box<dyn for<'a> Fn(&'a mut T) -> Answer<'a> + Send + Sync>;

/// Whether an item is still good.
pub(super) enum Check<T> {
    None,
    AtOnce(Box<dyn Fn(&mut T) -> bool + Send + Sync>),
    Awaited(CheckWith<T>),
}

impl<T> Rules<T> {
    fn has_times(&self) -> bool {
        self.idle_timeout != Duration::MAX || self.max_age != Duration::MAX
    }

    /// The time, where the pool looks at it and there is a clock.
    pub(super) fn now(&self) -> Option<Instant> {
        if !self.has_times() {
            return None;
        }
        ambient::backend_if_any().and_then(Backend::try_now)
    }

    /// An item that was just made.
    pub(super) fn item(&self, value: T) -> Item<T> {
        let times = Times {
            made: self.now(),
            back: None,
        };
        Item { value, times }
    }

    /// The item as it comes back; out again if it is too old, or if nobody can say how old it is.
    pub(super) fn returned(&self, mut item: Item<T>) -> Result<Item<T>, T> {
        if !self.has_times() {
            return Ok(item);
        }
        item.times.back = self.now();
        match item.times.back {
            Some(now) if !self.is_over(&item.times, now) => Ok(item),
            _ => Err(item.value),
        }
    }

    /// Whether an item was idle for too long, or is too old.
    pub(super) fn is_over(&self, times: &Times, now: Instant) -> bool {
        let reached = |since: Option<Instant>, span| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= span)
        };
        reached(times.back, self.idle_timeout) || reached(times.made, self.max_age)
    }
}
