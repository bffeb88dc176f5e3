use crate::panic::Panic;
use pin_project_lite::pin_project;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a call ends with, if it is not cancelled.
pub(super) type Caught<T> = Result<T, Panic>;

pin_project! {
    /// The body of the task of a call. The future is made in its first poll: a panic of the
    /// closure is one of the call.
    pub(super) struct Calling<F, Fut> {
        make: Option<F>,
        #[pin]
        body: Option<Fut>,
    }
}

impl<F, Fut> Calling<F, Fut> {
    pub(super) fn new(make: F) -> Self {
        Calling {
            make: Some(make),
            body: None,
        }
    }
}

impl<F, Fut> Future for Calling<F, Fut>
where
    F: FnOnce() -> Fut,
    Fut: Future,
{
    type Output = Caught<Fut::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let polled = catch_unwind(AssertUnwindSafe(|| {
            if let Some(make) = this.make.take() {
                this.body.set(Some(make()));
            }
            let body = this.body.as_mut().as_pin_mut();
            body.expect("a call was polled after it had ended").poll(cx)
        }));
        let ended = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panic) => Err(panic),
        };
        let dropped = catch_unwind(AssertUnwindSafe(|| this.body.set(None)));
        Poll::Ready(dropped.and(ended).map_err(Panic::new))
    }
}
