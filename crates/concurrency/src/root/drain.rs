use super::{RootState, of_process, root_of};
use crate::ambient;
use crate::node::{Kind, NodeRef, Wakeup, wake_all};
use crate::sleep::{Sleep, sleep};
use crate::task_info::TaskInfo;
use pin_project_lite::pin_project;
use slab::Slab;
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Tasks that a report names; more are only counted.
const NAMED: usize = 100;

/// Waits for what foreign code has left behind outside of any [`Root`](crate::Root), for `span` at
/// most, and says what is left then.
///
/// Code that does not enter through a root, as under `#[tokio::main]`, leaves the tasks of groups it
/// drops, [`critical`](crate::critical) work, the finalisers of scopes it drops and the closing of
/// pools to one root per backend and process (in a simulated world one per host), for which nobody
/// waits: they end with the runtime. Await this before it does.
///
/// # Panics
///
/// When polled with no backend compiled in, or where the backend does not run.
///
/// # Cancel safety
///
/// Nothing happened.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "tokio")] {
/// use bowline_concurrency::{checkpoint, critical, drain};
/// use std::time::Duration;
///
/// # use bowline_backend::Backend;
/// Backend::Tokio.block_on(async {
///     let mut save = Box::pin(critical(checkpoint()));
///     std::future::poll_fn(|cx| {
///         let _ = save.as_mut().poll(cx);
///         std::task::Poll::Ready(())
///     })
///     .await;
///     drop(save);
///     let left = drain(Duration::from_secs(5)).await;
///     assert!(left.is_empty(), "{left}");
/// });
/// # }
/// ```
pub fn drain(span: Duration) -> Drain {
    Drain {
        sleep: sleep(span),
        root: None,
        place: None,
    }
}

pin_project! {
    /// Future of [`drain`].
    #[must_use = "this waits for nothing until it is awaited"]
    pub struct Drain {
        #[pin]
        sleep: Sleep,
        root: Option<NodeRef>,
        place: Option<usize>,
    }

    impl PinnedDrop for Drain {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let (Some(root), Some(place)) = (this.root.as_ref(), this.place.take()) {
                root_of(root).emptied.leave(place);
            }
        }
    }
}

impl Future for Drain {
    type Output = Leftovers;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Leftovers> {
        let this = self.project();
        if ambient::is_cancelled() {
            return Poll::Pending;
        }
        let root = this.root.get_or_insert_with(of_process);
        root_of(root).emptied.wait(this.place, cx.waker());
        // Looked at after the waker is there: the last task to leave is seen or wakes.
        if root.task_count() == 0 || this.sleep.poll(cx).is_ready() {
            return Poll::Ready(Leftovers::of(root));
        }
        Poll::Pending
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").finish_non_exhaustive()
    }
}

/// Those who wait until a root has no task.
#[derive(Default)]
pub(super) struct Emptied {
    /// With the waker of each until it is woken.
    waiting: Mutex<Slab<Option<Waker>>>,
}

impl Emptied {
    fn wait(&self, place: &mut Option<usize>, waker: &Waker) {
        let waker = waker.clone();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let former = match place.and_then(|place| waiting.get_mut(place)) {
            Some(entry) => entry.replace(waker),
            None => {
                *place = Some(waiting.insert(Some(waker)));
                None
            }
        };
        drop(waiting);
        drop(former);
    }

    fn leave(&self, place: usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let former = waiting.try_remove(place);
        drop(waiting);
        drop(former);
    }

    fn wake(&self) {
        let wakeups = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let each = waiting.iter_mut();
            let wakers = each.filter_map(|(_, waker)| waker.take());
            wakers.map(Wakeup::Owner).collect()
        };
        wake_all(wakeups);
    }
}

impl RootState {
    /// The last task below the root has left it.
    pub(crate) fn note_empty(&self) {
        self.emptied.wake();
    }
}

/// Tasks that had not ended when the time to wait for them was over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "this says whether everything has ended"]
pub struct Leftovers {
    count: usize,
    named: Vec<TaskInfo>,
}

impl Leftovers {
    /// The tasks below a root, those that are there by now.
    pub(super) fn of(root: &NodeRef) -> Leftovers {
        let mut left = Leftovers::default();
        let mut stack = vec![root.clone()];
        while let Some(node) = stack.pop() {
            // Places that are kept for children have no number.
            if node.kind == Kind::Task && !node.id.is_outside() {
                left.count += 1;
                if left.named.len() < NAMED {
                    left.named.extend(TaskInfo::of(&node));
                }
            }
            stack.extend(node.members());
        }
        left
    }

    /// Whether every task has ended.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// The first hundred of them.
    pub fn iter(&self) -> impl Iterator<Item = &TaskInfo> {
        self.named.iter()
    }
}

impl fmt::Display for Leftovers {
    /// One line for each that has a name here, and one for those beyond.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, task) in self.named.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}{task}")?;
        }
        match self.count - self.named.len() {
            0 if self.count == 0 => f.write_str("nothing"),
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}
