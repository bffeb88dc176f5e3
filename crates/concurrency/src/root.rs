mod behind;
mod drain;
mod held;
mod measured;
mod numbers;
mod shields;
mod threads;
mod wait;

pub(crate) use behind::run_behind;
pub use drain::{Drain, Leftovers, drain};
pub(crate) use held::note_held;
pub(crate) use measured::measure;
pub(crate) use shields::ShieldDropped;
pub(crate) use threads::Threads;

use crate::ambient;
use crate::caught::{discard, guarded};
use crate::node::{Counted, CountedWaker, Kind, Node, NodeRef, Payload, Pulse, Waiting};
use crate::owner::Owner;
use crate::task_id::TaskId;
use crate::task_info::TaskInfo;
use crate::tree::Listed;
use behind::Behind;
use bowline_backend::Backend;
use bowline_backend::task::RunOptions;
use drain::Emptied;
use held::{Held, Watch};
use measured::Measured;
use numbers::Numbers;
use pin_project_lite::pin_project;
use shields::{ShieldRule, Shields};
use std::any::Any;
use std::borrow::Cow;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use wait::{Wait, say};

/// Enters a backend and waits for every task below it.
///
/// The backend given here counts for every clock, sleep and spawn of this crate inside,
/// whatever the default of the process is.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{GroupError, Root, task_group};
///
/// let sum: Result<u32, GroupError<String>> = Root::new().backend(Backend::Smol).block_on(
///     task_group(|group| async move {
///         let left = group.spawn_ok(async { 1 });
///         let right = group.spawn_ok(async { 2 });
///         let left = left.join().await.map_err(|e| e.to_string())?;
///         Ok(left + right.join().await.map_err(|e| e.to_string())?)
///     }),
/// );
/// assert_eq!(sum.unwrap(), 3);
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "a root runs nothing until `block_on`"]
pub struct Root {
    backend: Option<Backend>,
    name: Cow<'static, str>,
    options: RunOptions,
    shields: ShieldRule,
    drain_within: Option<Duration>,
    places: Option<usize>,
    held_for: Option<Duration>,
    measured: Measured,
}

impl Root {
    /// A root on [`Backend::current`], with the backend's own defaults.
    pub fn new() -> Root {
        Root::default()
    }

    /// Runs on this backend.
    pub fn backend(mut self, backend: Backend) -> Root {
        self.backend = Some(backend);
        self
    }

    /// Names the root for reports.
    pub fn name(mut self, name: &str) -> Root {
        self.name = Cow::Owned(name.to_owned());
        self
    }

    /// Worker threads and the like.
    pub fn options(mut self, options: RunOptions) -> Root {
        self.options = options;
        self
    }

    /// How many closures of [`run_in_thread`](crate::run_in_thread) without a limiter of their own
    /// run at once; 40 unless set. With none all of them wait.
    pub fn threads(mut self, places: usize) -> Root {
        self.places = Some(places);
        self
    }

    /// Calls `hook` whenever foreign code drops a shield half-way, with the task it was in.
    ///
    /// It runs in that drop, after the body of the shield is gone. A panic of it is caught.
    pub fn on_shield_dropped(mut self, hook: fn(&TaskInfo)) -> Root {
        self.shields.hook = Some(hook);
        self
    }

    /// Names cancelled scopes on standard error that have waited this long for a shield, a group or a
    /// thread in them; 10 s unless set, `Duration::MAX` for never.
    ///
    /// Such a scope waits for ever if what holds it was begun and is no longer polled: kept in a
    /// variable, say, while something else is awaited. Each is named once, with what holds it.
    pub fn name_held_after(mut self, span: Duration) -> Root {
        self.held_for = Some(span);
        self
    }

    /// Times one poll in 16 of every task, so that the [task tree](crate::tree) says how long each
    /// kept its thread and how old it is. Without it nothing is timed.
    pub fn measure(mut self) -> Root {
        self.measured = Measured::Yes;
        self
    }

    /// Makes [`block_on`](Root::block_on) panic at its end if a shield was dropped half-way: the
    /// rule of tests.
    #[doc(hidden)]
    pub fn refuse_dropped_shields(mut self) -> Root {
        self.shields.refuse = true;
        self
    }

    /// Lets [`block_on`](Root::block_on) wait for what `future` left behind for `span` at most.
    ///
    /// Those that have not ended then are named on standard error. They are lost, dropped where they
    /// stand, unless the backend's threads belong to the process (async-std).
    pub fn drain_within(mut self, span: Duration) -> Root {
        self.drain_within = Some(span);
        self
    }

    /// Polls `future` to its end, then waits for every task it left behind.
    ///
    /// Left behind are the children of groups that foreign code dropped; they are cancelled
    /// already. While they hold out, their names go to standard error every 10 s; only
    /// [`drain_within`](Root::drain_within) bounds the wait. Abandoned threads that still run are not
    /// waited for: their names go there, once.
    ///
    /// # Panics
    ///
    /// Resumes a panic of `future` after that wait. Panics where a backend runs on this thread
    /// already, and with no backend compiled in.
    #[track_caller]
    pub fn block_on<F: Future>(self, future: F) -> F::Output {
        let backend = self.backend.unwrap_or_else(ambient::backend);
        let options = self.options.clone();
        match backend.block_on_with(options, self.run(backend, future)) {
            Ok(output) => output,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// What [`block_on`](Root::block_on) blocks on, for whoever enters the backend in another way:
    /// a simulated world made from a chosen seed.
    #[doc(hidden)]
    #[track_caller]
    pub fn entered<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        let backend = self.backend.unwrap_or_else(ambient::backend);
        let run = self.run(backend, future);
        async move {
            match run.await {
                Ok(output) => output,
                Err(panic) => resume_unwind(panic),
            }
        }
    }

    #[track_caller]
    fn run<F: Future>(self, backend: Backend, future: F) -> RootRun<F> {
        let (numbers, measured) = (Numbers::of_root(backend), self.measured);
        let held = self.held_for.unwrap_or(held::NAMED_AFTER);
        let node = root_node(
            self.name,
            numbers,
            self.shields,
            self.places,
            held,
            measured,
        );
        node.keep_backend(backend);
        RootRun {
            listed: Listed::new(&(node.clone() as NodeRef)),
            owner: Owner::root(node.clone()),
            waker: CountedWaker::new(&node),
            node,
            ended: None,
            drain_within: self.drain_within,
            wait: None,
            watch: None,
            body: Some(future),
        }
    }
}

#[track_caller]
fn root_node(
    name: Cow<'static, str>,
    (numbers, id): (Numbers, TaskId),
    shields: ShieldRule,
    places: Option<usize>,
    held_for: Duration,
    measured: Measured,
) -> Arc<Node<RootState>> {
    let state = RootState {
        numbers,
        shields: Shields::new(shields),
        behind: Behind::default(),
        emptied: Emptied::default(),
        threads: Threads::new(places.unwrap_or(threads::PLACES)),
        held: Held::new(held_for),
        measured,
        pulse: Pulse::default(),
    };
    Arc::new(Node::new(Kind::Root, id, name, Location::caller(), state))
}

/// A root's own part of its node.
pub(crate) struct RootState {
    numbers: Numbers,
    shields: Shields,
    behind: Behind,
    emptied: Emptied,
    threads: Threads,
    held: Held,
    measured: Measured,
    pulse: Pulse,
}

impl RootState {
    pub(crate) fn next_id(&self) -> TaskId {
        self.numbers.next()
    }
}

impl Counted for RootState {
    fn counted(&self) -> &Pulse {
        &self.pulse
    }
}

impl Payload for RootState {
    fn root(&self) -> Option<&RootState> {
        Some(self)
    }

    fn pulse(&self) -> Option<&Pulse> {
        Some(&self.pulse)
    }
}

/// The root of what is not below any [`Root`]: one per backend and process, or per host of a
/// simulated world.
struct ProcessRoot {
    node: NodeRef,
    _listed: Listed,
}

/// The root above `node`, which may be none of ours.
pub(crate) fn above(node: Option<&NodeRef>) -> NodeRef {
    match node.map(|node| node.top()) {
        Some(top) if top.kind == Kind::Root => top,
        _ => of_process(),
    }
}

/// The same, if it has not returned; else that of the process, where there is a backend.
pub(crate) fn still_open(node: Option<&NodeRef>) -> Option<NodeRef> {
    let open = |root: &NodeRef| !root.is_closed();
    let root = guarded(|| above(node)).ok();
    root.filter(open).or_else(|| guarded(of_process).ok())
}

/// The root of the current backend for what is below none.
fn of_process() -> NodeRef {
    let slot = bowline_backend::task::realm_slot(|| {
        let name = Cow::Borrowed("process");
        let numbers = Numbers::of_process_root(ambient::backend());
        let (rule, held) = (ShieldRule::default(), held::NAMED_AFTER);
        let node: NodeRef = root_node(
            name,
            (numbers, TaskId::OUTSIDE),
            rule,
            None,
            held,
            Measured::No,
        );
        ProcessRoot {
            _listed: Listed::new(&node),
            node,
        }
    });
    slot.node.clone()
}

/// What there is to do in the first poll of a root: where it is made, its backend may not run.
fn note_start(root: &NodeRef) {
    if root.polls() == 1 {
        root_of(root).numbers.enter(root.id);
        measured::note_start(root);
    }
}

/// The next number for a task below `root`.
pub(crate) fn next_id(root: &NodeRef) -> TaskId {
    root_of(root).next_id()
}

fn root_of(node: &NodeRef) -> &RootState {
    node.payload.root().expect("a root has the state of one")
}

/// What `root` knows of threads.
pub(crate) fn threads_of(root: &NodeRef) -> &Threads {
    &root_of(root).threads
}

type Caught<T> = Result<T, Box<dyn Any + Send>>;

pin_project! {
    struct RootRun<F: Future> {
        listed: Listed,
        owner: Owner,
        waker: CountedWaker,
        // The same as the owner's.
        node: Arc<Node<RootState>>,
        ended: Option<Caught<F::Output>>,
        drain_within: Option<Duration>,
        wait: Option<Wait>,
        watch: Option<Watch>,
        #[pin]
        body: Option<F>,
    }

    impl<F: Future> PinnedDrop for RootRun<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.body.is_some() {
                this.owner.inside(|| this.body.set(None));
            }
        }
    }
}

impl<F: Future> Future for RootRun<F> {
    type Output = Caught<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let cx = &mut this.waker.context(this.node, cx);
        this.owner.arrive_task();
        note_start(this.owner.node());
        if let Some(body) = this.body.as_mut().as_pin_mut() {
            let polled = guarded(|| this.owner.inside(|| body.poll(cx)));
            let ended = match polled {
                Ok(Poll::Pending) => {
                    behind::start(this.owner.node());
                    this.owner.arm();
                    held::watch(this.owner.node(), this.watch, cx);
                    return Poll::Pending;
                }
                Ok(Poll::Ready(output)) => Ok(output),
                Err(panic) => Err(panic),
            };
            let dropped = guarded(|| this.owner.inside(|| this.body.set(None)));
            *this.ended = Some(match dropped {
                Ok(()) => ended,
                Err(panic) => {
                    discard(ended);
                    Err(panic)
                }
            });
            root_of(this.owner.node()).threads.shut_down();
        }
        behind::start(this.owner.node());
        if !this.owner.node().close_if_empty() {
            let node = this.owner.node();
            node.wait_for(Waiting::Children);
            let wait = || Wait::new(node, *this.drain_within);
            let wait = this.wait.get_or_insert_with(wait);
            if wait.poll(node, cx).is_pending() {
                held::watch(node, this.watch, cx);
                return Poll::Pending;
            }
            node.close();
        }
        let ended = this.ended.take();
        let ended = ended.expect("a root was polled after it had returned");
        let root = root_of(this.owner.node());
        say(format_args!("{}", root.threads.name_abandoned()));
        let refused = root.shields.refused();
        Poll::Ready(ended.and_then(|output| match refused {
            Some(report) => Err(Box::new(report)),
            None => Ok(output),
        }))
    }
}
