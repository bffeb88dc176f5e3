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

pub(super) fn handler_failed(peer: &Address, error: &dyn Display) {
    event!(error, %peer, %error, "the handler failed");
    let _ = (peer, error);
}

pub(super) fn handler_panicked(peer: &Address, message: &str) {
    event!(error, %peer, message, "the handler panicked");
    let _ = (peer, message);
}
