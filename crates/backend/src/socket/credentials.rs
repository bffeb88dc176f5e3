//! Who is at the other end of a Unix stream.

use std::io;
use std::os::fd::BorrowedFd;

use crate::net::Credentials;

/// Those that the kernel kept when the stream was connected.
///
/// Invariant CREDENTIALS1: the kernel is given a `ucred` and its length, and writes no more than
/// that; any bytes are a valid `ucred`.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[expect(
    unsafe_code,
    reason = "safe wrappers take the process for one that is never 0, as it is where it cannot be \
              seen from here"
)]
pub(super) fn of_peer(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    use std::os::fd::AsRawFd;
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: CREDENTIALS1; the descriptor is open, for it is borrowed.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut len,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    let pid = u32::try_from(peer.pid).ok().filter(|pid| *pid != 0);
    Ok(Credentials::new(pid, peer.uid, peer.gid))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn of_peer(_: BorrowedFd<'_>) -> io::Result<Credentials> {
    let why = "credentials of a peer are asked for on Linux alone";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}
