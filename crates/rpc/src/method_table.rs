//! The methods that calls through a broker find, and how that changes.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bowline_channel::WatchReceiver;

use crate::Streaming;

/// A method that calls through a broker find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodOffer {
    /// How many peers offer it: executors that a call may go to.
    pub peers: usize,
    /// Whether each of them says that running it twice is as good as once.
    pub idempotent: bool,
    /// Whether each of them knows the names of its arguments.
    pub named_arguments: bool,
    /// Who sends items besides arguments and reply.
    pub streaming: Streaming,
    /// The hash of its argument and reply types, where each of them says the same; 0 is unknown.
    pub schema: u64,
}

/// By name.
pub(crate) type Methods = BTreeMap<Arc<str>, MethodOffer>;

/// What a table is read from.
pub(crate) trait MethodSource: Send + Sync {
    /// What there is now; nothing once it is over.
    fn methods(&self) -> Methods;

    /// Completes when the broker takes no more calls.
    fn over(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The methods that calls through a broker find, as they were at one time. From
/// [`Broker::methods`](crate::Broker::methods).
///
/// The reserved methods of [`sys`](crate::sys) are not among them.
///
/// # Examples
/// ```
/// use bowline_backend::Backend;
/// use bowline_rpc::{Broker, Error, MemoryBroker, Registry, executor::AsyncExecutor};
///
/// let registry = Registry::new("example");
/// registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b })?;
/// let more = Registry::new("example");
/// more.register_fn("sub", |(a, b): (i64, i64)| async move { a - b })?;
/// Backend::Tokio.block_on(
///     MemoryBroker::new(AsyncExecutor::new(registry, 4)).run(async |broker| -> Result<(), Error> {
///         let mut methods = broker.methods();
///         assert!(methods.contains("add") && !methods.contains("sub"));
///         broker.attach(&more)?;
///         assert!(methods.changed().await);
///         assert!(methods.contains("sub"));
///         Ok(())
///     }),
/// )?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct MethodTable {
    methods: Methods,
    live: Option<Live>,
}

#[derive(Clone)]
struct Live {
    source: Arc<dyn MethodSource>,
    changes: WatchReceiver<()>,
}

impl MethodTable {
    /// One that never changes: for a broker that knows its methods from the beginning.
    pub fn fixed<N: Into<Arc<str>>>(methods: impl IntoIterator<Item = (N, MethodOffer)>) -> Self {
        let methods = methods.into_iter();
        Self {
            methods: methods.map(|(name, offer)| (name.into(), offer)).collect(),
            live: None,
        }
    }

    /// What `source` has now; `changes` tells of everything that comes after it was made.
    pub(crate) fn live(source: impl MethodSource + 'static, changes: WatchReceiver<()>) -> Self {
        let source: Arc<dyn MethodSource> = Arc::new(source);
        Self {
            methods: source.methods(),
            live: Some(Live { source, changes }),
        }
    }

    /// What is known of the method with this full name, if calls find it.
    pub fn get(&self, name: &str) -> Option<&MethodOffer> {
        self.methods.get(name)
    }

    /// Whether calls find the method with this full name.
    pub fn contains(&self, name: &str) -> bool {
        self.methods.contains_key(name)
    }

    /// The full names and what is known of their methods, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &MethodOffer)> {
        self.methods.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.methods.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.methods.is_empty()
    }

    /// Waits until the broker has other methods than these, and takes those: what was true in between
    /// is passed over. False, and no change, once the broker takes no more calls.
    ///
    /// # Cancel safety
    /// *Nothing happened.*
    pub async fn changed(&mut self) -> bool {
        let Some(Live { source, changes }) = &mut self.live else {
            return std::future::pending().await;
        };
        loop {
            let mut over = pin!(source.over());
            let mut changed = pin!(changes.changed());
            // Looked at after both are watched, so that nothing is missed.
            let first = poll_fn(|cx| {
                let over = over.as_mut().poll(cx).is_ready();
                Poll::Ready((over, changed.as_mut().poll(cx).is_ready()))
            })
            .await;
            if first.0 {
                return false;
            }
            let now = source.methods();
            if now != self.methods {
                self.methods = now;
                return true;
            }
            if first.1 {
                continue;
            }
            let either = poll_fn(|cx| {
                // Both, for each wakes for itself.
                let over = over.as_mut().poll(cx).is_ready();
                match changed.as_mut().poll(cx).is_ready() {
                    _ if over => Poll::Ready(true),
                    true => Poll::Ready(false),
                    false => Poll::Pending,
                }
            });
            if either.await {
                return false;
            }
        }
    }
}

impl fmt::Debug for MethodTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MethodTable").field(&self.methods).finish()
    }
}
