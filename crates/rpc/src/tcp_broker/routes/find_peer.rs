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

/// Waits until a peer that `aim` allows offers the method, for a call with a body of `bytes` bytes. One that is
/// `nested` in a handler's does not wait for peers that may come to a broker that drains.
pub(in crate::tcp_broker) async fn find_peer(
    routes: &Arc<Routes>,
    key: Key<'_>,
    aim: Aim<'_>,
    (bytes, nested): (usize, bool),
    deadline: Instant,
) -> Result<Found, CallError> {
    let mut waiting = pin!(FindPeer {
        routes,
        key,
        aim,
        bytes,
        nested,
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
            Err(_) => Err(NotFound::Nobody),
        },
    };
    found.map_err(|why| {
        let failed = |code| CallError::new(code, Certainty::NeverSent);
        let error = match why {
            NotFound::Nobody => failed(Code::NoPeer),
            NotFound::Closed => failed(Code::Cancelled),
            NotFound::Full => failed(Code::Overloaded),
            NotFound::Drains => {
                failed(Code::NoPeer).with_message("this broker drains, and waits for no peer")
            }
        };
        error.of_method(key.name().clone())
    })
}

/// Why a call has no peer.
#[derive(Clone, Copy, Debug)]
enum NotFound {
    /// None came in time, or the one start of a peer that it is for is over.
    Nobody,
    /// The broker was closed.
    Closed,
    /// Too many wait.
    Full,
    /// None will come.
    Drains,
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

/// A call that waits for a peer to offer its method. Fails if too many wait, the
/// broker closes, or it drains and none will come.
#[must_use = "a call waits while this is polled"]
struct FindPeer<'a> {
    routes: &'a Arc<Routes>,
    key: Key<'a>,
    aim: Aim<'a>,
    bytes: usize,
    nested: bool,
    place: Option<WaitId>,
}

impl Future for FindPeer<'_> {
    type Output = Result<Found, NotFound>;

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
                return Poll::Ready(Err(NotFound::Nobody));
            }
        }
        let in_vain = match state.is_closed() {
            true => Some(NotFound::Closed),
            false => state.waits_in_vain(this.nested).then_some(NotFound::Drains),
        };
        if let Some(why) = in_vain {
            drop(state);
            return Poll::Ready(Err(why));
        }
        let place = match this.place {
            Some(place) => place,
            None => match state.table.wait(this.key.name(), this.bytes) {
                Ok(place) => *this.place.insert(place),
                Err(_) => {
                    drop(state);
                    return Poll::Ready(Err(NotFound::Full));
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
