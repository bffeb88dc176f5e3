use std::any::Any;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// The text of a panic.
#[derive(Clone, Debug, thiserror::Error)]
#[error("panicked: {0}")]
pub(crate) struct Panicked(pub(crate) String);

impl Panicked {
    pub(super) fn new(payload: Box<dyn Any + Send>) -> Self {
        let text = match payload.downcast_ref::<&'static str>() {
            Some(text) => (*text).to_owned(),
            None => match payload.downcast_ref::<String>() {
                Some(text) => text.clone(),
                None => "(no text)".to_owned(),
            },
        };
        // Dropping what it carries may panic like what it came from.
        mem::forget(payload);
        Panicked(text)
    }
}

pin_project! {
    /// Runs a body whose panic is an answer, that of its destructor too.
    pub(crate) struct Caught<F> {
        #[pin]
        body: Option<F>,
    }
}

impl<F: Future> Caught<F> {
    pub(crate) fn new(body: F) -> Self {
        Caught { body: Some(body) }
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let body = this.body.as_mut().as_pin_mut();
            body.expect("polled after it had returned").poll(cx)
        }));
        let output = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(payload) => Err(Panicked::new(payload)),
        };
        let dropped = catch_unwind(AssertUnwindSafe(|| this.body.set(None)));
        Poll::Ready(match dropped {
            Ok(()) => output,
            Err(payload) => output.and(Err(Panicked::new(payload))),
        })
    }
}
