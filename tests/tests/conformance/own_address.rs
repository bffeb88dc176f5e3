//! Addresses for what is closed and bound again.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};

use bowline_backend::Backend;

/// A loopback address that nobody else of the suite uses, with port 0: neither another process nor
/// another test of this one takes a port there that was closed.
pub(crate) fn own_address(backend: Backend) -> SocketAddr {
    if backend.capabilities().virtual_time || !cfg!(target_os = "linux") {
        return "127.0.0.1:0".parse().unwrap();
    }
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let of_the_call = 64 + NEXT.fetch_add(1, Ordering::Relaxed) % 128;
    let [.., high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, of_the_call, high, low.clamp(1, 254)], 0))
}
