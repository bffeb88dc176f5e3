//! Addresses as text: `host:port`.

use std::fmt;
use std::net::SocketAddr;

use super::error::{UrlError, UrlErrorKind};
use super::shown::shown;
use crate::error::{Error, ErrorKind, Operation};

/// Where a text says that somebody is, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Address(SocketAddr),
    /// A name, or an address with a scope by name; empty and `*` are every address of ours.
    Host(String, u16),
}

/// Schemes with which a text is a URL whatever follows.
const SCHEMES: &[&str] = &["tcp", "tls", "udp", "unix", "unixgram", "mem"];

impl At {
    /// Reads `127.0.0.1:80`, `[::1]:80` or `host:80`.
    pub(crate) fn of(text: &str) -> Result<At, WrongAddress> {
        if let Ok(address) = text.parse() {
            return Ok(At::Address(address));
        }
        read(text).map_err(|error| WrongAddress {
            error,
            text: shown(text),
        })
    }

    /// Whether a text that may be an address or a URL is to be read as an address: there is no scheme,
    /// or what seems to be one is a host, since a number follows.
    pub(crate) fn is_meant(text: &str) -> bool {
        let number =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.rsplit_once(':') {
            None => true,
            Some(_) if text.contains("//") => false,
            Some((host, port)) => {
                let scheme = host.split(':').next().unwrap_or_default();
                let known = |known: &&str| scheme.eq_ignore_ascii_case(known);
                number(port) && !SCHEMES.iter().any(known)
            }
        }
    }
}

fn read(text: &str) -> Result<At, UrlError> {
    if text.contains("//") {
        return Err(UrlErrorKind::NoAddress.at(0));
    }
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| UrlErrorKind::NoAddress.at(text.len()))?;
    let plain = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| plain);
    let port = port.ok_or_else(|| UrlErrorKind::Port.at(host.len()))?;
    let host = match host.strip_prefix('[') {
        // The one who looks it up knows what a scope is.
        Some(rest) => match rest.strip_suffix(']') {
            Some(address) if address.contains(':') => address,
            _ => return Err(UrlErrorKind::Host.at(0)),
        },
        None => {
            let foreign = |c: char| c.is_control() || c.is_whitespace() || "@/[]?#:".contains(c);
            match host.find(foreign) {
                Some(at) => return Err(UrlErrorKind::Character.at(at)),
                None => host,
            }
        }
    };
    Ok(At::Host(host.to_owned(), port))
}

/// A text that is no address; whoever was given it says so when it is used.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct WrongAddress {
    error: UrlError,
    /// As much of it as may be shown.
    text: String,
}

impl WrongAddress {
    pub(crate) fn nobody(text: &str, kind: UrlErrorKind) -> Self {
        WrongAddress {
            error: kind.anywhere(),
            text: shown(text),
        }
    }

    pub(crate) fn error(&self, operation: Operation) -> Error {
        Error::new(operation, ErrorKind::Config)
            .with_place(&self.text)
            .with_source(self.error)
    }
}

impl fmt::Debug for WrongAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, which is none: {}", self.text, self.error)
    }
}

impl fmt::Display for WrongAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // TR11
    #[test]
    fn addresses_are_read_and_what_is_none_is_told() {
        let host = |name: &str, port| Ok(At::Host(name.to_owned(), port));
        let read = |text: &str| At::of(text).map_err(|wrong| wrong.error.to_string());
        assert_eq!(
            read("127.0.0.1:0"),
            Ok(At::Address(([127, 0, 0, 1], 0).into()))
        );
        assert_eq!(
            read("[::1]:80"),
            Ok(At::Address("[::1]:80".parse().unwrap()))
        );
        assert_eq!(read("localhost:80"), host("localhost", 80));
        assert_eq!(read("[fe80::1%eth0]:9"), host("fe80::1%eth0", 9));
        assert_eq!(read(":80"), host("", 80));
        assert_eq!(read("*:80"), host("*", 80));
        let none = "no address: `host:port` is due";
        for (text, told) in [
            ("localhost", format!("{none}, at byte 9")),
            ("", format!("{none}, at byte 0")),
            ("tcp://h:80", format!("{none}, at byte 0")),
            (
                "h:65536",
                "no port: a number from 0 to 65535 after a colon, at byte 1".to_owned(),
            ),
            (
                "h:+1",
                "no port: a number from 0 to 65535 after a colon, at byte 1".to_owned(),
            ),
            (
                "h:",
                "no port: a number from 0 to 65535 after a colon, at byte 1".to_owned(),
            ),
            (
                "::1:80",
                "a character that cannot be here unescaped, at byte 0".to_owned(),
            ),
            (
                "a@h:80",
                "a character that cannot be here unescaped, at byte 1".to_owned(),
            ),
            (
                "[127.0.0.1]:80",
                "no IPv6 address in brackets, at byte 0".to_owned(),
            ),
            (
                "[::1:80",
                "no IPv6 address in brackets, at byte 0".to_owned(),
            ),
        ] {
            assert_eq!(read(text), Err(told), "{text}");
        }
    }

    // TR11
    #[test]
    fn a_host_with_a_number_is_told_from_a_url() {
        for address in [
            "127.0.0.1:80",
            "[::1]:80",
            "h:80",
            "h",
            "h:99999",
            "a.b:1",
            "::1:80",
        ] {
            assert!(At::is_meant(address), "{address}");
        }
        for url in [
            "tcp://h:80",
            "unix:80",
            "UNIX:/a:80",
            "tcp:80",
            "mem:1",
            "h:80?a=b",
            "ws://h",
        ] {
            assert!(!At::is_meant(url), "{url}");
        }
    }
}
