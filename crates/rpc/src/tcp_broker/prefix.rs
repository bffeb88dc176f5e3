//! The part of an address that stands for one peer when connections are counted.

use std::net::IpAddr;

use bowline_backend::stream::Address;

/// An IPv4 address, or the first half of an IPv6 address: what one peer has at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Prefix {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Prefix {
    /// That of `address`, if it is one of the internet. A loopback address has none: it is that of
    /// every program on this machine, so it stands for no one peer.
    pub(super) fn of(address: &Address) -> Option<Prefix> {
        // An IPv4 peer at a socket of both families is still an IPv4 peer.
        match address.as_inet()?.ip().to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(address) => Some(Prefix::V4(address.octets())),
            IpAddr::V6(address) => address.octets().first_chunk().copied().map(Prefix::V6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Option<Prefix> {
        let address: std::net::SocketAddr = text.parse().expect("an address");
        Prefix::of(&address.into())
    }

    #[test]
    fn a_prefix_is_an_ipv4_address_or_half_an_ipv6_address() {
        assert_eq!(prefix("10.0.0.1:1"), prefix("10.0.0.1:2"));
        assert_ne!(prefix("10.0.0.1:1"), prefix("10.0.0.2:1"));
        assert_eq!(prefix("[::ffff:10.0.0.1]:1"), prefix("10.0.0.1:1"));
        assert_eq!(prefix("[2001:db8::1]:1"), prefix("[2001:db8::ffff:1]:1"));
        assert_ne!(prefix("[2001:db8::1]:1"), prefix("[2001:db8:0:1::1]:1"));
        assert_eq!(Prefix::of(&Address::Named("a".into())), None);
    }

    #[test]
    fn loopback_addresses_have_no_prefix() {
        for address in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(prefix(address), None, "{address}");
        }
        assert!(prefix("128.0.0.1:1").is_some() && prefix("[::2]:1").is_some());
    }
}
