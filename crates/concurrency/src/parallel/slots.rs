//! Parallel calls that each get an answer of their own.

use crate::ambient;
use crate::caught::Caught;
use crate::task_group::{ChildError, ChildErrorKind, GroupError, Policy, TaskGroupBuilder};
use crate::task_handle::{JoinError, TaskHandle};
use std::iter::Peekable;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the calls leave behind beside their values.
struct Tally<E> {
    /// How many have returned well.
    done: AtomicUsize,
    /// The items that failed, in the order in which their calls ended.
    failed: Mutex<Vec<Failed<E>>>,
}

/// The number of an item, and what happened to its call.
type Failed<E> = (usize, ChildError<E>);

pub(super) async fn each<T, E, I, F, Fut>(
    group: TaskGroupBuilder,
    policy: Policy,
    limit: usize,
    mut items: I,
    mut f: F,
) -> Result<Vec<Result<T, ChildError<E>>>, GroupError<E>>
where
    T: Send + 'static,
    E: Send + 'static,
    I: Iterator + Send,
    F: FnMut(I::Item) -> Fut + Send,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
{
    // Isolated errors would be counted only; here they are answers.
    let (policy, enough) = match policy {
        Policy::Quorum(wanted) => (policy, wanted),
        _ => (Policy::CollectAll, usize::MAX),
    };
    let tally = Arc::new(Tally {
        done: AtomicUsize::new(0),
        failed: Mutex::new(Vec::new()),
    });
    let mut calls = Vec::new();
    let group = group.policy(policy).max_children(limit);
    let run = group.run::<(), (), _, _>(|group| {
        let (tally, calls) = (&tally, &mut calls);
        async move {
            while let Ok(slot) = group.admit().await {
                if tally.done.load(Ordering::SeqCst) >= enough {
                    break;
                }
                let Some(item) = items.next() else { break };
                let index = calls.len();
                let call = call(index, f(item), tally.clone());
                calls.push(slot.named(name(index)).spawn(call));
            }
            Ok(())
        }
    });
    let result = run.await;
    let failed = std::mem::take(&mut *tally.lock());
    match result {
        // A quorum that was missed; the other policies have an answer for each.
        Err(error) if policy != Policy::CollectAll => Err(with_errors(error, failed)),
        _ => Ok(answers(calls, failed)),
    }
}

fn name(index: usize) -> String {
    format!("item {index}")
}

/// Runs one call; its error goes to the tally, and the group learns only that there is one.
async fn call<T, E>(
    index: usize,
    work: impl Future<Output = Result<T, E>>,
    tally: Arc<Tally<E>>,
) -> Result<T, ()> {
    let kind = match Caught::new(work).await {
        Ok(Ok(value)) => {
            tally.done.fetch_add(1, Ordering::SeqCst);
            return Ok(value);
        }
        Ok(Err(error)) => ChildErrorKind::Failed(error),
        Err(panic) => ChildErrorKind::Panicked(panic),
    };
    let error = ChildError::new(ambient::task_id(), name(index).into(), kind);
    tally.lock().push((index, error));
    Err(())
}

impl<E> Tally<E> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Failed<E>>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The group's error, with the calls' own ones.
fn with_errors<E>(error: GroupError<()>, failed: Vec<Failed<E>>) -> GroupError<E> {
    let mut children: Vec<_> = failed.into_iter().map(|(_, error)| error).collect();
    let lost = |child: &&ChildError<()>| matches!(child.kind(), ChildErrorKind::Lost);
    children.extend(error.children().iter().filter(lost).map(|child| {
        let name = child.name().to_owned();
        ChildError::new(child.id(), name.into(), ChildErrorKind::Lost)
    }));
    error.of_children(children)
}

/// One answer per call, in order.
fn answers<T: Send + 'static, E>(
    calls: Vec<TaskHandle<T>>,
    mut failed: Vec<Failed<E>>,
) -> Vec<Result<T, ChildError<E>>> {
    failed.sort_by_key(|(index, _)| *index);
    let mut failed = failed.into_iter().peekable();
    let calls = calls.into_iter().enumerate();
    calls
        .map(|(index, call)| answer(index, call, &mut failed))
        .collect()
}

fn answer<T: Send + 'static, E>(
    index: usize,
    call: TaskHandle<T>,
    failed: &mut Peekable<impl Iterator<Item = Failed<E>>>,
) -> Result<T, ChildError<E>> {
    if let Some((_, error)) = failed.next_if(|(at, _)| *at == index) {
        return Err(error);
    }
    let (id, name) = (call.id(), call.name().to_owned());
    let Ok(ended) = call.try_join() else {
        unreachable!("a group waits for its children");
    };
    ended.map_err(|error| {
        let kind = match error {
            JoinError::Cancelled(cause) => ChildErrorKind::Cancelled(cause),
            // A failure is in the tally, and a panic behind the call has gone on in our caller.
            _ => ChildErrorKind::Lost,
        };
        ChildError::new(id, name.into(), kind)
    })
}
