use crate::ambient;
use crate::caught::{PanicPayload, discard, guarded, quietly};
use crate::cause::clock_of;
use crate::node::{Counted, CountedWaker, Kind, Node, NodeRef, Payload, Pulse};
use crate::owner::{self, Limit, Owner};
use crate::root;
use pin_project_lite::pin_project;
use std::borrow::Cow;
use std::fmt;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Runs `body` to its end in a task of its own, whatever is cancelled or dropped around the caller.
///
/// It is a [`shield`](crate::shield) that foreign code cannot break: dropped half-way, by `select!`
/// or another crate's timeout, this future stops waiting and the work goes on. The task belongs to
/// the task group around the caller, or to the root, and that waits for it. As behind a shield,
/// cancels and deadlines of the scopes around are invisible in the body, and those scopes wait and
/// act on their cancel when it is done.
///
/// It counts as one of the group's live children, but is not refused by a limit, and its end means
/// nothing to the group's policy. A panic of the body goes on in the caller; if nobody waits any
/// more it is that of a child.
///
/// # Panics
///
/// With a panic of `body`, or if the runtime drops the task. When polled with no backend compiled
/// in, or where the backend does not run.
///
/// # Cancel safety
///
/// Dropping the future leaves the body running; its value is dropped. No cancel stops it.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Root, checkpoint, critical};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// let saved = Arc::new(AtomicBool::new(false));
/// let flag = saved.clone();
/// Root::new().backend(Backend::Smol).block_on(async move {
///     let mut save = Box::pin(critical(async move {
///         checkpoint().await;
///         flag.store(true, Ordering::SeqCst);
///     }));
///     std::future::poll_fn(|cx| {
///         let _begun = save.as_mut().poll(cx);
///         std::task::Poll::Ready(())
///     })
///     .await;
///     drop(save);
/// });
/// assert!(saved.load(Ordering::SeqCst));
/// # }
/// ```
#[track_caller]
pub fn critical<F>(body: F) -> Critical<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    Critical {
        body: Some(body),
        location: Location::caller(),
        owner: Owner::new(Limit::Never),
        task: None,
        outcome: Arc::new(Outcome {
            state: Mutex::new(State::Running(None)),
        }),
    }
}

/// Future of [`critical`].
///
/// Invariant: while the work runs, the owners above are held and see a mask here.
#[must_use = "nothing runs until this is awaited"]
pub struct Critical<F: Future> {
    body: Option<F>,
    location: &'static Location<'static>,
    owner: Owner,
    /// What runs the body, and its parent.
    task: Option<(NodeRef, NodeRef)>,
    outcome: Arc<Outcome<F::Output>>,
}

/// The body is moved out before it is ever pinned.
impl<F: Future> Unpin for Critical<F> {}

/// Where the task leaves what became of the work.
struct Outcome<T> {
    state: Mutex<State<T>>,
}

enum State<T> {
    Running(Option<Waker>),
    Done(T),
    Panicked(PanicPayload),
    /// The runtime dropped the task.
    Lost,
    /// Nobody waits, or what there was has been taken.
    Unwanted,
}

impl<T> Outcome<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the end of the work for who waits; comes back if nobody does.
    fn fill(&self, end: State<T>) -> Option<State<T>> {
        let mut state = self.lock();
        if matches!(*state, State::Unwanted) {
            return Some(end);
        }
        let former = std::mem::replace(&mut *state, end);
        drop(state);
        if let State::Running(Some(waker)) = former {
            waker.wake();
        }
        None
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<State<T>> {
        let waker = Some(cx.waker().clone());
        let mut state = self.lock();
        let next = match *state {
            State::Running(_) => State::Running(waker),
            _ => State::Unwanted,
        };
        let former = std::mem::replace(&mut *state, next);
        drop(state);
        match former {
            State::Running(_) => Poll::Pending,
            end => Poll::Ready(end),
        }
    }
}

impl<F> Future for Critical<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if let Some(body) = this.body.take() {
            let place = owner::new_scope(Cow::Borrowed("critical"), this.location);
            place.set_mask();
            this.owner.set_node(place);
            this.owner.arrive(cx);
            let place = this.owner.node();
            this.task = start(body, place, this.location, &this.outcome);
        } else if this.owner.is_under_way() {
            this.owner.arrive(cx);
        }
        let Poll::Ready(end) = this.outcome.poll(cx) else {
            this.owner.arm();
            return Poll::Pending;
        };
        this.owner.leave();
        match end {
            State::Done(value) => Poll::Ready(value),
            State::Panicked(panic) => resume_unwind(panic),
            State::Lost => panic!("the runtime dropped critical work of {}", this.location),
            State::Running(_) | State::Unwanted => {
                panic!("critical work was polled after it had returned")
            }
        }
    }
}

impl<F: Future> Drop for Critical<F> {
    fn drop(&mut self) {
        let former = std::mem::replace(&mut *self.outcome.lock(), State::Unwanted);
        match (former, &self.task) {
            (State::Panicked(panic), Some((task, parent))) => {
                parent.payload.take_panic(parent, task, panic);
            }
            (former, _) => drop(former),
        }
    }
}

impl<F: Future> fmt::Debug for Critical<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Critical").finish_non_exhaustive()
    }
}

/// The task's own part of its node.
#[derive(Default)]
struct Part {
    pulse: Pulse,
}

impl Payload for Part {
    fn is_critical(&self) -> bool {
        true
    }

    fn pulse(&self) -> Option<&Pulse> {
        Some(&self.pulse)
    }
}

impl Counted for Part {
    fn counted(&self) -> &Pulse {
        &self.pulse
    }
}

/// Runs the body as a task of the group around `place`, or of the root.
fn start<F>(
    body: F,
    place: &NodeRef,
    location: &'static Location<'static>,
    outcome: &Arc<Outcome<F::Output>>,
) -> Option<(NodeRef, NodeRef)>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let backend = place.backend().unwrap_or_else(ambient::backend);
    let root = root::above(Some(place));
    let id = root::next_id(&root);
    let name = Cow::Borrowed("critical");
    let task = Node::new(Kind::Task, id, name, location, Part::default());
    root::measure(&root, &task, || clock_of(place));
    let typed = Arc::new(task);
    let task: NodeRef = typed.clone();
    task.set_mask();
    task.keep_backend(backend);
    let parent = place.group().unwrap_or_else(|| root.clone());
    let mut parents = [parent, root].into_iter();
    let Some(parent) = parents.find(|parent| task.link_critical(parent)) else {
        // The root has returned, and with it everything there is to wait for.
        let _ = outcome.fill(State::Lost);
        return None;
    };
    backend.spawn_detached(Work {
        owner: Owner::fixed(task.clone()),
        waker: CountedWaker::new(&typed),
        node: typed,
        outcome: Some(outcome.clone()),
        body: Some(body),
    });
    Some((task, parent))
}

pin_project! {
    /// Invariant: the task is counted out once, after the body was dropped, also when the runtime
    /// drops this future.
    struct Work<F: Future> {
        owner: Owner,
        waker: CountedWaker,
        // The same node as the owner's.
        node: Arc<Node<Part>>,
        outcome: Option<Arc<Outcome<F::Output>>>,
        #[pin]
        body: Option<F>,
    }

    impl<F: Future> PinnedDrop for Work<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let Some(outcome) = this.outcome.take() else { return };
            let dropped = guarded(|| this.owner.lose(|| this.body.set(None)));
            let end = match dropped {
                Ok(()) => State::Lost,
                Err(panic) => State::Panicked(panic),
            };
            report(this.owner.node(), &outcome, end);
        }
    }
}

impl<F: Future> Future for Work<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let cx = &mut this.waker.context(this.node, cx);
        this.owner.arrive_task();
        let Some(body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(());
        };
        let mut end = match guarded(|| this.owner.inside(|| body.poll(cx))) {
            Ok(Poll::Pending) => {
                this.owner.arm();
                return Poll::Pending;
            }
            Ok(Poll::Ready(value)) => State::Done(value),
            Err(panic) => State::Panicked(panic),
        };
        if let Err(panic) = guarded(|| this.owner.inside(|| this.body.set(None))) {
            discard(std::mem::replace(&mut end, State::Panicked(panic)));
        }
        this.owner.leave();
        if let Some(outcome) = this.outcome.take() {
            report(this.owner.node(), &outcome, end);
        }
        Poll::Ready(())
    }
}

/// Tells who waits, else the group of a panic, and counts the task out.
fn report<T>(task: &NodeRef, outcome: &Outcome<T>, end: State<T>) {
    let parent = task.parent();
    // What panics in here, a waker or the destructor of a value, has no one to go to.
    quietly(|| {
        if let Some(State::Panicked(panic)) = outcome.fill(end)
            && let Some(parent) = &parent
        {
            parent.payload.take_panic(parent, task, panic);
        }
    });
    task.unlink_task();
    if let Some(parent) = &parent {
        quietly(|| parent.payload.note_room(parent));
    }
}
