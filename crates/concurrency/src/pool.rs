mod builder;
mod closing;
mod item;
mod lease;
mod seat;
mod state;

pub use builder::PoolBuilder;
pub use lease::Lease;

use crate::checkpoint::checkpoint_if_cancelled;
use crate::sync::leaf::Leaf;
use bowline_backend::time::Instant;
use seat::{Seat, Shared};
use state::{Acquirers, Closers, Content, Queuing};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

/// Items that are expensive to make, such as connections, and are used one after the other.
///
/// There are never more than [`max`](PoolBuilder::max): a place is held from before an item is
/// made until its lease is back, and until it is closed where the pool
/// [closes](PoolBuilder::close_with) its items. Who finds no free place waits, first come, first
/// served. Of idle items the one that came back last is used first, so that those that are not
/// needed get old; no task runs behind a pool. A lease that is dropped where there is no clock
/// discards its item if the pool has an [`idle_timeout`](PoolBuilder::idle_timeout) or a
/// [`max_age`](PoolBuilder::max_age).
///
/// Cheap to clone; all clones are one pool. Dropping the last one and all leases drops the items;
/// only [`close`](Pool::close) closes them.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Pool, PoolError, Root, checkpoint};
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// static MADE: AtomicU32 = AtomicU32::new(0);
///
/// let pool = Pool::builder(|| async {
///     checkpoint().await; // connects
///     Ok::<_, std::io::Error>(MADE.fetch_add(1, Ordering::Relaxed))
/// });
/// let pool = pool.max(2).build().expect("two is not zero");
/// Root::new().backend(Backend::Smol).block_on(async {
///     for _ in 0..10 {
///         let connection = pool.acquire().await?;
///         assert_eq!(*connection, 0, "the same one each time");
///     }
///     pool.close().await;
///     assert!(matches!(pool.acquire().await, Err(PoolError::Closed)));
///     Ok::<_, PoolError<std::io::Error>>(())
/// })
/// .unwrap();
/// # }
/// ```
#[doc(alias = "ConnectionPool")]
pub struct Pool<T, E> {
    shared: Arc<Shared<T>>,
    factory: Factory<T, E>,
}

type Factory<T, E> = Arc<dyn Fn() -> Making<T, E> + Send + Sync>;
type Making<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Why there is no item.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError<E> {
    /// The pool was closed.
    #[error("the pool is closed")]
    Closed,
    /// No item could be made; the place is free again.
    #[error("no item could be made: {0}")]
    Failed(E),
}

/// A snapshot of a [`Pool`].
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatistics {
    /// Places, and so the items there may be.
    pub max: usize,
    /// Places held: by leases, and by items that are being made, checked or closed.
    pub held: usize,
    /// Items that can be used.
    pub idle: usize,
    /// Items that are not used again and wait to be closed.
    pub retired: usize,
    /// How many wait for a place.
    pub waiting: usize,
    /// Whether it was closed.
    pub closed: bool,
}

/// Items that one [`Pool::close`] closes at a time.
const AT_ONCE: usize = 16;

impl<T, E> Pool<T, E> {
    /// A pool of what `factory` makes, with options.
    pub fn builder<F, Fut>(factory: F) -> PoolBuilder<T, E>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        PoolBuilder::new(Arc::new(move || Box::pin(factory())))
    }

    fn new(shared: Arc<Shared<T>>, factory: Factory<T, E>) -> Pool<T, E> {
        Pool { shared, factory }
    }

    /// How many items there are, and who waits.
    pub fn statistics(&self) -> PoolStatistics {
        self.shared.state.look(|state| state.statistics())
    }
}

impl<T: Send + 'static, E> Pool<T, E> {
    /// Waits for a place, and uses the idle item that came back last or makes one.
    ///
    /// # Errors
    ///
    /// [`PoolError::Closed`] if the pool was closed before there was a place, and
    /// [`PoolError::Failed`] with the factory's error.
    ///
    /// # Panics
    ///
    /// Resumes a panic of the factory, a check or a closing; the place is free again.
    ///
    /// # Cancel safety
    ///
    /// The place in the queue is lost; a place that was granted goes to the next, with what is in
    /// it. An item that is being made is dropped, one that is being checked retired, and a closing
    /// goes on with whoever has the place next.
    pub async fn acquire(&self) -> Result<Lease<T>, PoolError<E>> {
        let (shared, rules) = (&self.shared, &self.shared.rules);
        let mut seat = {
            let mut acquiring = Leaf::new(&shared.state, Queuing::<T, Acquirers>::new());
            match poll_fn(|cx| acquiring.poll(cx)).await {
                Some(content) => Seat::new(shared, content),
                None => return Err(PoolError::Closed),
            }
        };
        let now = rules.now();
        if let Some(now) = now {
            self.retire_oldest(now);
        }
        if let Some(item) = seat.take_idle() {
            match now {
                Some(now) if rules.is_over(&item.times, now) => seat.retire(item.value),
                _ => {
                    if let Some(item) = seat.check(item, &rules.check).await {
                        return Ok(Lease::new(seat, item));
                    }
                }
            }
        }
        seat.vacate().await;
        match (self.factory)().await {
            Ok(value) => Ok(Lease::new(seat, rules.item(value))),
            Err(error) => Err(PoolError::Failed(error)),
        }
    }

    /// Closes idle items whose time is over and those that were discarded; answers how many.
    ///
    /// Who acquires closes what is in the way; call this now and then where connections are not to
    /// stay open in the meantime.
    ///
    /// # Panics
    ///
    /// Resumes a panic of a closing; the place is free.
    ///
    /// # Cancel safety
    ///
    /// A closing goes on with whoever has the place next.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "sim")] {
    /// use bowline_backend::Backend;
    /// use bowline_concurrency::{Pool, Root, sleep};
    /// use std::time::Duration;
    ///
    /// const MINUTE: Duration = Duration::from_secs(60);
    ///
    /// Root::new().backend(Backend::Sim).block_on(async {
    ///     let pool = Pool::builder(|| async { Ok::<_, ()>(()) }).idle_timeout(MINUTE);
    ///     let pool = pool.build().expect("ten is not zero");
    ///     drop(pool.acquire().await);
    ///     assert_eq!(pool.close_retired().await, 0);
    ///     sleep(MINUTE).await;
    ///     assert_eq!(pool.close_retired().await, 1);
    /// });
    /// # }
    /// ```
    pub async fn close_retired(&self) -> usize {
        checkpoint_if_cancelled().await;
        let rules = &self.shared.rules;
        if let Some(now) = rules.now() {
            let is_over = |times: &_| rules.is_over(times, now);
            self.shared.state.step(|state, _| state.expire(is_over));
        }
        let mut closed = 0;
        while let Some(mut seat) = self.hold_retired() {
            seat.vacate().await;
            closed += 1;
        }
        closed
    }

    /// Lets nobody acquire any more, waits for all leases, and closes every item.
    ///
    /// Those who wait for a place get [`PoolError::Closed`]; who has one gets an item. In a task
    /// that keeps a lease it waits for ever. Up to 16 items are closed at a time.
    ///
    /// # Panics
    ///
    /// Resumes a panic of a closing. The pool stays closed; another `close` closes the rest.
    ///
    /// # Cancel safety
    ///
    /// Nothing happened, or the pool is closed; another `close` closes the rest, and goes on where
    /// this one was.
    pub async fn close(&self) {
        checkpoint_if_cancelled().await;
        let shared = &self.shared;
        shared.state.step(|state, after| state.close(after));
        let mut under_way: Vec<Seat<T>> = Vec::new();
        let mut emptying = Leaf::new(&shared.state, Queuing::<T, Closers>::new());
        let closing = poll_fn(|cx| {
            under_way.retain_mut(|seat| seat.poll_vacate(cx).is_pending());
            while under_way.len() < AT_ONCE {
                match emptying.poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Ready(Some(content)) => {
                        emptying = Leaf::new(&shared.state, Queuing::<T, Closers>::new());
                        let mut seat = Seat::new(shared, content);
                        if seat.poll_vacate(cx).is_pending() {
                            under_way.push(seat);
                        }
                    }
                }
            }
            Poll::Pending
        });
        closing.await;
    }

    /// Drops the oldest idle items if their time is over, or leaves them to be closed.
    fn retire_oldest(&self, now: Instant) {
        let rules = &self.shared.rules;
        let is_over = |times: &_| rules.is_over(times, now);
        self.shared
            .state
            .step(|state, _| state.expire_front(is_over));
        if rules.close_with.is_none() {
            while let Some(seat) = self.hold_retired() {
                drop(seat);
            }
        }
    }

    fn hold_retired(&self) -> Option<Seat<T>> {
        let state = &self.shared.state;
        let retired = state.step(|state, _| state.hold_retired())?;
        Some(Seat::new(&self.shared, Content::Retired(retired)))
    }
}

impl<T, E> Clone for Pool<T, E> {
    fn clone(&self) -> Self {
        Pool {
            shared: self.shared.clone(),
            factory: self.factory.clone(),
        }
    }
}

impl<T, E> fmt::Debug for Pool<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
