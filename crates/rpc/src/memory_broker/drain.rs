//! How the broker ends in order.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bowline_concurrency::timeout;

use super::{MemoryBroker, NOTIFICATIONS};
use crate::{Broker, CloseCause, DrainReport, Limits};

impl MemoryBroker {
    /// Takes no new calls, lets those in flight end within `most`, cancels the rest and gives that as long
    /// as other brokers do, and closes.
    pub(super) async fn end_calls(&self, most: Duration) -> DrainReport {
        let shared = &self.shared;
        shared.ending.by(CloseCause::Drained);
        let before = shared.offers.ends();
        let refused = shared.refused.load(Ordering::Relaxed);
        let ended = timeout(most, shared.offers.last_call()).await;
        let left = shared.offers.ends();
        // Of those that have not begun, the ones whose senders hear nothing.
        let unheard = NOTIFICATIONS.saturating_sub(shared.notifications.statistics().available);
        let refused_now = left.queued.saturating_sub(unheard as u64);
        let mut abandoned = 0;
        if ended.is_err() {
            shared.attachment.cut(&*shared.executor);
            let grace = Limits::default().cancel_grace;
            if timeout(grace, shared.offers.last_call()).await.is_err() {
                abandoned = shared.offers.ends().open;
            }
        }
        self.close();
        DrainReport {
            finished: left.finished.saturating_sub(before.finished),
            refused: shared.refused.load(Ordering::Relaxed) - refused + refused_now,
            cancelled: left.open.saturating_sub(refused_now + abandoned),
            abandoned,
        }
    }

    /// What `run` does when its body is done.
    pub(super) async fn shut_down(&self) {
        self.shared.ending.by(CloseCause::Cancelled);
        self.end_calls(Limits::default().drain).await;
    }
}
