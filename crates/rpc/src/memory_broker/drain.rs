//! How the broker ends in order.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bowline_concurrency::timeout;

use super::MemoryBroker;
use crate::{Broker, CloseCause, DrainReport};

impl MemoryBroker {
    /// Takes no new calls, lets those in flight end within `most`, and closes.
    pub(super) async fn end_calls(&self, most: Duration) -> DrainReport {
        let shared = &self.shared;
        shared.ending.by(CloseCause::Drained);
        let before = shared.offers.ends();
        let refused = shared.refused.load(Ordering::Relaxed);
        // What is left then is cancelled by the end of the broker.
        let _ = timeout(most, self.last_call()).await;
        let left = shared.offers.ends();
        self.close();
        DrainReport {
            finished: left.finished.saturating_sub(before.finished),
            refused: shared.refused.load(Ordering::Relaxed) - refused + left.queued,
            cancelled: left.open.saturating_sub(left.queued),
            abandoned: 0,
        }
    }

    /// Takes no new calls from its first poll on; completes when those there were have ended.
    pub(crate) async fn last_call(&self) {
        let offers = &self.shared.offers;
        let mut ends = offers.gate().close();
        while offers.ends().open > 0 {
            if ends.changed().await.is_err() {
                break;
            }
        }
    }
}
