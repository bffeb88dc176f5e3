//! What a failed `accept` means for the listener.

use std::io::{self, ErrorKind};

/// What a server does after a failed `accept`.
///
/// Listeners hand the system's error through and never retry or sleep themselves; after
/// [`Exhausted`](AcceptErrorKind::Exhausted) they stay usable.
///
/// # Examples
///
/// ```
/// use bowline_backend::accept_error::AcceptErrorKind;
/// use std::io;
///
/// let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
/// assert_eq!(AcceptErrorKind::of(&aborted), AcceptErrorKind::Skip);
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcceptErrorKind {
    /// One connection failed before it was handed out: accept the next at once.
    Skip,
    /// Descriptors or memory ran out: accept again after a pause.
    Exhausted,
    /// The listener is broken.
    Fatal,
}

impl AcceptErrorKind {
    /// The kind of `error`, by its system code where it has one.
    pub fn of(error: &io::Error) -> AcceptErrorKind {
        if let Some(kind) = error.raw_os_error().and_then(of_code) {
            return kind;
        }
        match error.kind() {
            ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::PermissionDenied
            | ErrorKind::Interrupted
            | ErrorKind::NetworkDown
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::TimedOut => AcceptErrorKind::Skip,
            ErrorKind::OutOfMemory | ErrorKind::QuotaExceeded | ErrorKind::StorageFull => {
                AcceptErrorKind::Exhausted
            }
            _ => AcceptErrorKind::Fatal,
        }
    }
}

/// Codes of Linux, which simulated errors carry too.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn of_code(code: i32) -> Option<AcceptErrorKind> {
    const EPERM: i32 = 1;
    const EINTR: i32 = 4;
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    /// Where the system watches no more descriptors for this user.
    const ENOSPC: i32 = 28;
    const EPROTO: i32 = 71;
    const ENOPROTOOPT: i32 = 92;
    const EOPNOTSUPP: i32 = 95;
    const ENETDOWN: i32 = 100;
    const ENETUNREACH: i32 = 101;
    const ECONNABORTED: i32 = 103;
    const ECONNRESET: i32 = 104;
    const ENOBUFS: i32 = 105;
    const ETIMEDOUT: i32 = 110;
    const EHOSTDOWN: i32 = 112;
    const EHOSTUNREACH: i32 = 113;
    Some(match code {
        EMFILE | ENFILE | ENOMEM | ENOBUFS | ENOSPC => AcceptErrorKind::Exhausted,
        EPERM | EINTR | EPROTO | ENOPROTOOPT | EOPNOTSUPP | ENETDOWN | ENETUNREACH
        | ECONNABORTED | ECONNRESET | ETIMEDOUT | EHOSTDOWN | EHOSTUNREACH => AcceptErrorKind::Skip,
        _ => AcceptErrorKind::Fatal,
    })
}

/// Other systems number as they like.
#[cfg(all(
    unix,
    feature = "real",
    not(any(target_os = "linux", target_os = "android"))
))]
fn of_code(code: i32) -> Option<AcceptErrorKind> {
    use rustix::io::Errno;
    Some(match Errno::from_raw_os_error(code) {
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS => AcceptErrorKind::Exhausted,
        Errno::PERM
        | Errno::INTR
        | Errno::PROTO
        | Errno::NOPROTOOPT
        | Errno::OPNOTSUPP
        | Errno::NETDOWN
        | Errno::NETUNREACH
        | Errno::CONNABORTED
        | Errno::CONNRESET
        | Errno::TIMEDOUT
        | Errno::HOSTDOWN
        | Errno::HOSTUNREACH => AcceptErrorKind::Skip,
        _ => AcceptErrorKind::Fatal,
    })
}

/// Without a real backend, or elsewhere than on Unix, the kind has to do.
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    all(unix, feature = "real")
)))]
fn of_code(_: i32) -> Option<AcceptErrorKind> {
    None
}

#[cfg(all(test, target_os = "linux", feature = "real"))]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_codes() {
        use rustix::io::Errno;
        let skipped = [
            Errno::CONNABORTED,
            Errno::CONNRESET,
            Errno::PROTO,
            Errno::PERM,
            Errno::INTR,
            Errno::NETDOWN,
            Errno::HOSTDOWN,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            Errno::NOPROTOOPT,
            Errno::OPNOTSUPP,
            Errno::TIMEDOUT,
        ];
        let exhausted = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::NOBUFS,
            Errno::NOSPC,
        ];
        let fatal = [Errno::BADF, Errno::INVAL, Errno::NOTSOCK, Errno::FAULT];
        for (codes, kind) in [
            (&skipped[..], AcceptErrorKind::Skip),
            (&exhausted, AcceptErrorKind::Exhausted),
            (&fatal, AcceptErrorKind::Fatal),
        ] {
            for code in codes {
                let error = io::Error::from_raw_os_error(code.raw_os_error());
                assert_eq!(AcceptErrorKind::of(&error), kind, "{error}");
            }
        }
    }
}
