//! What a server says of its own accord: with the feature `tracing`, as events; without it nothing,
//! for the counters have it.

use std::fmt::Display;
use std::io;

use super::link::Link;

macro_rules! event {
    ($level:ident, $($arguments:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::$level!($($arguments)*);
    };
}

/// Said at most every 5 s.
pub(super) fn accept_exhausted(error: &io::Error) {
    event!(warn, %error, "accepting pauses");
    let _ = error;
}

/// Said at most every 5 s.
pub(super) fn accept_full(most: usize) {
    event!(
        warn,
        limit = most,
        "accepting waits: there are as many connections as may be"
    );
    let _ = most;
}

pub(super) fn accept_failed(error: &io::Error) {
    event!(error, %error, "accepting has ended");
    let _ = error;
}

pub(super) fn handshake_failed(link: &Link, error: &dyn Display) {
    event!(debug, id = link.id.as_u64(), peer = %link.address, %error, "the handshake failed");
    let _ = (link, error);
}

pub(super) fn broken(link: &Link, error: &dyn Display) {
    event!(debug, id = link.id.as_u64(), peer = %link.address, %error, "the connection broke");
    let _ = (link, error);
}

pub(super) fn undecoded(link: &Link, error: &dyn Display) {
    event!(debug, id = link.id.as_u64(), peer = %link.address, %error, "a message could not be decoded");
    let _ = (link, error);
}

/// Said at most 16 times in 5 s, panics included; `left_out` were not.
pub(super) fn handler_failed(link: &Link, error: &dyn Display, left_out: u64) {
    event!(error, id = link.id.as_u64(), peer = %link.address, %error, left_out, "the handler failed");
    let _ = (link, error, left_out);
}

/// As the one before.
pub(super) fn handler_panicked(link: &Link, message: &str, left_out: u64) {
    event!(error, id = link.id.as_u64(), peer = %link.address, panic = message, left_out, "the handler panicked");
    let _ = (link, message, left_out);
}
