//! The `tracing` spans of what is done with a connection; with the feature `tracing` alone.
//!
//! A span is named as its operation. `peer` is who is at the other end, as far as it is known when the
//! operation begins. `outcome` is `ok`, `end` where a peer ended, the kind of the error, or `dropped`
//! where nobody waited for it; an error is also in `error`, and `otel.status_code` says so to
//! OpenTelemetry. Connections are traced at the level `DEBUG`, messages at `TRACE`.

use std::fmt::Display;
use std::future::Future;

use crate::error::{Error, Operation};

/// Nothing is stored without the feature.
#[cfg(not(feature = "tracing"))]
const _: () = assert!(size_of::<OperationSpan>() == 0);

/// The span of one operation, which ends with it.
#[must_use = "an operation is traced where its future is put into its span"]
pub(crate) struct OperationSpan {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

/// What an operation comes to.
pub(crate) trait Outcome {
    /// How that is called, for one that did not fail.
    #[cfg(feature = "tracing")]
    fn name(&self) -> &'static str {
        "ok"
    }
}

impl Outcome for () {}

impl Outcome for bowline_backend::net::TcpStream {}

#[cfg(unix)]
impl Outcome for bowline_backend::net::UnixStream {}

impl Outcome for crate::memory::MemoryStream {}

/// A message and who sent it.
impl<T> Outcome for (T, bowline_backend::stream::Address) {}

/// What a receiver comes to: a message, or the end.
impl<T> Outcome for Option<T> {
    #[cfg(feature = "tracing")]
    fn name(&self) -> &'static str {
        match self {
            Some(_) => "ok",
            None => "end",
        }
    }
}

#[cfg(not(feature = "tracing"))]
impl OperationSpan {
    pub(crate) fn new<P: Display>(_: Operation, _: impl FnOnce() -> Option<P>) -> Self {
        OperationSpan {}
    }

    pub(crate) fn around<F, T>(self, future: F) -> F
    where
        F: Future<Output = Result<T, Error>>,
        T: Outcome,
    {
        future
    }
}

#[cfg(feature = "tracing")]
mod enabled {
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use pin_project_lite::pin_project;
    use tracing::field::{Empty, debug, display};
    use tracing::{Span, debug_span, trace_span};

    use super::{Display, Error, Future, Operation, OperationSpan, Outcome};

    macro_rules! operation_span {
        ($level:ident, $name:literal) => {
            $level!(
                $name,
                peer = Empty,
                outcome = Empty,
                error = Empty,
                otel.status_code = Empty
            )
        };
    }

    impl OperationSpan {
        /// The span of `operation`, below the one that is current.
        pub(crate) fn new<P: Display>(
            operation: Operation,
            peer: impl FnOnce() -> Option<P>,
        ) -> Self {
            let span = match operation {
                Operation::Connect => operation_span!(debug_span, "connect"),
                Operation::Handshake => operation_span!(debug_span, "handshake"),
                Operation::Close => operation_span!(debug_span, "close"),
                Operation::Send => operation_span!(trace_span, "send"),
                Operation::Recv => operation_span!(trace_span, "recv"),
                _ => Span::none(),
            };
            if !span.is_disabled()
                && let Some(peer) = peer()
            {
                span.record("peer", display(peer));
            }
            OperationSpan { span }
        }

        /// Runs `future` in the span, and tells what it came to.
        pub(crate) fn around<F, T>(self, future: F) -> Traced<F>
        where
            F: Future<Output = Result<T, Error>>,
            T: Outcome,
        {
            Traced {
                outcome: Unknown(Some(self.span)),
                future,
            }
        }
    }

    pin_project! {
        /// What [`OperationSpan::around`] makes.
        #[must_use = "futures do nothing unless polled"]
        pub(crate) struct Traced<F> {
            outcome: Unknown,
            #[pin]
            future: F,
        }
    }

    /// The span of what has not come to anything yet.
    struct Unknown(Option<Span>);

    impl Drop for Unknown {
        fn drop(&mut self) {
            if let Some(span) = &self.0 {
                span.record("outcome", "dropped");
            }
        }
    }

    impl<F, T> Future for Traced<F>
    where
        F: Future<Output = Result<T, Error>>,
        T: Outcome,
    {
        type Output = F::Output;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
            let this = self.project();
            let polled = match &this.outcome.0 {
                Some(span) => span.in_scope(|| this.future.poll(cx)),
                None => this.future.poll(cx),
            };
            let result = ready!(polled);
            if let Some(span) = this.outcome.0.take() {
                tell(&span, &result);
            }
            Poll::Ready(result)
        }
    }

    fn tell<T: Outcome>(span: &Span, result: &Result<T, Error>) {
        match result {
            Ok(came_to) => {
                span.record("outcome", came_to.name());
            }
            Err(error) => {
                span.record("outcome", debug(error.kind()));
                span.record("error", display(error));
                span.record("otel.status_code", "ERROR");
            }
        }
    }
}
