//! What a server of packets says of its own accord: with the feature `tracing`, as events; without
//! it nothing, for the counters have it.

use std::fmt::Display;

use bowline_backend::stream::Address;

macro_rules! event {
    ($level:ident, $($arguments:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::$level!($($arguments)*);
    };
}

pub(super) fn receiving_failed(error: &dyn Display) {
    event!(error, %error, "receiving has ended");
    let _ = error;
}

pub(super) fn unnamed(error: &dyn Display) {
    event!(warn, %error, "a packet cannot be answered");
    let _ = error;
}

pub(super) fn undecoded(peer: &Address, error: &dyn Display) {
    event!(debug, %peer, %error, "a packet could not be decoded");
    let _ = (peer, error);
}

/// Said at most 16 times in 5 s, panics included; `left_out` were not.
pub(super) fn handler_failed(peer: &Address, error: &dyn Display, left_out: u64) {
    event!(error, %peer, %error, left_out, "the handler failed");
    let _ = (peer, error, left_out);
}

/// As the one before.
pub(super) fn handler_panicked(peer: &Address, message: &str, left_out: u64) {
    event!(error, %peer, panic = message, left_out, "the handler panicked");
    let _ = (peer, message, left_out);
}
