//! The executor of the broker itself as one more of those that its calls may go to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;

use super::offering::Offering;
use super::routes::Routes;
use super::{Sent, Shared};
use crate::memory_broker::{Callers, MemoryBroker, Parts};
use crate::proto::CallKind;
use crate::{CallError, CallOptions, Certainty, Code, OutCall, Reply, UnknownMethod};

/// What the routing table knows of the broker's own methods.
pub(super) struct Here {
    broker: MemoryBroker,
    offering: Mutex<Offering>,
}

impl Here {
    /// The methods that `parts` offer, in `routes` from now on.
    pub(super) fn join(parts: Parts, weight: u16, routes: &Routes) -> Self {
        let workers = parts.executor.capacity().max_workers;
        let me = parts.me.clone();
        let broker = MemoryBroker::over(parts, true, Callers::GoElsewhere);
        routes.join(broker.clone(), me);
        let this = Self {
            broker,
            offering: Mutex::new(Offering::new(workers, weight)),
        };
        this.refresh(routes);
        this
    }

    fn refresh(&self, routes: &Routes) {
        let mut offering = self.offering();
        // One change after the other reaches the table, in this order.
        let change = offering.change(&self.broker.offered());
        let wakers = routes.change_here(change);
        drop(offering);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn offering(&self) -> MutexGuard<'_, Offering> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.offering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Tells every peer, and this broker where it is one of them, what is offered now.
    pub(super) fn offers_changed(&self) {
        self.routes.refresh();
        if let Some(here) = &self.here {
            here.refresh(&self.routes);
        }
    }

    /// Why its own executor did not take a call, as a peer would have told it: another one may take it.
    pub(super) fn refused_here(&self, error: CallError) -> CallError {
        match (error.code(), error.certainty()) {
            // It was there when the call was sent on its way.
            (Code::UnknownMethod, Certainty::NeverSent) => error.at_least(Certainty::Refused),
            (Code::Overloaded, Certainty::Refused) => match self.retry_after() {
                Some(after) => error.with_retry_after(after),
                None => error,
            },
            _ => error,
        }
    }
}

/// A call as the broker in memory has it.
pub(super) fn out_call(
    method: &Arc<str>,
    body: Bytes,
    sent: Sent,
    options: &CallOptions,
) -> OutCall {
    let mut options = options.clone();
    // It was chosen as one that offers the method; if that has just changed, another one is chosen.
    options.unknown = UnknownMethod::FailFast;
    let mut call = OutCall::new(method.clone(), body, options);
    call.expected = sent.expected;
    call.named = sent.kind.contains(CallKind::NAMED_ARGUMENTS);
    call
}

/// Has the broker itself answer a call, or take one that nobody answers.
pub(super) async fn call(
    broker: &MemoryBroker,
    call: OutCall,
    kind: CallKind,
) -> Result<Reply, CallError> {
    if kind.contains(CallKind::NOTIFY) {
        let nothing = Reply::new(call.options.codec, Bytes::new());
        broker.hand_over(call).await.map(|()| nothing)
    } else {
        broker.carry(call).await
    }
}
