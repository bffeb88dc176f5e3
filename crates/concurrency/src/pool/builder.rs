use super::closing::Closing;
use super::item::{Answer, Check, CloseWith, Rules};
use super::seat::Shared;
use super::state::State;
use super::{Factory, Pool};
use crate::invalid_value::InvalidValue;
use crate::sync::guarded::Guarded;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// Items of a pool, unless told otherwise.
const MAX: usize = 10;

/// A pool with options; of [`Pool::builder`].
#[must_use = "there is no pool until `build`"]
pub struct PoolBuilder<T, E> {
    factory: Factory<T, E>,
    max: usize,
    max_idle: usize,
    idle_timeout: Duration,
    max_age: Duration,
    check: Check<T>,
    close_with: Option<CloseWith<T>>,
}

impl<T, E> PoolBuilder<T, E> {
    pub(super) fn new(factory: Factory<T, E>) -> Self {
        PoolBuilder {
            factory,
            max: MAX,
            max_idle: usize::MAX,
            idle_timeout: Duration::MAX,
            max_age: Duration::MAX,
            check: Check::None,
            close_with: None,
        }
    }

    /// How many items there may be at once: in use, idle, being made or being closed; 10 unless
    /// set.
    pub fn max(mut self, count: usize) -> Self {
        self.max = count;
        self
    }

    /// How many items are kept that nobody uses; all unless set. With none an item is used once,
    /// unless somebody waits for one when it comes back.
    pub fn max_idle(mut self, count: usize) -> Self {
        self.max_idle = count;
        self
    }

    /// How long an item may lie unused and still be used again; without bound unless set.
    ///
    /// No task runs behind a pool: an item whose time is over goes when somebody acquires or
    /// calls [`Pool::close_retired`]. A lease that is dropped where there is no clock, such as
    /// that of a simulated world outside of it, discards its item: nobody could say how old it is.
    pub fn idle_timeout(mut self, span: Duration) -> Self {
        self.idle_timeout = span;
        self
    }

    /// How old an item may be and still be used again; without bound unless set. One that is in
    /// use gets as old as it likes. One that comes back where there is no clock is
    /// [discarded](Self::idle_timeout).
    pub fn max_age(mut self, span: Duration) -> Self {
        self.max_age = span;
        self
    }

    /// Asks of an idle item, before it is used again, whether it is still good; if not, a new one
    /// is made in its place. Replaces a [`check_with`](Self::check_with).
    pub fn check(mut self, check: impl Fn(&mut T) -> bool + Send + Sync + 'static) -> Self {
        self.check = Check::AtOnce(Box::new(check));
        self
    }

    /// As [`check`](Self::check), for an answer that takes a while. If it is dropped half-way, the
    /// item is not used again.
    ///
    /// # Examples
    ///
    /// ```
    /// use bowline_concurrency::Pool;
    ///
    /// struct Connection;
    ///
    /// impl Connection {
    ///     async fn ping(&mut self) -> Result<(), std::io::Error> {
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let pool = Pool::builder(|| async { Ok::<_, std::io::Error>(Connection) })
    ///     .check_with(|connection| Box::pin(async move { connection.ping().await.is_ok() }))
    ///     .build();
    /// assert!(pool.is_ok());
    /// ```
    pub fn check_with<F>(mut self, check: F) -> Self
    where
        F: for<'a> Fn(&'a mut T) -> Answer<'a> + Send + Sync + 'static,
    {
        self.check = Check::Awaited(Box::new(check));
        self
    }

    /// How an item is closed that is not used again; it is dropped unless set.
    ///
    /// Its place is not free before that is done. If whoever closes it is dropped half-way, be it
    /// by a cancel, the next one goes on: cancels and deadlines around who closes are invisible to
    /// the closing, which may move from task to task. While a task group or a shield in it is under
    /// way no cancel drops who closes, and where foreign code does, the root finishes it. One that hangs keeps its place for ever: give it a
    /// [`timeout`](crate::timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "sim")] {
    /// use bowline_backend::Backend;
    /// use bowline_concurrency::{Pool, Root, sleep, timeout};
    /// use std::time::Duration;
    ///
    /// const SECOND: Duration = Duration::from_secs(1);
    ///
    /// Root::new().backend(Backend::Sim).block_on(async {
    ///     let pool = Pool::builder(|| async { Ok::<_, ()>("a connection") })
    ///         .max(1)
    ///         .close_with(|_| async {
    ///             let goodbye = sleep(3 * SECOND); // and its answer
    ///             let _ = timeout(10 * SECOND, goodbye).await;
    ///         })
    ///         .build()
    ///         .expect("one is not zero");
    ///     pool.acquire().await.expect("nothing fails").discard();
    ///     // Closes the old one first; that takes too long.
    ///     assert!(timeout(SECOND, pool.acquire()).await.is_err());
    ///     // The next one goes on where that was.
    ///     assert!(timeout(3 * SECOND, pool.acquire()).await.is_ok());
    /// });
    /// # }
    /// ```
    #[track_caller]
    pub fn close_with<F, Fut>(mut self, close: F) -> Self
    where
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let location = Location::caller();
        self.close_with = Some(Box::new(move |value| {
            Closing::new(Box::pin(close(value)), location)
        }));
        self
    }

    /// The pool, with no item in it.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for a [`max`](Self::max) of zero.
    pub fn build(self) -> Result<Pool<T, E>, InvalidValue> {
        if self.max == 0 {
            let what = "the number of items of a pool";
            return Err(InvalidValue::new(what, self.max, 1, usize::MAX));
        }
        let rules = Rules {
            check: self.check,
            close_with: self.close_with,
            idle_timeout: self.idle_timeout,
            max_age: self.max_age,
        };
        let shared = Arc::new(Shared {
            state: Guarded::new(State::new(self.max, self.max_idle)),
            rules,
        });
        Ok(Pool::new(shared, self.factory))
    }
}

impl<T, E> fmt::Debug for PoolBuilder<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("max", &self.max)
            .field("max_idle", &self.max_idle)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}
