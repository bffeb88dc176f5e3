//! Which backends this build has, for the attribute macros.
//!
//! Features belong to a crate, and a macro that expands in a user's crate cannot ask for ours.
//! So each question is a declarative macro that is defined one way or the other: `__with_x!`
//! keeps its first block where feature `x` is on and its second where it is not.

/// Defines the two forms of a `__with_x!`.
macro_rules! with {
    ($feature:literal, $name:ident, $dollar:tt) => {
        /// The first block if the backend is in this build, else the second.
        #[cfg(feature = $feature)]
        #[doc(hidden)]
        #[macro_export]
        macro_rules! $name {
            ({$dollar($dollar yes:tt)*} {$dollar($dollar no:tt)*}) => {$dollar($dollar yes)*};
        }

        /// The first block if the backend is in this build, else the second.
        #[cfg(not(feature = $feature))]
        #[doc(hidden)]
        #[macro_export]
        macro_rules! $name {
            ({$dollar($dollar yes:tt)*} {$dollar($dollar no:tt)*}) => {$dollar($dollar no)*};
        }
    };
}

with!("tokio", __with_tokio, $);
with!("smol", __with_smol, $);
with!("async-std", __with_async_std, $);
with!("sim", __with_sim, $);

/// Nothing, or the error that a program without any backend stops with.
#[cfg(any(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "sim"
))]
#[doc(hidden)]
#[macro_export]
macro_rules! __require_backend {
    () => {};
}

/// Nothing, or the error that a program without any backend stops with.
#[cfg(not(any(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "sim"
)))]
#[doc(hidden)]
#[macro_export]
macro_rules! __require_backend {
    () => {
        ::core::compile_error!(
            "no backend enabled: turn on one of the features tokio, smol, eventloop, async-std, sim"
        );
    };
}
