//! The `tracing` spans of what is done with a connection; with the feature `tracing` alone.
//!
//! A span is named as its operation. `peer` is who is at the other end, as far as it is known when the
//! operation begins. `outcome` is `ok`, `end` where a peer ended, the kind of the error, or `dropped`
//! where nobody waited for it; an error is also in `error`, and `otel.status_code` says so to
//! OpenTelemetry. Connections are traced at the level `DEBUG`, messages at `TRACE`.

use std::fmt::Display;
use std::future::Future;
use std::task::Poll;

use bowline_codec::EncodeError;

use crate::error::{Error, Operation};

/// Nothing is stored without the feature.
#[cfg(not(feature = "tracing"))]
const _: () = assert!(size_of::<OperationSpan>() == 0);

/// The span of one operation, which ends with it.
#[must_use = "an operation is traced where its future is put into its span"]
pub(crate) struct OperationSpan {
    #[cfg(feature = "tracing")]
    outcome: enabled::Unknown,
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

/// Something else that the operation gives, which says nothing of how it went.
pub(crate) struct Given<T>(pub(crate) T);

impl<T> Outcome for Given<T> {}

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

    pub(crate) fn of<T: Outcome>(self, act: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        act()
    }

    pub(crate) fn of_encoding(
        self,
        act: impl FnOnce() -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        act()
    }

    pub(crate) fn polled<T: Outcome>(
        &mut self,
        poll: impl FnOnce() -> Poll<Result<T, Error>>,
    ) -> Poll<Result<T, Error>> {
        poll()
    }
}

#[cfg(feature = "tracing")]
mod enabled {
    use std::pin::Pin;
    use std::task::Context;

    use pin_project_lite::pin_project;
    use tracing::field::{Empty, debug, display};
    use tracing::{Span, debug_span, trace_span};

    use super::{Display, EncodeError, Error, Future, Operation, OperationSpan, Outcome, Poll};

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
            OperationSpan {
                outcome: Unknown(Some(span)),
            }
        }

        /// Runs `future` in the span, and tells what it came to.
        pub(crate) fn around<F, T>(self, future: F) -> Traced<F>
        where
            F: Future<Output = Result<T, Error>>,
            T: Outcome,
        {
            Traced { span: self, future }
        }

        /// Does all of it in the span, and tells what it came to.
        pub(crate) fn of<T: Outcome>(
            mut self,
            act: impl FnOnce() -> Result<T, Error>,
        ) -> Result<T, Error> {
            let result = match &self.outcome.0 {
                Some(span) => span.in_scope(act),
                None => act(),
            };
            self.outcome.came_to(&result);
            result
        }

        /// As [`of`](OperationSpan::of), of what only the codec can refuse.
        pub(crate) fn of_encoding(
            self,
            act: impl FnOnce() -> Result<(), EncodeError>,
        ) -> Result<(), EncodeError> {
            let mut refused = None;
            let result = self.of(|| {
                act().map_err(|error| {
                    refused = Some(error.clone());
                    Error::from_encode(error)
                })
            });
            match refused {
                Some(error) => Err(error),
                None => {
                    debug_assert!(result.is_ok());
                    Ok(())
                }
            }
        }

        /// Goes on with it in the span, and tells what it came to once that is known.
        pub(crate) fn polled<T: Outcome>(
            &mut self,
            poll: impl FnOnce() -> Poll<Result<T, Error>>,
        ) -> Poll<Result<T, Error>> {
            let polled = match &self.outcome.0 {
                Some(span) => span.in_scope(poll),
                None => poll(),
            };
            polled.map(|result| {
                self.outcome.came_to(&result);
                result
            })
        }
    }

    pin_project! {
        /// What [`OperationSpan::around`] makes.
        #[must_use = "futures do nothing unless polled"]
        pub(crate) struct Traced<F> {
            span: OperationSpan,
            #[pin]
            future: F,
        }
    }

    /// The span of what has not come to anything yet.
    pub(crate) struct Unknown(Option<Span>);

    impl Unknown {
        fn came_to<T: Outcome>(&mut self, result: &Result<T, Error>) {
            if let Some(span) = self.0.take() {
                tell(&span, result);
            }
        }
    }

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
            this.span.polled(|| this.future.poll(cx))
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
