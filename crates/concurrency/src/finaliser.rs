use crate::ambient;
use crate::caught::{discard, guarded};
use crate::cause::Cause;
use crate::node::NodeRef;
use crate::owner::{self, Limit};
use crate::per_thread::per_thread;
use crate::scoped::Scoped;
use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// How long the finalisers of a scope may take together, unless it says otherwise.
pub(crate) const FINALISE_WITHIN: Duration = Duration::from_secs(5);

/// Finalisers registered in one scope at a time.
const MOST: u32 = 64;

/// Runs `f`, and awaits what it makes, if the code that calls this is cut by a cancel while the
/// guard lives.
///
/// The scope, task or group around it runs such finalisers after its body was dropped, the last
/// one first, behind a shield and for [`CancelScope::finalise_within`] at most, before it returns.
/// After a drop by foreign code the root runs them. Dropped in normal flow, the guard forgets `f`.
///
/// A scope takes 64 of them at a time; [`OnCancel::refused`] gives back what is over.
///
/// [`CancelScope::finalise_within`]: crate::CancelScope::finalise_within
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Root, cancel_scope, checkpoint, on_cancel, sleep_forever};
/// use std::sync::{Arc, Mutex};
///
/// let said = Arc::new(Mutex::new(String::new()));
/// let words = said.clone();
/// let outcome = Root::new().backend(Backend::Smol).block_on(cancel_scope(|scope| async move {
///     let _goodbye = on_cancel(move |cause| async move {
///         checkpoint().await;
///         *words.lock().unwrap() = format!("goodbye: {}", cause.reason());
///     });
///     scope.cancel("late");
///     sleep_forever().await
/// }));
/// assert!(outcome.cause().is_some());
/// assert_eq!(*said.lock().unwrap(), "goodbye: late");
/// # }
/// ```
pub fn on_cancel<F, Fut>(f: F) -> OnCancel<F>
where
    F: FnOnce(Cause) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let place = ambient::current();
    let taken = place.as_ref().is_none_or(|node| node.add_finaliser(MOST));
    OnCancel {
        finaliser: Some(f),
        make: |f| Box::new(move |cause| Box::pin(f(cause))),
        place: place.filter(|_| taken),
        taken,
        number: next_number(),
    }
}

/// Guard of [`on_cancel`].
#[must_use = "dropped at once, the guard forgets its finaliser"]
pub struct OnCancel<F> {
    finaliser: Option<F>,
    make: fn(F) -> Make,
    /// Where it counts.
    place: Option<NodeRef>,
    taken: bool,
    number: u64,
}

impl<F> OnCancel<F> {
    /// The closure, if the scope had too many finalisers already and did not take it.
    pub fn refused(&mut self) -> Option<F> {
        match self.taken {
            true => None,
            false => self.finaliser.take(),
        }
    }
}

impl<F> Drop for OnCancel<F> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            place.remove_finaliser();
        }
        let Some(f) = self.finaliser.take().filter(|_| self.taken) else {
            return;
        };
        if is_collecting() {
            collect(self.number, (self.make)(f));
        }
    }
}

impl<F> fmt::Debug for OnCancel<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnCancel")
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

/// A value that is closed by a finaliser, as by [`on_cancel`], if the code that holds it is cut by
/// a cancel; dropped in normal flow, it is only dropped.
///
/// It does not count among the finalisers that a scope takes.
pub struct Defer<T: Send + 'static> {
    held: Option<(T, Close<T>)>,
    number: u64,
}

type Close<T> = Box<dyn FnOnce(T) -> Work + Send>;

impl<T: Send + 'static> Defer<T> {
    /// Holds `value`; `close` gets it if the code around is cut.
    pub fn new<F, Fut>(value: T, close: F) -> Defer<T>
    where
        F: FnOnce(T) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Defer {
            held: Some((value, Box::new(|value| Box::pin(close(value))))),
            number: next_number(),
        }
    }

    /// The value; it is not closed any more.
    pub fn into_inner(mut self) -> T {
        self.held.take().expect(HELD).0
    }
}

const HELD: &str = "the value is there until it is taken out or dropped";

impl<T: Send + 'static> Deref for Defer<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.held.as_ref().expect(HELD).0
    }
}

impl<T: Send + 'static> DerefMut for Defer<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held.as_mut().expect(HELD).0
    }
}

impl<T: Send + 'static> Drop for Defer<T> {
    fn drop(&mut self) {
        if let Some((value, close)) = self.held.take().filter(|_| is_collecting()) {
            collect(self.number, Box::new(move |_| close(value)));
        }
    }
}

impl<T: Send + fmt::Debug + 'static> fmt::Debug for Defer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.held.as_ref().map(|(value, _)| value);
        f.debug_tuple("Defer").field(&value).finish()
    }
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;
type Make = Box<dyn FnOnce(Cause) -> Work + Send>;

/// One that a body left behind when it was cut.
pub(crate) struct Finaliser {
    number: u64,
    make: Make,
}

per_thread! {
    /// What is left behind by the body that is being cut on this thread, if one is.
    static LEFT: RefCell<Option<Vec<Finaliser>>> = RefCell::new(None);
}

fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn is_collecting() -> bool {
    LEFT.try_with(|left| left.borrow().is_some())
        .unwrap_or(false)
}

fn collect(number: u64, make: Make) {
    LEFT.with(|left| {
        let mut left = left.borrow_mut();
        left.get_or_insert_default()
            .push(Finaliser { number, make });
    });
}

pub(crate) type Caught = Result<(), Box<dyn Any + Send>>;

/// Runs `cut`, which drops a body; answers how that went and what the body left behind, the last
/// one first.
pub(crate) fn collecting(cut: impl FnOnce()) -> (Caught, Vec<Finaliser>) {
    let former = LEFT.try_with(|left| left.replace(Some(Vec::new())));
    let caught = guarded(cut);
    let Ok(former) = former else {
        return (caught, Vec::new());
    };
    let mut left = LEFT.with(|left| left.replace(former)).unwrap_or_default();
    left.sort_by_key(|finaliser| std::cmp::Reverse(finaliser.number));
    (caught, left)
}

/// Finalisers under way, behind a shield and within their bound.
///
/// Invariants:
/// 1. They run one after the other, also behind one that panics; the first panic comes out when
///    all are over.
/// 2. Those that the bound cuts off are counted at the node they belong to.
/// 3. The owners above hold from the end of the first poll on, if that leaves something: most
///    finalisers end in it, and a hold is a step for each owner around.
pub(crate) struct Finalising {
    run: Pin<Box<Scoped<RunAll>>>,
    shield: NodeRef,
    holds: bool,
    panic: Arc<Mutex<Option<Box<dyn Any + Send>>>>,
}

struct RunAll {
    node: NodeRef,
    cause: Cause,
    left: std::vec::IntoIter<Finaliser>,
    current: Option<Work>,
    panic: Arc<Mutex<Option<Box<dyn Any + Send>>>>,
}

impl Finalising {
    pub(crate) fn new(
        node: &NodeRef,
        cause: Cause,
        left: Vec<Finaliser>,
        within: Duration,
        caught: Caught,
    ) -> Finalising {
        let panic = Arc::new(Mutex::new(caught.err()));
        let shield = owner::new_scope(Cow::Borrowed("finalisers"), node.location);
        shield.set_loose_mask();
        let all = RunAll {
            node: node.clone(),
            cause,
            left: left.into_iter(),
            current: None,
            panic: panic.clone(),
        };
        let limit = Limit::After(within);
        let scoped = Scoped::new(Some(shield.clone()), limit, node.location, Some(all));
        Finalising {
            run: Box::pin(scoped),
            shield,
            holds: false,
            panic,
        }
    }

    /// To be polled at the node's place. Ready with the first panic.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<dyn Any + Send>>> {
        match self.run.as_mut().poll(cx, |_| None) {
            Poll::Pending => {
                if !std::mem::replace(&mut self.holds, true) {
                    self.shield.fasten_mask();
                }
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(lock(&self.panic).take()),
        }
    }
}

impl Future for Finalising {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Finalising::poll(&mut self, cx).map(discard)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RunAll {
    fn guarded<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        match guarded(f) {
            Ok(value) => Some(value),
            Err(panic) => {
                let surplus = {
                    let mut first = lock(&self.panic);
                    match first.is_none() {
                        true => first.replace(panic),
                        false => Some(panic),
                    }
                };
                discard(surplus);
                None
            }
        }
    }
}

impl Future for RunAll {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(mut work) = self.current.take() {
                match self.guarded(|| work.as_mut().poll(cx)) {
                    Some(Poll::Pending) => {
                        self.current = Some(work);
                        return Poll::Pending;
                    }
                    Some(Poll::Ready(())) | None => {
                        self.guarded(|| drop(work));
                    }
                }
            }
            let Some(next) = self.left.next() else {
                return Poll::Ready(());
            };
            let cause = self.cause.clone();
            self.current = self.guarded(|| (next.make)(cause));
        }
    }
}

impl Drop for RunAll {
    fn drop(&mut self) {
        let cut_off = self.left.len() + usize::from(self.current.is_some());
        self.node.note_unfinished(cut_off);
    }
}
