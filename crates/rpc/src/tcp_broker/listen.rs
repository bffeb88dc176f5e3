//! The tasks that accept connections.

use std::sync::Arc;
use std::time::Duration;

use bowline_backend::accept_error::AcceptErrorKind;
use bowline_backend::entropy;
use bowline_backend::net::TcpListener;
use bowline_concurrency::sleep;

use super::Shared;
use super::link::drive;
use crate::proto::Side;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts until the listener breaks; each connection becomes a task of the broker's group.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                pause = FIRST_PAUSE;
                let shared_too = shared.clone();
                // Dropped at once, and so closed, where there are too many already.
                drop(shared.group.spawn_ok(async move {
                    drive(&shared_too, stream, Side::Listener, None).await;
                }));
            }
            Err(error) => match AcceptErrorKind::of(&error) {
                AcceptErrorKind::Skip => {}
                AcceptErrorKind::Exhausted => {
                    sleep(jittered(pause)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                _ => return,
            },
        }
    }
}

/// Between half of `pause` and all of it.
fn jittered(pause: Duration) -> Duration {
    let half = pause / 2;
    half + full_jitter(half)
}

/// Anything from nothing to `longest`.
pub(super) fn full_jitter(longest: Duration) -> Duration {
    let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(entropy::random_u64() % nanos.saturating_add(1).max(1))
}
