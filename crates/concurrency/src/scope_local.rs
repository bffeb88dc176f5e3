use crate::per_thread::per_thread;
use pin_project_lite::pin_project;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A value that code deep inside can read without being handed it; made by
/// [`scope_local!`](crate::scope_local).
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Root, scope_local};
///
/// scope_local! {
///     /// Who asks.
///     pub static USER: String;
/// }
///
/// let length = Root::new().backend(Backend::Smol).block_on(USER.scope(
///     "anna".to_owned(),
///     async { USER.with(|user| user.len()) },
/// ));
/// assert_eq!(length.unwrap(), 4);
/// assert!(USER.with(|user| user.len()).is_err());
/// # }
/// ```
pub struct ScopeLocal<T: 'static> {
    name: &'static str,
    inherit: bool,
    value: PhantomData<fn() -> T>,
}

/// Declares [`ScopeLocal`]s. With `, inherit` behind the type, children spawned inside see the
/// value that counts where they are spawned; without, only the task itself does.
#[macro_export]
macro_rules! scope_local {
    () => {};
    ($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty, inherit; $($rest:tt)*) => {
        $(#[$meta])*
        $vis static $name: $crate::ScopeLocal<$type> =
            $crate::ScopeLocal::declared(stringify!($name), true);
        $crate::scope_local!($($rest)*);
    };
    ($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty; $($rest:tt)*) => {
        $(#[$meta])*
        $vis static $name: $crate::ScopeLocal<$type> =
            $crate::ScopeLocal::declared(stringify!($name), false);
        $crate::scope_local!($($rest)*);
    };
}

/// The scope local was read outside of any scope that sets it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scope local `{name}` is not set here")]
pub struct NotSet {
    name: &'static str,
}

/// What a task takes along from where it is spawned.
#[derive(Clone)]
pub(crate) struct Locals {
    /// The scope locals set there, the innermost first.
    frames: Option<Arc<Frame>>,
    nesting: Nesting,
}

pub(crate) struct Frame {
    /// The address of the static.
    key: usize,
    inherit: bool,
    value: Arc<dyn Any + Send + Sync>,
    next: Option<Arc<Frame>>,
}

per_thread! {
    static LOCALS: RefCell<Option<Arc<Frame>>> = RefCell::new(None);
}

per_thread! {
    static NESTING: Cell<Nesting> = Cell::new(Nesting::NONE);
}

/// Which calls code runs in, for those who count calls that cause calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nesting {
    /// How many calls it is nested in.
    pub calls: u8,
    /// Who runs the innermost of them: a number that whoever counts them gives; 0 is nobody.
    pub origin: u64,
}

impl Nesting {
    /// That of code that no call runs.
    pub const NONE: Nesting = Nesting {
        calls: 0,
        origin: 0,
    };
}

/// Which calls the code that runs here is nested in: what the innermost [`in_nesting`] around it
/// said, or around where its task was spawned; [`Nesting::NONE`] outside.
///
/// # Examples
///
/// ```
/// use bowline_concurrency::{Nesting, current_nesting, in_nesting};
///
/// let third = Nesting { calls: 3, origin: 7 };
/// assert_eq!(in_nesting(third, current_nesting), third);
/// assert_eq!(current_nesting(), Nesting::NONE);
/// ```
pub fn current_nesting() -> Nesting {
    NESTING.try_with(Cell::get).unwrap_or(Nesting::NONE)
}

/// Runs `f`, one poll of a future for instance, as code that is nested in these calls. Children
/// spawned in it take that along.
///
/// An inherited [`ScopeLocal`] that costs no memory, for those who count calls that cause calls.
pub fn in_nesting<R>(nesting: Nesting, f: impl FnOnce() -> R) -> R {
    struct Restore(Nesting);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = NESTING.try_with(|current| current.set(self.0));
        }
    }
    let former = NESTING.try_with(|current| current.replace(nesting));
    let _restore = Restore(former.unwrap_or(Nesting::NONE));
    f()
}

impl<T: Send + Sync + 'static> ScopeLocal<T> {
    #[doc(hidden)]
    pub const fn declared(name: &'static str, inherit: bool) -> ScopeLocal<T> {
        ScopeLocal {
            name,
            inherit,
            value: PhantomData,
        }
    }

    /// Runs `body` with the local set to `value`. Values nest: the innermost one counts.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the body: what the body had done stays done.
    pub fn scope<F: Future>(&'static self, value: T, body: F) -> LocalScope<F> {
        LocalScope {
            frame: Arc::new(Frame {
                key: self.key(),
                inherit: self.inherit,
                value: Arc::new(value),
                next: None,
            }),
            body: Some(body),
        }
    }

    /// Reads the value that counts for the caller.
    ///
    /// # Errors
    ///
    /// [`NotSet`] outside of any scope of this local.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, NotSet> {
        let missing = NotSet { name: self.name };
        let mut at = current();
        while let Some(frame) = at {
            if frame.key == self.key() {
                let value = frame.value.downcast_ref::<T>();
                return value.map(f).ok_or(missing);
            }
            at = frame.next.clone();
        }
        Err(missing)
    }

    fn key(&'static self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl<T> fmt::Debug for ScopeLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeLocal")
            .field("name", &self.name)
            .field("inherit", &self.inherit)
            .finish_non_exhaustive()
    }
}

fn current() -> Option<Arc<Frame>> {
    LOCALS.try_with(|l| l.borrow().clone()).ok().flatten()
}

/// What a task spawned here inherits.
pub(crate) fn inherited() -> Option<Locals> {
    let mut kept = Vec::new();
    let mut at = current();
    while let Some(frame) = at {
        at = frame.next.clone();
        if frame.inherit && !kept.iter().any(|k: &Arc<Frame>| k.key == frame.key) {
            kept.push(frame);
        }
    }
    let frames = kept.into_iter().rev().fold(None, |next, frame| {
        Some(Arc::new(Frame {
            key: frame.key,
            inherit: true,
            value: frame.value.clone(),
            next,
        }))
    });
    let nesting = current_nesting();
    (frames.is_some() || nesting != Nesting::NONE).then_some(Locals { frames, nesting })
}

/// Runs `f` where these locals count, and no others.
pub(crate) fn inside<R>(locals: Option<Locals>, f: impl FnOnce() -> R) -> R {
    let Locals { frames, nesting } = locals.unwrap_or(Locals {
        frames: None,
        nesting: Nesting::NONE,
    });
    if nesting == current_nesting() {
        return inside_frames(frames, f);
    }
    in_nesting(nesting, || inside_frames(frames, f))
}

fn inside_frames<R>(locals: Option<Arc<Frame>>, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Option<Arc<Frame>>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let Some(former) = self.0.take() {
                let ours = LOCALS.try_with(|l| l.replace(former));
                // Dropped here, where nothing is borrowed: it may hold a user's value.
                drop(ours);
            }
        }
    }
    if locals.is_none() && LOCALS.try_with(|l| l.borrow().is_none()).unwrap_or(true) {
        return f();
    }
    let _restore = Restore(LOCALS.try_with(|l| l.replace(locals)).ok());
    f()
}

impl Drop for Frame {
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut frame) = next.and_then(Arc::into_inner) {
            next = frame.next.take();
        }
    }
}

pin_project! {
    /// Future of [`ScopeLocal::scope`].
    #[must_use = "a scope runs nothing until it is awaited"]
    pub struct LocalScope<F> {
        frame: Arc<Frame>,
        #[pin]
        body: Option<F>,
    }

    impl<F> PinnedDrop for LocalScope<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.body.is_some() {
                let locals = placed(this.frame);
                inside_frames(Some(locals), || this.body.set(None));
            }
        }
    }
}

/// The frame in front of the locals that count around it now.
fn placed(frame: &mut Arc<Frame>) -> Arc<Frame> {
    let around = current();
    let same = match (&frame.next, &around) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    };
    if !same {
        *frame = Arc::new(Frame {
            key: frame.key,
            inherit: frame.inherit,
            value: frame.value.clone(),
            next: around,
        });
    }
    frame.clone()
}

impl<F: Future> Future for LocalScope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let locals = placed(this.frame);
        inside_frames(Some(locals), || {
            let body = this.body.as_mut().as_pin_mut();
            let polled = body
                .expect("a scope was polled after it had returned")
                .poll(cx);
            if polled.is_ready() {
                this.body.set(None);
            }
            polled
        })
    }
}

impl<F> fmt::Debug for LocalScope<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalScope").finish_non_exhaustive()
    }
}
