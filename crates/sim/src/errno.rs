//! Errors as the kernel gives them.

use std::io;

/// The errors sockets of a world can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    Refused,
    Reset,
    BrokenPipe,
    AddrInUse,
    AddrNotAvailable,
    TimedOut,
    Invalid,
    TooManyFiles,
    WrongProtocol,
    NotPermitted,
    NoEntry,
    NetUnreachable,
    FamilyNotSupported,
    NoDestination,
    NotConnected,
    MessageTooLong,
    NotAllowed,
    NoBuffers,
    /// The host has no power.
    InputOutput,
}

impl Errno {
    /// With the kernel's number on Linux, with the kind alone elsewhere (numbers differ).
    pub(crate) fn error(self) -> io::Error {
        if cfg!(target_os = "linux") {
            io::Error::from_raw_os_error(match self {
                Errno::Refused => 111,
                Errno::Reset => 104,
                Errno::BrokenPipe => 32,
                Errno::AddrInUse => 98,
                Errno::AddrNotAvailable => 99,
                Errno::TimedOut => 110,
                Errno::Invalid => 22,
                Errno::TooManyFiles => 24,
                Errno::WrongProtocol => 91,
                Errno::NotPermitted => 1,
                Errno::NoEntry => 2,
                Errno::NetUnreachable => 101,
                Errno::FamilyNotSupported => 97,
                Errno::NoDestination => 89,
                Errno::NotConnected => 107,
                Errno::MessageTooLong => 90,
                Errno::NotAllowed => 13,
                Errno::NoBuffers => 105,
                Errno::InputOutput => 5,
            })
        } else {
            io::Error::from(match self {
                Errno::Refused => io::ErrorKind::ConnectionRefused,
                Errno::Reset => io::ErrorKind::ConnectionReset,
                Errno::BrokenPipe => io::ErrorKind::BrokenPipe,
                Errno::AddrInUse => io::ErrorKind::AddrInUse,
                Errno::AddrNotAvailable => io::ErrorKind::AddrNotAvailable,
                Errno::TimedOut => io::ErrorKind::TimedOut,
                Errno::Invalid => io::ErrorKind::InvalidInput,
                Errno::TooManyFiles => io::ErrorKind::Other,
                Errno::WrongProtocol => io::ErrorKind::Other,
                Errno::NotPermitted => io::ErrorKind::PermissionDenied,
                Errno::NoEntry => io::ErrorKind::NotFound,
                Errno::NetUnreachable => io::ErrorKind::NetworkUnreachable,
                Errno::FamilyNotSupported => io::ErrorKind::Other,
                Errno::NoDestination => io::ErrorKind::Other,
                Errno::NotConnected => io::ErrorKind::NotConnected,
                Errno::MessageTooLong => io::ErrorKind::Other,
                Errno::NotAllowed => io::ErrorKind::PermissionDenied,
                Errno::NoBuffers => io::ErrorKind::Other,
                Errno::InputOutput => io::ErrorKind::Other,
            })
        }
    }
}
