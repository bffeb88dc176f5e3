use std::net::{IpAddr, SocketAddr};

use super::resolve::{ResolveError, ResolveErrorKind};
use crate::Backend;

/// How [`reverse`] answers. By default with names where the system knows them, and with numbers
/// where it does not.
///
/// # Examples
///
/// ```
/// use bowline_backend::net::ReverseFlags;
///
/// let numbers = ReverseFlags::new().numeric_host().numeric_service();
/// assert_ne!(numbers, ReverseFlags::default());
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct ReverseFlags {
    pub(super) numeric_host: bool,
    pub(super) numeric_service: bool,
    pub(super) name_required: bool,
    pub(super) datagram: bool,
}

impl ReverseFlags {
    /// The defaults.
    pub fn new() -> ReverseFlags {
        ReverseFlags::default()
    }

    /// The address in digits instead of a name.
    #[must_use = "this returns the changed flags"]
    pub fn numeric_host(mut self) -> ReverseFlags {
        self.numeric_host = true;
        self
    }

    /// The port in digits instead of a service.
    #[must_use = "this returns the changed flags"]
    pub fn numeric_service(mut self) -> ReverseFlags {
        self.numeric_service = true;
        self
    }

    /// An error where the host has no name. Of no meaning with a numeric host.
    #[must_use = "this returns the changed flags"]
    pub fn name_required(mut self) -> ReverseFlags {
        self.name_required = true;
        self
    }

    /// The service of UDP, where it differs from that of TCP.
    #[must_use = "this returns the changed flags"]
    pub fn datagram(mut self) -> ReverseFlags {
        self.datagram = true;
        self
    }
}

/// The host and service of `address`, as names or in digits.
///
/// All in digits needs no thread; else it is one blocking job, left behind where this is dropped,
/// which asks for a name of the host only where the host is not to be in digits.
///
/// # Errors
///
/// [`ResolveError`]: [`ResolveErrorKind::NotFound`] where a name is required and there is none.
///
/// # Panics
///
/// Where the current backend does not run on this thread.
///
/// # Cancel safety
///
/// *Nothing happened*; the look-up goes on in its thread to its end.
pub async fn reverse(
    address: SocketAddr,
    flags: ReverseFlags,
) -> Result<(String, String), ResolveError> {
    let backend = Backend::required().running();
    if flags.numeric_host && flags.numeric_service {
        return Ok((digits(address), address.port().to_string()));
    }
    let (mut host, mut service) = names(backend, address, flags).await?;
    if flags.numeric_host {
        host = digits(address);
    } else if flags.name_required && is_digits(&host) {
        let message = format!("{} has no name", address.ip());
        return Err(ResolveError::new(ResolveErrorKind::NotFound, message));
    }
    if flags.numeric_service {
        service = address.port().to_string();
    }
    Ok((host, service))
}

/// The address alone, with its scope where it has one.
fn digits(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        other => other.ip().to_string(),
    }
}

fn is_digits(host: &str) -> bool {
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    address.parse::<IpAddr>().is_ok()
}

async fn names(
    backend: Backend,
    address: SocketAddr,
    flags: ReverseFlags,
) -> Result<(String, String), ResolveError> {
    #[cfg(feature = "sim")]
    if backend == Backend::Sim {
        return Ok(crate::sim::reverse(address).await);
    }
    #[cfg(feature = "real")]
    return super::resolve::system::reverse(backend, address, flags).await;
    #[cfg(not(feature = "real"))]
    {
        let _ = (address, flags);
        unreachable!("no real backend is compiled in")
    }
}
