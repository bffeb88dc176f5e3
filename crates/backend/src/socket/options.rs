//! Options of sockets, as the kernel takes them.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::net::{Keepalive, Nodelay, TcpOptions};

/// Sets what `options` say of a stream of TCP.
pub(super) fn apply_tcp(socket: &SockRef<'_>, options: &TcpOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(options.nodelay == Nodelay::On)?;
    if let Some(keepalive) = options.keepalive {
        set_keepalive(socket, Some(keepalive))?;
    }
    if let Some(linger) = options.linger {
        set_linger(socket, Some(linger))?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(timeout) = options.user_timeout {
        set_user_timeout(socket, Some(timeout))?;
    }
    set_buffers(socket, options.send_buffer, options.recv_buffer)
}

/// Zero is the system's own, so what is less than a millisecond is one.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn set_user_timeout(socket: &SockRef<'_>, timeout: Option<Duration>) -> io::Result<()> {
    let in_millis = |timeout: Duration| {
        let up = timeout.saturating_add(Duration::from_nanos(999_999));
        Duration::from_millis(up.as_millis().min(i32::MAX as u128) as u64)
    };
    socket.set_tcp_user_timeout(timeout.map(in_millis))
}

pub(super) fn set_buffers(
    socket: &SockRef<'_>,
    send: Option<usize>,
    recv: Option<usize>,
) -> io::Result<()> {
    if let Some(bytes) = send {
        socket.set_send_buffer_size(bytes.min(i32::MAX as usize))?;
    }
    if let Some(bytes) = recv {
        socket.set_recv_buffer_size(bytes.min(i32::MAX as usize))?;
    }
    Ok(())
}

/// The system knows whole seconds, and zero of them is a reset: what is less than one is one.
pub(super) fn set_linger(socket: &SockRef<'_>, linger: Option<Duration>) -> io::Result<()> {
    let seconds = |linger: Duration| match linger {
        Duration::ZERO => linger,
        other => whole_seconds(other).min(Duration::from_secs(i32::MAX as u64)),
    };
    socket.set_linger(linger.map(seconds))
}

pub(super) fn set_keepalive(socket: &SockRef<'_>, keepalive: Option<Keepalive>) -> io::Result<()> {
    let Some(keepalive) = keepalive else {
        return socket.set_keepalive(false);
    };
    let parameters = TcpKeepalive::new()
        .with_time(whole_seconds(keepalive.idle))
        .with_interval(whole_seconds(keepalive.interval))
        .with_retries(keepalive.count);
    socket.set_tcp_keepalive(&parameters)
}

/// Rounded up to seconds, at least one: the system knows no shorter ones.
fn whole_seconds(span: Duration) -> Duration {
    let up = u64::from(span.subsec_nanos() > 0);
    Duration::from_secs(span.as_secs().saturating_add(up).max(1))
}
