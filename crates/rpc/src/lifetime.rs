//! The group that owns every task of a broker.

use std::convert::Infallible;

use bowline_channel::oneshot;
use bowline_concurrency::{TaskGroup, task_group};

use crate::Error;

/// Runs `body` with a group of its own and ends the group before it returns.
pub(crate) async fn scoped<T, E, F, Fut>(body: F) -> Result<T, E>
where
    F: FnOnce(TaskGroup<Infallible>) -> Fut + Send,
    Fut: Future<Output = Result<T, E>> + Send,
    T: Send,
    E: From<Error> + Send,
{
    let ended = task_group::<_, Infallible, _, _>(|group: TaskGroup<Infallible>| async move {
        let result = body(group.clone()).await;
        group.cancel("the body of the broker ended");
        Ok(result)
    })
    .await;
    match ended {
        Ok(result) => result,
        Err(ended) => Err(Error::cancelled_by(ended.cause()).into()),
    }
}

/// A group within `group`, in a task of its own; it stays until it is cancelled.
pub(crate) async fn nested<E: Send + 'static>(
    group: &TaskGroup<E>,
) -> Result<TaskGroup<Infallible>, Error> {
    let (sender, receiver) = oneshot();
    drop(group.spawn_ok(async move {
        let ended = task_group::<(), Infallible, _, _>(|inner: TaskGroup<Infallible>| async move {
            // Nobody waits any more: nobody will use the group.
            if sender.send(CancelUnlessTaken(Some(inner))).is_ok() {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
        .await;
        drop(ended);
    }));
    let taken = receiver.await.ok().and_then(|mut guard| guard.0.take());
    taken.ok_or_else(Error::cancelled)
}

/// A group on its way to who asked for it; one that does not arrive is cancelled.
struct CancelUnlessTaken(Option<TaskGroup<Infallible>>);

impl Drop for CancelUnlessTaken {
    fn drop(&mut self) {
        if let Some(group) = &self.0 {
            group.cancel("nobody waits for the group");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bowline_backend::Backend;
    use bowline_concurrency::{Root, timeout, yield_now};
    use std::task::{Context, Waker};
    use std::time::Duration;

    #[test]
    fn a_group_that_nobody_receives_ends() {
        Root::new().backend(Backend::Sim).block_on(async {
            let outer = task_group(|group: TaskGroup<Infallible>| async move {
                let mut asking = Box::pin(nested(&group));
                let polled = asking
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()));
                assert!(polled.is_pending());
                for _ in 0..100 {
                    yield_now().await;
                }
                drop(asking);
                Ok(())
            });
            let ended = timeout(Duration::from_secs(10), outer).await;
            assert!(ended.is_ok(), "the inner group is open");
        });
    }
}
