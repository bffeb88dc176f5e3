/// Which addresses a look-up gives.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Family {
    /// Of both families, in the system's order.
    #[default]
    Any,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

/// What [`resolve`](super::resolve()) looks up.
///
/// # Examples
///
/// ```
/// use bowline_backend::net::{Family, Query};
///
/// let query = Query::host("example.org", 443).family(Family::V6);
/// assert_eq!(query.port, 443);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query {
    /// A name or a numeric address, with a scope where it needs one (`fe80::1%eth0`); `None` is
    /// the loopback, or any address where the flags say [`passive`](QueryFlags::passive).
    pub host: Option<String>,
    /// The port of the addresses found.
    pub port: u16,
    /// Which addresses are wanted.
    pub family: Family,
    /// How the look-up is done.
    pub flags: QueryFlags,
}

impl Query {
    /// The addresses of `host`, with `port`.
    pub fn host(host: impl Into<String>, port: u16) -> Query {
        Query {
            host: Some(host.into()),
            ..Query::loopback(port)
        }
    }

    /// The loopback addresses, with `port`.
    pub fn loopback(port: u16) -> Query {
        Query {
            host: None,
            port,
            family: Family::Any,
            flags: QueryFlags::new(),
        }
    }

    /// The addresses that stand for all interfaces, with `port`, to listen at.
    pub fn passive(port: u16) -> Query {
        Query::loopback(port).flags(QueryFlags::new().passive())
    }

    /// Restricts the addresses to one family.
    #[must_use = "this returns the changed query"]
    pub fn family(mut self, family: Family) -> Query {
        self.family = family;
        self
    }

    /// Sets how the look-up is done.
    #[must_use = "this returns the changed query"]
    pub fn flags(mut self, flags: QueryFlags) -> Query {
        self.flags = flags;
        self
    }
}

/// How [`resolve`](super::resolve()) looks up. By default names are asked for, and every address
/// that they have is given.
///
/// # Examples
///
/// ```
/// use bowline_backend::net::{Query, QueryFlags};
///
/// // An address from a configuration that must not become a question to a name server.
/// let query = Query::host("192.0.2.7", 443).flags(QueryFlags::new().numeric_host());
/// assert_ne!(query.flags, QueryFlags::default());
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct QueryFlags {
    pub(super) passive: bool,
    pub(super) numeric_host: bool,
    pub(super) configured: bool,
    pub(super) mapped: bool,
}

impl QueryFlags {
    /// The defaults.
    pub fn new() -> QueryFlags {
        QueryFlags::default()
    }

    /// No host stands for all interfaces instead of the loopback (`AI_PASSIVE`).
    #[must_use = "this returns the changed flags"]
    pub fn passive(mut self) -> QueryFlags {
        self.passive = true;
        self
    }

    /// The host must be an address in digits; a name is an error and nobody is asked
    /// (`AI_NUMERICHOST`).
    #[must_use = "this returns the changed flags"]
    pub fn numeric_host(mut self) -> QueryFlags {
        self.numeric_host = true;
        self
    }

    /// Of a name, only addresses of a family that this machine has an address of itself, its
    /// loopback not counted (`AI_ADDRCONFIG`). The system decides; simulated hosts have both
    /// families.
    #[must_use = "this returns the changed flags"]
    pub fn configured(mut self) -> QueryFlags {
        self.configured = true;
        self
    }

    /// Where IPv6 alone is wanted and there is none, the addresses of IPv4 as IPv6 writes them
    /// (`::ffff:192.0.2.7`, `AI_V4MAPPED`), for sockets of both families.
    #[must_use = "this returns the changed flags"]
    pub fn mapped(mut self) -> QueryFlags {
        self.mapped = true;
        self
    }
}
