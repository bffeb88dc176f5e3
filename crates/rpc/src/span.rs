//! The `tracing` spans of calls and of their handlers; with the feature `tracing` alone.
//!
//! `rpc.call` is a call as its caller sees it, attempts and pauses included, `rpc.handle` a handler from
//! the arrival of its call. `code` is `Ok`, the name of the [`Code`](crate::Code), or `Dropped` where the
//! caller gave up; `certainty` says how far a call got that failed, and `call` is its number. A handler
//! whose caller is in this process stands below the span of the call.

use crate::executor::{CallRef, JobEnd};
use crate::meter::Meter;
use crate::{CallError, Peer, RawStream};

/// Nothing is stored without the feature.
#[cfg(not(feature = "tracing"))]
const _: () = assert!(
    size_of::<CallSpan>() == 0 && size_of::<HandleSpan>() == 0 && size_of::<Unnumbered>() == 0
);

/// The span of a call.
#[must_use = "a call is traced where its future is put into its span"]
pub(crate) struct CallSpan {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

/// The span of a handler.
#[derive(Clone)]
pub(crate) struct HandleSpan {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

/// The span of a call whose number is given when the call goes out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unnumbered {
    #[cfg(feature = "tracing")]
    span: Option<tracing::Span>,
}

impl Unnumbered {
    /// The current span.
    pub(crate) fn current() -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: Some(tracing::Span::current()),
        }
    }

    /// The call has this number, if it has any; the first time counts.
    pub(crate) fn number(&mut self, call: Option<u64>) {
        #[cfg(feature = "tracing")]
        if let Some(span) = self.span.take()
            && let Some(call) = call
        {
            span.record("call", call);
        }
        #[cfg(not(feature = "tracing"))]
        let _ = call;
    }
}

#[cfg(not(feature = "tracing"))]
impl CallSpan {
    pub(crate) fn new(_: &str) -> Self {
        Self {}
    }

    pub(crate) fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }

    pub(crate) fn around<F, T, E>(self, future: F) -> F
    where
        F: Future<Output = Result<T, CallError<E>>>,
    {
        future
    }
}

#[cfg(not(feature = "tracing"))]
impl CallSpan {
    pub(crate) fn open<F>(self, opening: F) -> F
    where
        F: Future<Output = Result<RawStream, CallError>>,
    {
        opening
    }
}

/// The call of the current span goes to this peer, with this number if that is known by now.
pub(crate) fn goes_to(peer: Option<&Peer>, call: Option<u64>) {
    #[cfg(feature = "tracing")]
    {
        let span = tracing::Span::current();
        if let Some(peer) = peer {
            span.record("peer", tracing::field::debug(peer));
        }
        if let Some(call) = call {
            span.record("call", call);
        }
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (peer, call);
}

#[cfg(not(feature = "tracing"))]
impl HandleSpan {
    pub(crate) fn new(_: &Meter, _: Option<&Peer>, _: CallRef) -> Self {
        Self {}
    }

    pub(crate) fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }

    pub(crate) fn ended(&self, _: &JobEnd) {}
}

#[cfg(feature = "tracing")]
mod enabled {
    use tracing::field::{Empty, debug};
    use tracing::{Instrument, Span, debug_span};

    use super::{CallError, CallRef, CallSpan, HandleSpan, JobEnd, Meter, Peer, RawStream};
    use crate::{Certainty, Code};

    impl CallSpan {
        /// The span of a call of `method`, below the one that is current.
        pub(crate) fn new(method: &str) -> Self {
            let span = debug_span!(
                "rpc.call",
                method,
                peer = Empty,
                call = Empty,
                code = Empty,
                certainty = Empty,
            );
            Self { span }
        }

        pub(crate) fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
            self.span.in_scope(f)
        }

        /// Runs `future` in the span, and tells what it came to.
        pub(crate) fn around<F, T, E>(
            self,
            future: F,
        ) -> impl Future<Output = Result<T, CallError<E>>> + use<F, T, E>
        where
            F: Future<Output = Result<T, CallError<E>>>,
        {
            let mut unknown = Unknown(Some(self.span.clone()));
            async move {
                let outcome = future.instrument(self.span).await;
                if let Some(span) = unknown.0.take() {
                    let failed = outcome.as_ref().err();
                    tell(&span, failed.map(|error| (error.code(), error.certainty())));
                }
                outcome
            }
        }
    }

    impl CallSpan {
        /// Begins a call with items in the span, which tells what it came to.
        pub(crate) async fn open<F>(self, opening: F) -> Result<RawStream, CallError>
        where
            F: Future<Output = Result<RawStream, CallError>>,
        {
            let mut unknown = Unknown(Some(self.span.clone()));
            match opening.instrument(self.span.clone()).await {
                Ok(stream) => {
                    unknown.0 = None;
                    Ok(stream.map_outcome(|outcome| Box::pin(self.around(outcome))))
                }
                Err(error) => {
                    if let Some(span) = unknown.0.take() {
                        tell(&span, Some((error.code(), error.certainty())));
                    }
                    Err(error)
                }
            }
        }
    }

    /// The span of a call that has not come to anything yet.
    struct Unknown(Option<Span>);

    impl Drop for Unknown {
        fn drop(&mut self) {
            if let Some(span) = &self.0 {
                span.record("code", "Dropped");
            }
        }
    }

    impl HandleSpan {
        /// The span of the handler of `call`: below the current one, if that is of its caller.
        pub(crate) fn new(meter: &Meter, caller: Option<&Peer>, call: CallRef) -> Self {
            let method = &**meter.name();
            macro_rules! span {
                ($($parent:tt)*) => {
                    debug_span!(
                        $($parent)*
                        "rpc.handle",
                        method,
                        peer = Empty,
                        call = call.number(),
                        code = Empty,
                        certainty = Empty,
                    )
                };
            }
            let span = match call {
                CallRef::Local(_) | CallRef::Here(_) | CallRef::Kept(_) => span!(),
                CallRef::Peer(_) | CallRef::Notification(_) => span!(parent: None,),
            };
            if let Some(caller) = caller {
                span.record("peer", debug(caller));
            }
            Self { span }
        }

        pub(crate) fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
            self.span.in_scope(f)
        }

        /// The handler, or what stands for it, came to this.
        pub(crate) fn ended(&self, end: &JobEnd) {
            tell(
                &self.span,
                match end {
                    JobEnd::Reply(_) => None,
                    JobEnd::Application(_) => Some((Code::Application, Certainty::Executed)),
                    JobEnd::Failed {
                        code, certainty, ..
                    } => Some((*code, *certainty)),
                },
            );
        }
    }

    fn tell(span: &Span, failed: Option<(Code, Certainty)>) {
        match failed {
            None => {
                span.record("code", "Ok");
            }
            Some((code, certainty)) => {
                span.record("code", debug(code));
                span.record("certainty", debug(certainty));
            }
        }
    }
}
