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
        let mut ends = shared.offers.gate().close();
        let all_ended = async {
            while shared.offers.ends().open > 0 {
                if ends.changed().await.is_err() {
                    break;
                }
            }
        };
        // What is left then is cancelled by the end of the broker.
        let _ = timeout(most, all_ended).await;
        let left = shared.offers.ends();
        self.close();
        DrainReport {
            finished: left.finished.saturating_sub(before.finished),
            refused: shared.refused.load(Ordering::Relaxed) - refused + left.queued,
            cancelled: left.open.saturating_sub(left.queued),
            abandoned: 0,
        }
    }
}
