//! The macros that fan out over the compiled-in backends. Only they and the type aliases in
//! [`runtime`](crate::runtime) write one line per backend.

/// Runs `$body` with the type `$R` set to the adapter of `$backend`.
macro_rules! dispatch {
    ($backend:expr, $R:ident => $body:expr) => {
        match $backend {
            #[cfg(feature = "tokio")]
            $crate::Backend::Tokio => {
                type $R = $crate::tokio::Tokio;
                $body
            }
            #[cfg(feature = "smol")]
            $crate::Backend::Smol => {
                type $R = $crate::smol::Smol;
                $body
            }
            #[cfg(feature = "async-std")]
            $crate::Backend::AsyncStd => {
                type $R = $crate::async_std::AsyncStd;
                $body
            }
            #[cfg(feature = "sim")]
            $crate::Backend::Sim => {
                type $R = $crate::sim::Sim;
                $body
            }
        }
    };
}

/// Runs `$body` with `$value` set to what `$choice` holds, whichever variant it is. A variant whose
/// backend is off holds the empty type `Off`.
macro_rules! delegate {
    ($choice:expr, $value:ident => $body:expr) => {
        delegate!($choice, Choice, $value => $body)
    };
    ($choice:expr, $enum:ident, $value:ident => $body:expr) => {
        match $choice {
            $crate::runtime::$enum::Tokio { value: $value } => $body,
            $crate::runtime::$enum::Smol { value: $value } => $body,
            $crate::runtime::$enum::AsyncStd { value: $value } => $body,
            $crate::runtime::$enum::Sim { value: $value } => $body,
        }
    };
}

/// As [`delegate`], with the type `$R` set to the adapter of the variant.
macro_rules! delegate_typed {
    ($choice:expr, $value:ident, $R:ident => $body:expr) => {
        match $choice {
            #[cfg(feature = "tokio")]
            $crate::runtime::Choice::Tokio { value: $value } => {
                type $R = $crate::tokio::Tokio;
                $body
            }
            #[cfg(feature = "smol")]
            $crate::runtime::Choice::Smol { value: $value } => {
                type $R = $crate::smol::Smol;
                $body
            }
            #[cfg(feature = "async-std")]
            $crate::runtime::Choice::AsyncStd { value: $value } => {
                type $R = $crate::async_std::AsyncStd;
                $body
            }
            #[cfg(feature = "sim")]
            $crate::runtime::Choice::Sim { value: $value } => {
                type $R = $crate::sim::Sim;
                $body
            }
            #[allow(unreachable_patterns, reason = "variants of backends that are off")]
            _ => unreachable!("a backend that is off made nothing"),
        }
    };
}
