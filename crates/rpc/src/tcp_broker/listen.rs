//! The tasks that accept connections.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bowline_backend::accept_error::AcceptErrorKind;
use bowline_backend::stream::Address;
use bowline_backend::time;
use bowline_concurrency::{Backoff, Jitter, sleep, timeout_at};

use super::Shared;
use super::link::{Place, drive};
use super::prefix::Prefix;
use super::routes::{NoRoom, Origin};
use super::wires::{Door, Visitor};
use crate::proto::{CloseCause, Side};

/// Pauses while the system has no descriptors or memory.
const EXHAUSTED: Backoff = Backoff::exponential(Duration::from_millis(100))
    .max(Duration::from_secs(1))
    .jitter(Jitter::Equal);

/// Accepts until the listener breaks; each connection becomes a task of the broker's group. While
/// as many were accepted as may be, those to come wait at the system.
pub(super) async fn accept(shared: Arc<Shared>, mut door: Door) {
    let mut exhausted = 0_usize;
    loop {
        shared
            .routes
            .fewer_accepted(shared.limits.connections)
            .await;
        match door.accept().await {
            Ok((visitor, address)) => {
                exhausted = 0;
                take_on(&shared, visitor, &address).await;
            }
            Err(error) => {
                let kind = AcceptErrorKind::of(&error);
                shared.counters.accept_failed(kind);
                match kind {
                    AcceptErrorKind::Skip => {}
                    AcceptErrorKind::Exhausted => {
                        exhausted = exhausted.saturating_add(1);
                        sleep(EXHAUSTED.pause(exhausted)).await;
                    }
                    // Its owner learns of it by the end of the broker: nothing else would tell
                    // that no peer will come any more.
                    _ => {
                        let why = format!("a listener broke: {error}");
                        shared
                            .ending
                            .by(crate::CloseCause::Broken(why.as_str().into()));
                        shared.routes.close("a listener broke");
                        shared.group.cancel(why);
                        return;
                    }
                }
            }
        }
    }
}

/// Starts the task of an accepted connection, or closes it where too many are in their handshake.
async fn take_on(shared: &Arc<Shared>, visitor: Visitor, address: &Address) {
    let origin = Origin::Accepted(Prefix::of(address));
    let place = loop {
        match Place::new(shared, origin.clone()) {
            Ok(place) => break place,
            // Someone else was faster: this one waits for the next that ends.
            Err(NoRoom::Full) => {
                shared
                    .routes
                    .fewer_accepted(shared.limits.connections)
                    .await
            }
            Err(NoRoom::Handshakes) => return shared.counters.refused.add(1),
            Err(NoRoom::Closed) => return,
        }
    };
    shared.counters.accepted.add(1);
    // A stranger has this time once, not for each of the handshakes.
    let began = time::now();
    let group = shared.group.clone();
    let shared = shared.clone();
    drop(group.spawn_ok(async move {
        let most = shared.limits.handshake_timeout;
        let wire = {
            let mut wire = pin!(timeout_at(began + most, visitor.wire()));
            let mut ends = pin!(place.to_end());
            poll_fn(|cx| match wire.as_mut().poll(cx) {
                Poll::Ready(wire) => Poll::Ready(Some(wire)),
                Poll::Pending => ends.as_mut().poll(cx).map(|()| None),
            })
            .await
        };
        // Peers that stall, or are none, are counted like those who do so later.
        match wire {
            Some(Ok(Ok(wire))) => drop(drive(place, wire, (Side::Listener, began), None).await),
            Some(Ok(Err(error))) => shared.counters.insecure(&error),
            Some(Err(_)) => shared.counters.closed(&CloseCause::HandshakeTimeout),
            None => {}
        }
    }));
}
