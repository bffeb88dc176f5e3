use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::query::{Family, Query, QueryFlags};
use crate::Backend;

/// Looks up the addresses of a host, in the system's order, without duplicates. What is returned
/// is never empty.
///
/// Numeric hosts need no thread. Others are one blocking job, left behind where this is dropped.
/// Nothing is cached.
///
/// # Errors
///
/// [`ResolveError`], whose kind says whether trying again makes sense;
/// [`ResolveErrorKind::NotFound`] for a name where [`numeric_host`](super::QueryFlags::numeric_host)
/// was asked for.
///
/// # Panics
///
/// Where the current backend does not run on this thread.
///
/// # Cancel safety
///
/// *Nothing happened*; a look-up in a thread goes on to its end.
pub async fn resolve(query: Query) -> Result<Vec<SocketAddr>, ResolveError> {
    let backend = Backend::required().running();
    let addresses = match &query.host {
        None => unnamed(query.flags),
        Some(host) => {
            check_name(host)?;
            match numeric(host) {
                Some(address) => vec![address],
                None if query.flags.numeric_host && !is_scoped(host) => {
                    let message = format!("{host} is no address in digits");
                    return Err(ResolveError::new(ResolveErrorKind::NotFound, message));
                }
                None => lookup(backend, host.clone(), query.flags).await?,
            }
        }
    };
    select(addresses, &query)
}

/// The addresses that a query without a host stands for.
fn unnamed(flags: QueryFlags) -> Vec<SocketAddr> {
    let (v6, v4) = if flags.passive {
        (Ipv6Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED)
    } else {
        (Ipv6Addr::LOCALHOST, Ipv4Addr::LOCALHOST)
    };
    vec![SocketAddr::new(v6.into(), 0), SocketAddr::new(v4.into(), 0)]
}

/// A name of 1 to 253 bytes without NUL, the length that DNS allows (RFC 1035, 2.3.4).
fn check_name(host: &str) -> Result<(), ResolveError> {
    if host.is_empty() || host.len() > 253 || host.contains('\0') {
        let message = format!("a host name of {} bytes; 1 to 253 without NUL", host.len());
        return Err(ResolveError::new(ResolveErrorKind::InvalidName, message));
    }
    Ok(())
}

/// Whether `host` is an address of IPv6 with a scope, which the system looks up among its own
/// interfaces.
fn is_scoped(host: &str) -> bool {
    let address = host.split_once('%').map(|(address, _)| address);
    address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// `host` where it is an address in digits. A scope by name needs the system, so it is none here.
fn numeric(host: &str) -> Option<SocketAddr> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 0));
    }
    let (address, scope) = host.split_once('%')?;
    let address = address.parse().ok()?;
    let scope = scope.parse().ok()?;
    Some(SocketAddrV6::new(address, 0, 0, scope).into())
}

fn select(mut found: Vec<SocketAddr>, query: &Query) -> Result<Vec<SocketAddr>, ResolveError> {
    let asks_v6 = query.family == Family::V6;
    if asks_v6 && query.flags.mapped && !found.iter().any(SocketAddr::is_ipv6) {
        for address in &mut found {
            if let IpAddr::V4(v4) = address.ip() {
                address.set_ip(v4.to_ipv6_mapped().into());
            }
        }
    }
    let mut addresses: Vec<SocketAddr> = Vec::with_capacity(found.len());
    for mut address in found {
        address.set_port(query.port);
        let wanted = match query.family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        if wanted && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        let host = query.host.as_deref().unwrap_or("loopback");
        let family = match query.family {
            Family::Any => "any family",
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        let message = format!("{host} has no address of {family}");
        return Err(ResolveError::new(ResolveErrorKind::NoAddress, message));
    }
    Ok(addresses)
}

async fn lookup(
    backend: Backend,
    host: String,
    flags: QueryFlags,
) -> Result<Vec<SocketAddr>, ResolveError> {
    #[cfg(feature = "sim")]
    if backend == Backend::Sim {
        // Its hosts have addresses of both families.
        return crate::sim::lookup(host).await;
    }
    #[cfg(feature = "real")]
    return system::lookup(backend, host, flags).await;
    #[cfg(not(feature = "real"))]
    {
        let _ = (backend, host, flags);
        unreachable!("no real backend is compiled in")
    }
}

#[cfg(feature = "real")]
pub(super) mod system {
    use std::net::SocketAddr;

    use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType};

    use super::{ResolveError, ResolveErrorKind};
    use crate::Backend;
    use crate::net::{QueryFlags, ReverseFlags};

    /// `AI_ADDRCONFIG`, which every system has and numbers as it likes.
    const CONFIGURED: i32 = if cfg!(target_os = "linux") {
        0x20
    } else if cfg!(target_os = "openbsd") {
        0x40
    } else {
        0x400
    };

    pub(super) async fn lookup(
        backend: Backend,
        host: String,
        flags: QueryFlags,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let job = backend.spawn_blocking(move || {
            let hints = AddrInfoHints {
                flags: if flags.configured { CONFIGURED } else { 0 },
                socktype: SockType::Stream.into(),
                ..AddrInfoHints::default()
            };
            let found = dns_lookup::getaddrinfo(Some(&host), None, Some(hints))
                .map_err(|error| translate(&host, error))?;
            Ok(found.flatten().map(|info| info.sockaddr).collect())
        });
        job.await.unwrap_or_else(|error| Err(stopped(&error)))
    }

    /// Linux numbers the flags of `getnameinfo` unlike the others.
    const LINUX: bool = cfg!(target_os = "linux");
    /// `NI_NUMERICHOST`.
    const NUMERIC_HOST: i32 = if LINUX { 1 } else { 2 };
    /// `NI_NUMERICSERV`.
    const NUMERIC_SERVICE: i32 = if LINUX { 2 } else { 8 };
    /// `NI_NAMEREQD`.
    const NAME_REQUIRED: i32 = if LINUX { 8 } else { 4 };
    /// `NI_DGRAM`, the same on every system.
    const DATAGRAM: i32 = 0x10;

    /// `asked` in the words of the system.
    pub(super) fn reverse_flags(asked: ReverseFlags) -> i32 {
        // A name that is not asked for cannot be required: systems make an error of the two.
        let required = asked.name_required && !asked.numeric_host;
        let flags = [
            (asked.numeric_host, NUMERIC_HOST),
            (asked.numeric_service, NUMERIC_SERVICE),
            (required, NAME_REQUIRED),
            (asked.datagram, DATAGRAM),
        ];
        let set = flags.into_iter().filter(|(set, _)| *set);
        set.fold(0, |flags, (_, flag)| flags | flag)
    }

    pub(in crate::net) async fn reverse(
        backend: Backend,
        address: SocketAddr,
        asked: ReverseFlags,
    ) -> Result<(String, String), ResolveError> {
        let flags = reverse_flags(asked);
        let job = backend.spawn_blocking(move || {
            dns_lookup::getnameinfo(&address, flags)
                .map_err(|error| translate(&address.to_string(), error))
        });
        job.await.unwrap_or_else(|error| Err(stopped(&error)))
    }

    fn stopped(error: &crate::blocking::BlockingError) -> ResolveError {
        ResolveError::new(ResolveErrorKind::Failed, error.to_string())
    }

    fn translate(host: &str, error: LookupError) -> ResolveError {
        let kind = match error.kind() {
            LookupErrorKind::NoName => ResolveErrorKind::NotFound,
            LookupErrorKind::NoData | LookupErrorKind::Family => ResolveErrorKind::NoAddress,
            LookupErrorKind::Again => ResolveErrorKind::TryAgain,
            _ => ResolveErrorKind::Failed,
        };
        let code = error.error_num();
        let message = format!("{host}: {}", std::io::Error::from(error));
        ResolveError::new(kind, message).with_code(code)
    }
}

/// Why a look-up gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveError {
    kind: ResolveErrorKind,
    message: String,
    code: Option<i32>,
}

impl ResolveError {
    pub(crate) fn new(kind: ResolveErrorKind, message: String) -> ResolveError {
        ResolveError {
            kind,
            message,
            code: None,
        }
    }

    #[cfg(feature = "real")]
    fn with_code(mut self, code: i32) -> ResolveError {
        // Zero where the failure was none of the resolver's own.
        self.code = (code != 0).then_some(code);
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> ResolveErrorKind {
        self.kind
    }

    /// The code of the system's resolver (`EAI_*`), where it was asked.
    pub fn code(&self) -> Option<i32> {
        self.code
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ResolveError {}

impl From<ResolveError> for io::Error {
    /// The error itself stays inside. Where trying again makes sense the kind is
    /// [`TimedOut`](io::ErrorKind::TimedOut), never `WouldBlock`: to whoever polls a socket that
    /// would promise a wake.
    fn from(error: ResolveError) -> io::Error {
        let kind = match error.kind {
            ResolveErrorKind::NotFound | ResolveErrorKind::NoAddress => io::ErrorKind::NotFound,
            ResolveErrorKind::TryAgain => io::ErrorKind::TimedOut,
            ResolveErrorKind::InvalidName => io::ErrorKind::InvalidInput,
            ResolveErrorKind::Failed => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// The kinds of [`ResolveError`].
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResolveErrorKind {
    /// No such name.
    NotFound,
    /// The name has no address of the family asked for.
    NoAddress,
    /// The resolver did not answer; later it may.
    TryAgain,
    /// The resolver failed for good.
    Failed,
    /// The name is empty, longer than 253 bytes or holds a NUL.
    InvalidName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_an_error_of_io_it_keeps_kind_and_code() {
        for (kind, expected) in [
            (ResolveErrorKind::NotFound, io::ErrorKind::NotFound),
            (ResolveErrorKind::NoAddress, io::ErrorKind::NotFound),
            (ResolveErrorKind::TryAgain, io::ErrorKind::TimedOut),
            (ResolveErrorKind::Failed, io::ErrorKind::Other),
            (ResolveErrorKind::InvalidName, io::ErrorKind::InvalidInput),
        ] {
            let error = ResolveError {
                kind,
                message: "host: why".to_owned(),
                code: Some(-3),
            };
            let io = io::Error::from(error.clone());
            assert_eq!((io.kind(), io.to_string()), (expected, error.to_string()));
            let inner = io.get_ref().and_then(|inner| inner.downcast_ref());
            assert_eq!(inner, Some(&error));
        }
    }

    // B50
    #[cfg(feature = "real")]
    #[test]
    fn the_system_is_asked_for_what_is_wanted_alone() {
        use crate::net::ReverseFlags;
        use dns_lookup::LookupErrorKind;
        use std::net::Ipv4Addr;

        let ask = |address: SocketAddr, asked| {
            dns_lookup::getnameinfo(&address, system::reverse_flags(asked))
                .map_err(|error| error.kind())
        };
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        let none = ReverseFlags::new();
        let (name, service) = ask(loopback, none).unwrap();
        assert_ne!(name, "127.0.0.1", "the name that is not to be asked for");
        let (host, same) = ask(loopback, none.numeric_host()).unwrap();
        assert_eq!((host.as_str(), same), ("127.0.0.1", service));
        let (host, port) = ask(loopback, none.numeric_service()).unwrap();
        assert_eq!((host, port.as_str()), (name, "80"));
        // Of the block for documentation: it has no name.
        let nobody: SocketAddr = "192.0.2.1:80".parse().unwrap();
        let required = none.numeric_service().name_required();
        let missing = ask(nobody, required).unwrap_err();
        assert!(
            matches!(missing, LookupErrorKind::NoName | LookupErrorKind::Again),
            "{missing:?}"
        );
        let digits = ask(nobody, required.numeric_host()).unwrap();
        assert_eq!(digits, ("192.0.2.1".to_owned(), "80".to_owned()));
    }
}
