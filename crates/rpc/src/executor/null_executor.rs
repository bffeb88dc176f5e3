//! The executor that runs nothing.

use super::{Capacity, Executor, Job, Refusal, Ticket};
use crate::{Code, Registry};

/// Runs nothing: for brokers that only call.
///
/// It offers no method, whatever its registry holds, and answers
/// [`NoExecutor`](crate::Code::NoExecutor).
#[derive(Clone, Debug)]
pub struct NullExecutor {
    registry: Registry,
}

impl NullExecutor {
    /// An executor that runs none of the methods of `registry`.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }
}

impl Executor for NullExecutor {
    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn capacity(&self) -> Capacity {
        Capacity {
            max_workers: 0,
            abandoned: 0,
            queue: 0,
            running: 0,
            waiting: 0,
            is_full: false,
        }
    }

    fn admit(&self, job: Job) -> Result<Ticket, Refusal> {
        job.refuse(Code::NoExecutor);
        Err(Refusal)
    }
}
