//! Foreign code whose panics stop here.

use crate::panic::Panic;
use pin_project_lite::pin_project;
use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a panic carries.
pub(crate) type PanicPayload = Box<dyn Any + Send>;

/// What foreign code returned, or its panic.
pub(crate) fn guarded<R>(foreign: impl FnOnce() -> R) -> Result<R, PanicPayload> {
    catch_unwind(AssertUnwindSafe(foreign))
}

/// Calls foreign code whose panic has no one to go to, behind the panic hook: what comes after has
/// to happen.
pub(crate) fn quietly(foreign: impl FnOnce()) {
    if let Err(payload) = guarded(foreign) {
        // Dropping it may panic like what it came from, for ever.
        mem::forget(payload);
    }
}

/// Drops what nobody wants, whatever its destructor does, and that of what it panics with.
pub(crate) fn discard<T>(unwanted: T) {
    quietly(|| drop(unwanted));
}

/// Keeps the first of several panics. The destructor of another one may panic too: nobody hears it.
pub(crate) fn keep_first(first: &mut Option<PanicPayload>, panic: PanicPayload) {
    match first {
        None => *first = Some(panic),
        Some(_) => discard(panic),
    }
}

pin_project! {
    /// Runs a body whose panic is an answer, that of its destructor too, unless the body is
    /// dropped half-way.
    pub(crate) struct Caught<F> {
        #[pin]
        body: Option<F>,
    }
}

impl<F: Future> Caught<F> {
    pub(crate) fn new(body: F) -> Caught<F> {
        Caught { body: Some(body) }
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Panic>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let polled = guarded(|| {
            let body = this.body.as_mut().as_pin_mut();
            body.expect("a body was polled after it had ended").poll(cx)
        });
        let ended = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(panic),
        };
        let dropped = guarded(|| this.body.set(None));
        Poll::Ready(match (ended, dropped) {
            (Ok(output), Ok(())) => Ok(output),
            (Err(panic), _) | (Ok(_), Err(panic)) => Err(Panic::new(panic)),
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Caught, discard, guarded, keep_first, quietly};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn run<F: Future>(body: F) -> Result<F::Output, String> {
        let caught = pin!(Caught::new(body));
        match caught.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result.map_err(|panic| panic.message().to_owned()),
            Poll::Pending => panic!("it need not wait"),
        }
    }

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the destructor");
        }
    }

    /// Every panic of its destructor carries another one.
    struct Chain;

    impl Drop for Chain {
        fn drop(&mut self) {
            std::panic::panic_any(Chain);
        }
    }

    #[test]
    fn what_nobody_wants_lets_no_panic_out() {
        discard(Bomb);
        discard(Chain);
        quietly(|| std::panic::panic_any(Chain));
        let mut first = None;
        for n in 0..3 {
            let panic = guarded(|| std::panic::panic_any((n, Chain)));
            keep_first(&mut first, panic.expect_err("it panics"));
        }
        let first = first.expect("there were three");
        let first = first.downcast::<(i32, Chain)>().expect("it is one of them");
        assert_eq!(first.0, 0);
        std::mem::forget(first);
    }

    #[test]
    fn a_panic_is_an_answer_wherever_it_happens() {
        assert_eq!(run(async { 7 }), Ok(7));
        let body: Result<(), _> = run(async { panic!("in the body") });
        assert_eq!(body, Err("in the body".to_owned()));
        let kept = Bomb;
        let destructor = run(std::future::poll_fn(move |_| {
            let _kept = &kept;
            Poll::Ready(7)
        }));
        assert_eq!(destructor, Err("in the destructor".to_owned()));
    }
}
