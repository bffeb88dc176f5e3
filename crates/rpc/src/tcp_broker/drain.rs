//! How a broker ends: it takes nothing new, and lets what is under way come to its end.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bowline_backend::signal::{Signal, SignalStream, listen};
use bowline_concurrency::{CancelScope, timeout};

use super::TcpBroker;
use crate::{
    Broker, CallError, CallOptions, Certainty, CloseCause, Code, DrainReport, Error, ErrorKind,
};

/// How long connections may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

impl DrainReport {
    fn since(&self, before: &DrainReport) -> DrainReport {
        DrainReport {
            finished: self.finished - before.finished,
            refused: self.refused - before.refused,
            cancelled: self.cancelled - before.cancelled,
            abandoned: self.abandoned - before.abandoned,
        }
    }
}

impl TcpBroker {
    /// Takes no new connections and calls, waits for those in flight, in both directions, for `most` at
    /// most, cancels the rest and gives that the
    /// [`cancel_grace`](crate::Limits::cancel_grace), and says goodbye to every peer. Handlers that run may
    /// call as before until then.
    pub(super) async fn end_calls(&self, most: Duration) -> DrainReport {
        let shared = &self.shared;
        shared.ending.by(CloseCause::Drained);
        let before = shared.counters.ends();
        // No new call of its own from now on.
        drop(shared.offers.gate().close());
        // Who starts anew at the same place finds it free.
        shared.places.stop_accepting().await;
        let (routes, limits) = (&shared.routes, &shared.limits);
        routes.drain(most);
        // In a task of its own, so that connections end though nobody waits for it.
        let handlers = shared.clone();
        drop(shared.group.spawn_ok(async move {
            handlers.routes.all_left().await;
            handlers.offers.last_call().await;
            handlers.routes.release();
        }));
        if timeout(most, self.all_ended()).await.is_err() {
            // Those of notifications and those with a key too, which no connection cancels.
            shared.attachment.cut(&*shared.executor);
            routes.cancel_calls();
            if timeout(limits.cancel_grace, self.all_ended())
                .await
                .is_err()
            {
                routes.close("");
                // A peer that does not end its side in time is left.
                let _ = timeout(FAREWELL, routes.none_left()).await;
            }
        }
        let mut report = shared.counters.ends().since(&before);
        // Some of them are of no connection.
        report.abandoned = report.abandoned.max(shared.offers.ends().open);
        report
    }

    /// Why a call with these options does not begin: the broker drains, and it is none of a handler.
    pub(super) fn refuses<E>(&self, options: &CallOptions) -> Option<CallError<E>> {
        let shared = &self.shared;
        let drains = options.hops == 0 && shared.offers.gate().is_closed();
        // One that is closed says so.
        if !drains || shared.routes.is_closed() {
            return None;
        }
        shared.counters.came_late();
        Some(CallError::new(Code::Draining, Certainty::NeverSent))
    }

    /// Completes when no connection is left, and no handler runs: neither of notifications, nor of calls of
    /// this broker to itself, or of peers that are gone.
    async fn all_ended(&self) {
        self.shared.routes.none_left().await;
        self.shared.offers.last_call().await;
    }

    /// The same, so that who waits for [`closed`](Broker::closed) goes on and ends the broker.
    pub(super) async fn drain_in_order(&self, most: Duration) {
        self.end_calls(most).await;
        self.shared.routes.close("");
    }

    /// What `run` does when its body is done.
    pub(super) async fn shut_down(&self) {
        self.shared.ending.by(CloseCause::Cancelled);
        self.drain(self.shared.limits.drain).await;
    }

    /// Completes when the broker takes no more calls and has ended those it had: it was closed or has
    /// drained.
    pub(super) async fn over(&self) {
        let mut gone = pin!(self.shared.attachment.over());
        let mut closed = pin!(self.shared.routes.closed());
        poll_fn(|cx| {
            // Both, for each wakes for itself.
            let gone = gone.as_mut().poll(cx).is_ready();
            let closed = closed.as_mut().poll(cx).is_ready();
            match gone || closed {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

/// The signals that ask a program to end.
pub(super) struct EndSignals([SignalStream; 2]);

impl EndSignals {
    pub(super) fn listen() -> Result<Self, Error> {
        let one = |signal| {
            listen(signal).map_err(|error| {
                let what = format_args!("{signal:?} cannot be listened for");
                Error::with_source(ErrorKind::Unsupported, what, error)
            })
        };
        Ok(Self([one(Signal::Terminate)?, one(Signal::Interrupt)?]))
    }

    async fn recv(&mut self) {
        poll_fn(|cx| {
            let any = self
                .0
                .iter_mut()
                .map(|signal| signal.poll_recv(cx))
                .filter(Poll::is_ready)
                .count();
            match any {
                0 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Drains `broker` at the first signal, so that who waits for [`closed`](Broker::closed) goes on;
    /// closes it at the second.
    pub(super) async fn drain(mut self, broker: TcpBroker) {
        self.recv().await;
        let draining = CancelScope::new();
        let handle = draining.handle();
        let drained = draining.run(broker.drain_in_order(broker.shared.limits.drain));
        let mut drained = pin!(drained);
        let second = {
            let mut second = pin!(self.recv());
            poll_fn(|cx| {
                if drained.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(false);
                }
                second.as_mut().poll(cx).map(|()| true)
            })
            .await
        };
        if second {
            handle.cancel("a second signal");
        } else {
            self.recv().await;
        }
        broker.close();
    }
}
