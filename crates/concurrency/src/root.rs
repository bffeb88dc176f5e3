mod behind;
mod shields;

pub(crate) use behind::run_behind;
pub(crate) use shields::ShieldDropped;

use crate::ambient;
use crate::node::{Kind, Node, NodeRef, Payload};
use crate::owner::Owner;
use crate::task_id::TaskId;
use crate::task_info::TaskInfo;
use behind::Behind;
use bowline_backend::Backend;
use bowline_backend::task::RunOptions;
use bowline_backend::time::Sleep;
use pin_project_lite::pin_project;
use shields::{ShieldRule, Shields};
use std::any::Any;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// How often a root that waits for leftovers names them.
const REPORT_EVERY: Duration = Duration::from_secs(10);

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

    /// Calls `hook` whenever foreign code drops a shield half-way, with the task it was in.
    ///
    /// It runs in that drop, after the body of the shield is gone. A panic of it is caught.
    pub fn on_shield_dropped(mut self, hook: fn(&TaskInfo)) -> Root {
        self.shields.hook = Some(hook);
        self
    }

    /// Makes [`block_on`](Root::block_on) panic at its end if a shield was dropped half-way: the
    /// rule of tests.
    #[doc(hidden)]
    pub fn refuse_dropped_shields(mut self) -> Root {
        self.shields.refuse = true;
        self
    }

    /// Polls `future` to its end, then waits for every task it left behind.
    ///
    /// Left behind are the children of groups that foreign code dropped; they are cancelled
    /// already. While they hold out, their names go to standard error every 10 s.
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
        let node = root_node(self.name, TaskId::new(1), self.shields);
        node.keep_backend(backend);
        RootRun {
            owner: Owner::fixed(node),
            ended: None,
            report: None,
            body: Some(future),
        }
    }
}

#[track_caller]
fn root_node(name: Cow<'static, str>, id: TaskId, shields: ShieldRule) -> NodeRef {
    let state = RootState {
        last_id: AtomicU64::new(id.as_u64()),
        shields: Shields::new(shields),
        behind: Behind::default(),
    };
    Arc::new(Node::new(Kind::Root, id, name, Location::caller(), state))
}

/// A root's own part of its node.
pub(crate) struct RootState {
    last_id: AtomicU64,
    shields: Shields,
    behind: Behind,
}

impl RootState {
    pub(crate) fn next_id(&self) -> TaskId {
        TaskId::new(self.last_id.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Payload for RootState {
    fn root(&self) -> Option<&RootState> {
        Some(self)
    }
}

/// The root of what is not below any [`Root`]: one per backend and process, or per host of a
/// simulated world.
struct ProcessRoot(NodeRef);

/// The root above `node`, which may be none of ours.
pub(crate) fn above(node: Option<&NodeRef>) -> NodeRef {
    match node.map(|node| node.top()) {
        Some(top) if top.kind == Kind::Root => top,
        _ => {
            let slot = bowline_backend::task::realm_slot(|| {
                let shields = ShieldRule::default();
                ProcessRoot(root_node(
                    Cow::Borrowed("process"),
                    TaskId::OUTSIDE,
                    shields,
                ))
            });
            slot.0.clone()
        }
    }
}

/// The next number for a task below `root`.
pub(crate) fn next_id(root: &NodeRef) -> TaskId {
    root_of(root).next_id()
}

fn root_of(node: &NodeRef) -> &RootState {
    node.payload.root().expect("a root has the state of one")
}

type Caught<T> = Result<T, Box<dyn Any + Send>>;

pin_project! {
    struct RootRun<F: Future> {
        owner: Owner,
        ended: Option<Caught<F::Output>>,
        report: Option<Pin<Box<Sleep>>>,
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
        this.owner.arrive(cx);
        if let Some(body) = this.body.as_mut().as_pin_mut() {
            let polled = catch_unwind(AssertUnwindSafe(|| this.owner.inside(|| body.poll(cx))));
            let ended = match polled {
                Ok(Poll::Pending) => {
                    behind::start(this.owner.node());
                    this.owner.arm();
                    return Poll::Pending;
                }
                Ok(Poll::Ready(output)) => Ok(output),
                Err(panic) => Err(panic),
            };
            let dropped = catch_unwind(AssertUnwindSafe(|| {
                this.owner.inside(|| this.body.set(None));
            }));
            *this.ended = Some(dropped.and(ended));
        }
        behind::start(this.owner.node());
        if !this.owner.node().close_if_empty() {
            name_leftovers(this.owner.node(), this.report, cx);
            return Poll::Pending;
        }
        let ended = this.ended.take();
        let ended = ended.expect("a root was polled after it had returned");
        let refused = root_of(this.owner.node()).shields.refused();
        Poll::Ready(ended.and_then(|output| match refused {
            Some(report) => Err(Box::new(report)),
            None => Ok(output),
        }))
    }
}

/// Arms the report's sleep, and prints one each time it fires.
fn name_leftovers(node: &NodeRef, report: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) {
    let Some(backend) = node.backend() else {
        return;
    };
    let next = || backend.now().saturating_add(REPORT_EVERY);
    let sleep = report.get_or_insert_with(|| Box::pin(backend.sleep_until(next())));
    while sleep.as_mut().poll(cx).is_ready() {
        for group in node.tasks() {
            for task in group.tasks() {
                eprintln!(
                    "bowline: waiting for {} \"{}\" spawned at {}",
                    task.id,
                    task.name(),
                    task.location
                );
            }
        }
        sleep.as_mut().reset(next());
    }
}
