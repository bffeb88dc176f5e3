//! Statics of a thread; in a model, whose threads share one of the system's, of a model's thread.

/// Declares one, made by a constant expression.
macro_rules! per_thread {
    ($(#[$meta:meta])* $visibility:vis static $name:ident: $type:ty = $value:expr;) => {
        #[cfg(not(loom))]
        ::std::thread_local! {
            $(#[$meta])* $visibility static $name: $type = const { $value };
        }
        #[cfg(loom)]
        ::loom::thread_local! {
            $(#[$meta])* $visibility static $name: $type = $value;
        }
    };
}
pub(crate) use per_thread;
