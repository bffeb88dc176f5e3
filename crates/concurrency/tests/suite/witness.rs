//! What a test leaves in a task to see why its body was dropped.

use bowline_concurrency::{CauseKind, check_cancelled};
use std::sync::{Arc, Mutex};

pub(crate) type Causes = Arc<Mutex<Vec<CauseKind>>>;

/// Says why the body that holds it was dropped.
pub(crate) struct Witness(pub(crate) Causes);

impl Drop for Witness {
    fn drop(&mut self) {
        if let Err(cause) = check_cancelled() {
            self.0.lock().unwrap().push(cause.kind());
        }
    }
}
