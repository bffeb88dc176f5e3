//! Starting a [`MemoryBroker`].

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use bowline_backend::entropy;
use bowline_concurrency::TaskGroup;
use bowline_concurrency::sync::Semaphore;

use super::{MemoryBroker, NOTIFICATIONS, Shared};
use crate::broker::Ending;
use crate::executor::{Attachment, Executor, Internals};
use crate::lifetime::{nested, scoped};
use crate::offers::Offers;
use crate::{Broker, Error, Peer};

/// A [`MemoryBroker`] that does not run yet.
#[must_use = "a broker exists once it is run or started"]
#[derive(Debug)]
pub struct MemoryBrokerStart {
    pub(super) executor: Arc<dyn Executor>,
    pub(super) encode_always: bool,
    pub(super) internals: Internals,
}

impl MemoryBrokerStart {
    /// Encodes and decodes the arguments and replies of every call, as if they travelled, so that those
    /// that cannot are found: for tests of programs that use another broker otherwise. Outcomes are the
    /// same but for that.
    pub fn encode_always(mut self) -> Self {
        self.encode_always = true;
        self
    }

    /// Callers whose handler [panicked](crate::Code::Panic) are told the text of the panic, at most 4 KiB
    /// with control characters escaped; otherwise only that it did, as such a text may hold what is nobody's
    /// business.
    pub fn expose_internals(mut self) -> Self {
        self.internals = Internals::Exposed;
        self
    }

    /// Runs the broker for as long as `body` takes, and then drains it: calls and notifications that it
    /// left have 5 s, as elsewhere. Every handler has ended when it returns, but for those that hold a
    /// thread.
    ///
    /// Starting locks the registry for good.
    ///
    /// # Errors
    /// What `body` returns; [`Error`] of kind `Cancelled` if the broker was closed under it.
    ///
    /// # Cancel safety
    /// *Peer told to stop*: dropped, it drops the body and every handler.
    pub async fn run<T, E, F, Fut>(self, body: F) -> Result<T, E>
    where
        F: FnOnce(MemoryBroker) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: From<Error> + Send,
    {
        scoped(|group| async move {
            let broker = self.open(group);
            broker.prepare().await?;
            let result = body(broker.clone()).await;
            broker.shut_down().await;
            result
        })
        .await
    }

    /// Starts the broker as a child of `group`, which stays open until the broker is closed by
    /// `close()` or the group is cancelled.
    ///
    /// Starting locks the registry for good.
    ///
    /// # Errors
    /// Kind `Cancelled` if the group is closed.
    ///
    /// # Cancel safety
    /// *Nothing happened*: the broker is closed again.
    pub async fn start<E: Send + 'static>(
        self,
        group: &TaskGroup<E>,
    ) -> Result<MemoryBroker, Error> {
        let broker = self.open(nested(group).await?);
        match broker.prepare().await {
            Ok(()) => Ok(broker),
            Err(error) => {
                broker.close();
                Err(error)
            }
        }
    }

    fn open(self, group: TaskGroup<Infallible>) -> MemoryBroker {
        let registry = self.executor.registry().clone();
        registry.lock();
        let mut instance = [0; 16];
        entropy::fill(&mut instance);
        let parts = Parts {
            attachment: Attachment::open(&group, &self.executor, self.internals),
            offers: Arc::new(Offers::new(
                registry.project(),
                Some(registry.clone()),
                usize::MAX,
            )),
            executor: self.executor,
            group,
            me: Peer::new(None, instance, "".into()),
        };
        MemoryBroker::over(parts, self.encode_always, Callers::Wait)
    }
}

/// What a broker has, and may share with one that carries its calls within the process.
pub(crate) struct Parts {
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) attachment: Arc<Attachment>,
    pub(crate) group: TaskGroup<Infallible>,
    pub(crate) offers: Arc<Offers>,
    /// Who its callers are to handlers.
    pub(crate) me: Peer,
}

/// What those do who call where there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callers {
    /// They wait until there is.
    Wait,
    /// They are refused, for there are others whom they may call.
    GoElsewhere,
}

impl MemoryBroker {
    /// A broker of parts that run already.
    pub(crate) fn over(parts: Parts, encode_always: bool, callers: Callers) -> MemoryBroker {
        MemoryBroker {
            shared: Arc::new(Shared {
                executor: parts.executor,
                attachment: parts.attachment,
                cancel: parts.group.handle(),
                group: parts.group,
                me: parts.me,
                next_call: AtomicU64::new(1),
                offers: parts.offers,
                ending: Ending::default(),
                refused: AtomicU64::new(0),
                waiting: AtomicUsize::new(0),
                notifications: Semaphore::new(NOTIFICATIONS),
                dedupe: Arc::default(),
                encode_always,
                callers,
            }),
        }
    }
}
