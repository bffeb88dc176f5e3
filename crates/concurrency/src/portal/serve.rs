use super::Passage;
use super::error::PortalError;
use crate::cancel_scope::CancelScope;
use crate::caught::quietly;
use crate::checkpoint::check_cancelled;
use crate::task_group::{PanicPolicy, Policy, TaskGroup};
use std::convert::Infallible;
use std::sync::Arc;

/// The end of the portal on the side of the tasks. Gone, nothing stays in the queue.
struct Exit(Arc<Passage>);

impl Drop for Exit {
    fn drop(&mut self) {
        let queue = &self.0.queue;
        queue.close();
        let cause = check_cancelled().err();
        while let Ok(order) = queue.try_recv() {
            let error = match &cause {
                Some(cause) => PortalError::Cancelled(cause.clone()),
                None => PortalError::Closed,
            };
            // The closure is the user's, and may panic when it is dropped.
            quietly(|| order.refuse(error));
        }
    }
}

/// Begins the calls, in order, until the portal closes; then waits for them.
pub(super) fn serve(passage: Arc<Passage>, scope: CancelScope) -> impl Future<Output = ()> + Send {
    let exit = Exit(passage);
    let calls = TaskGroup::builder()
        .name("calls")
        .policy(Policy::Isolate)
        .panics(PanicPolicy::Collect);
    let served = scope.run(calls.run(|group: TaskGroup<Infallible>| async move {
        while let Ok(slot) = group.admit().await {
            let Ok(order) = exit.0.queue.recv().await else {
                break;
            };
            order.begin(slot);
        }
        Ok(())
    }));
    async move {
        // What was cancelled was told of it already.
        let _ = served.await;
    }
}
