//! Calls that wait for a peer.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_backend::time::Instant;
use bowline_concurrency::{timeout, timeout_at};

use super::{Aim, Found, Key, Routes, WaitId};
use crate::tcp_broker::table::Gone;
use crate::{CallError, Certainty, Code};

/// A call that waits longer is worth a warning.
const WORTH_A_WARNING: Duration = Duration::from_secs(1);

/// Waits until a peer that `aim` allows offers the method, for a call with a body of `bytes` bytes.
pub(in crate::tcp_broker) async fn find_peer(
    routes: &Arc<Routes>,
    key: Key<'_>,
    aim: Aim<'_>,
    bytes: usize,
    deadline: Instant,
) -> Result<Found, CallError> {
    let failed = |code| CallError::new(code, Certainty::NeverSent).of_method(key.name().clone());
    let mut waiting = pin!(FindPeer {
        routes,
        key,
        aim,
        bytes,
        place: None,
    });
    let found = async {
        if cfg!(feature = "tracing") {
            if let Ok(found) = timeout(WORTH_A_WARNING, waiting.as_mut()).await {
                return found;
            }
            routes.warn(key);
        }
        waiting.as_mut().await
    };
    let found = match deadline {
        Instant::NEVER => found.await,
        deadline => match timeout_at(deadline, found).await {
            Ok(found) => found,
            Err(_) => Err(Code::NoPeer),
        },
    };
    found.map_err(failed)
}

impl Routes {
    /// Says that calls wait for the method, once for each time nobody offers it.
    fn warn(&self, key: Key<'_>) {
        let calls = self.state().table.warn(key.name());
        #[cfg(feature = "tracing")]
        if let Some(calls) = calls {
            tracing::warn!(method = %key.name(), calls, "calls wait for a peer that offers the method");
        }
        #[cfg(not(feature = "tracing"))]
        let _ = calls;
    }
}

/// A call that waits for a peer to offer its method. Fails if too many wait or the broker closes.
#[must_use = "a call waits while this is polled"]
struct FindPeer<'a> {
    routes: &'a Arc<Routes>,
    key: Key<'a>,
    aim: Aim<'a>,
    bytes: usize,
    place: Option<WaitId>,
}

impl Future for FindPeer<'_> {
    type Output = Result<Found, Code>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let routes = this.routes;
        let waker = cx.waker().clone();
        let mut state = routes.state();
        match state.pick(this.key, this.aim) {
            Ok(Some(picked)) => {
                drop(state);
                return Poll::Ready(Ok(routes.found(picked)));
            }
            Ok(None) => {}
            Err(Gone) => {
                drop(state);
                return Poll::Ready(Err(Code::NoPeer));
            }
        }
        if state.closed {
            drop(state);
            return Poll::Ready(Err(Code::Cancelled));
        }
        let place = match this.place {
            Some(place) => place,
            None => match state.table.wait(this.key.name(), this.bytes) {
                Ok(place) => *this.place.insert(place),
                Err(_) => {
                    drop(state);
                    return Poll::Ready(Err(Code::Overloaded));
                }
            },
        };
        let former = state.wakers.insert(place, waker);
        drop(state);
        drop(former);
        Poll::Pending
    }
}

impl Drop for FindPeer<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let mut state = self.routes.state();
            state.table.leave(self.key.name(), place);
            let waker = state.wakers.remove(&place);
            drop(state);
            drop(waker);
        }
    }
}
