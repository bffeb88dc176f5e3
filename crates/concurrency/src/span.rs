//! The span in which a task was spawned; with the feature `tracing` alone.

/// Nothing is stored without the feature.
#[cfg(not(feature = "tracing"))]
const _: () = assert!(size_of::<SpawnSpan>() == 0);

/// The `tracing` span that was current where a task was spawned.
pub(crate) struct SpawnSpan {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl SpawnSpan {
    /// The one that is current here.
    pub(crate) fn current() -> SpawnSpan {
        SpawnSpan {
            #[cfg(feature = "tracing")]
            span: tracing::Span::current(),
        }
    }

    /// For what its caller polls, in the caller's span.
    pub(crate) fn none() -> SpawnSpan {
        SpawnSpan {
            #[cfg(feature = "tracing")]
            span: tracing::Span::none(),
        }
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn inside<R>(&self, f: impl FnOnce() -> R) -> R {
        self.span.in_scope(f)
    }

    #[cfg(not(feature = "tracing"))]
    pub(crate) fn inside<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }
}
