//! Addresses of transports as text: what to dial or listen at, and with which parameters.

mod address;
mod error;
mod escape;
mod shown;

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

pub(crate) use address::{At, WrongAddress};
pub use error::{UrlError, UrlErrorKind};
pub(crate) use shown::shown;

use escape::{Escaped, unescape};

/// Where a transport leads, as one line of text.
///
/// A subset of RFC 3986 in three forms, by what follows the scheme:
///
/// | form | place | used by |
/// |---|---|---|
/// | `tcp://host:port?key=value` | [`Place::Host`] | `tcp`, `tls`, `udp`, `mem` |
/// | `unix:/path?key=value`, or a relative path | [`Place::Path`] | `unix`, `unixgram` |
/// | `unix:@name?key=value` | [`Place::Abstract`] | `unix`, `unixgram` |
///
/// A host is a name, an IPv4 address, or an IPv6 address in brackets, which has no zone. `%41` stands for a byte by its
/// two digits in base sixteen, in hosts, paths, names, keys and values; what it spells has to be UTF-8,
/// and `+` is no space. A URL is ASCII and at most [`Url::MAX`] bytes long. Neither user info nor
/// fragments are accepted: a transport has no use for them, and passwords do not belong where
/// addresses are logged.
///
/// Which schemes there are is not known here, nor which keys they take.
///
/// # Examples
///
/// ```
/// use bowline_transport::{Place, Url};
///
/// let url: Url = "tls://[::1]:8443?sni=example.org&alpn=h2".parse()?;
/// assert_eq!(url.scheme(), "tls");
/// assert_eq!(url.place(), &Place::Host { name: "::1".to_owned(), port: Some(8443) });
/// assert_eq!(url.to_dial()?, ("::1", 8443));
/// assert_eq!(url.query().next(), Some(("sni", "example.org")));
///
/// let url: Url = "unix:/run/my%20app.sock".parse()?;
/// assert_eq!(url.place(), &Place::Path("/run/my app.sock".to_owned()));
///
/// let error = "tcp://user:secret@host:1".parse::<Url>().unwrap_err();
/// assert_eq!(error.to_string(), "user info is not accepted, at byte 6");
/// # Ok::<(), bowline_transport::UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    scheme: String,
    place: Place,
    query: Vec<(String, String)>,
}

/// What a [`Url`] names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A host, which may be empty, and a port, which may be missing: whether they may depends on
    /// what is done there.
    Host {
        /// A name or an address, an IPv6 address without its brackets.
        name: String,
        /// The number after the colon.
        port: Option<u16>,
    },
    /// A path in the file system.
    Path(String),
    /// A name outside the file system, which Linux has.
    Abstract(String),
}

impl Url {
    /// The longest URL that is looked at, in bytes: 8 KiB.
    pub const MAX: usize = 8 * 1024;

    /// What is before the first colon, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What it leads to.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Keys and values, in their order and as often as they are there.
    pub fn query(&self) -> impl Iterator<Item = (&str, &str)> {
        self.query.iter().map(|(key, value)| (&key[..], &value[..]))
    }

    /// Host and port of a peer.
    ///
    /// # Errors
    ///
    /// There is no host, it is `*`, or the port is missing or 0: nobody can be reached there.
    pub fn to_dial(&self) -> Result<(&str, u16), UrlError> {
        match &self.place {
            Place::Host { name, .. } if name.is_empty() || name == "*" => {
                Err(UrlErrorKind::NoHost.anywhere())
            }
            Place::Host { name, port } => match port {
                Some(port) if *port > 0 => Ok((name, *port)),
                _ => Err(UrlErrorKind::NoPort.anywhere()),
            },
            Place::Path(_) | Place::Abstract(_) => Err(UrlErrorKind::NotAHost.anywhere()),
        }
    }

    /// Host and port to listen at; `None` is every address of this host, as `tcp://:80` and
    /// `tcp://*:80` say, and port 0, or none, is one of the system's choice.
    ///
    /// # Errors
    ///
    /// It names a path.
    pub fn to_listen(&self) -> Result<(Option<&str>, u16), UrlError> {
        match &self.place {
            Place::Host { name, port } => {
                let all = name.is_empty() || name == "*";
                Ok(((!all).then_some(&name[..]), port.unwrap_or(0)))
            }
            Place::Path(_) | Place::Abstract(_) => Err(UrlErrorKind::NotAHost.anywhere()),
        }
    }
}

impl FromStr for Url {
    type Err = UrlError;

    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// [`UrlError`] says what is wrong and at which byte; it never repeats the text.
    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.len() > Self::MAX {
            return Err(UrlErrorKind::TooLong { limit: Self::MAX }.at(Self::MAX));
        }
        let foreign = |byte: u8| !byte.is_ascii_graphic();
        if let Some(at) = text.bytes().position(foreign) {
            return Err(UrlErrorKind::Character.at(at));
        }
        if let Some(at) = text.find('#') {
            return Err(UrlErrorKind::Fragment.at(at));
        }
        let colon = text.find(':').ok_or(UrlErrorKind::NoScheme.at(0))?;
        let scheme = scheme(&text[..colon])?;
        let rest = colon + 1;
        let end = text.find('?').unwrap_or(text.len());
        let place = place(text, rest, end)?;
        let query = match text.get(end + 1..) {
            Some(query) => pairs(query, end + 1)?,
            None => Vec::new(),
        };
        Ok(Self {
            scheme,
            place,
            query,
        })
    }
}

/// A letter, then letters, digits, `+`, `-` and `.`.
fn scheme(text: &str) -> Result<String, UrlError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    match text.bytes().position(|byte| !allowed(byte)) {
        Some(at) => Err(UrlErrorKind::Character.at(at)),
        None if !text.starts_with(|first: char| first.is_ascii_alphabetic()) => {
            Err(UrlErrorKind::NoScheme.at(0))
        }
        None => Ok(text.to_ascii_lowercase()),
    }
}

/// What is between the scheme and the query.
fn place(text: &str, start: usize, end: usize) -> Result<Place, UrlError> {
    let part = &text[start..end];
    if let Some(authority) = part.strip_prefix("//") {
        return host(authority, start + 2);
    }
    if let Some(name) = part.strip_prefix('@') {
        let name = unescape(name, start + 1, |_| false)?;
        if name.is_empty() {
            return Err(UrlErrorKind::NoPath.at(start + 1));
        }
        return Ok(Place::Abstract(name));
    }
    let path = unescape(part, start, |c| c == '\0')?;
    if path.is_empty() {
        return Err(UrlErrorKind::NoPath.at(start));
    }
    Ok(Place::Path(path))
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn host(authority: &str, start: usize) -> Result<Place, UrlError> {
    if authority.contains('@') {
        return Err(UrlErrorKind::UserInfo.at(start));
    }
    if let Some(at) = authority.find('/') {
        return Err(UrlErrorKind::Path.at(start + at));
    }
    let (name, after) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let close = bracketed.find(']').ok_or(UrlErrorKind::Host.at(start))?;
            let address: Ipv6Addr = bracketed[..close]
                .parse()
                .map_err(|_| UrlErrorKind::Host.at(start + 1))?;
            (address.to_string(), close + 2)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let foreign = |byte: u8| b"[]<>\"\\^`{|}".contains(&byte);
            if let Some(at) = authority[..end].bytes().position(foreign) {
                return Err(UrlErrorKind::Character.at(start + at));
            }
            // Else it would read as another URL than the one it was written as.
            let structure = |c: char| c.is_control() || "@/:[]?#".contains(c);
            (unescape(&authority[..end], start, structure)?, end)
        }
    };
    let port = match &authority[after..] {
        "" => None,
        rest => Some(port(rest, start + after)?),
    };
    Ok(Place::Host { name, port })
}

/// A colon and a number.
fn port(text: &str, start: usize) -> Result<u16, UrlError> {
    let wrong = UrlErrorKind::Port.at(start);
    let digits = text.strip_prefix(':').ok_or(wrong)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let leading = digits.len() > 1 && digits.starts_with('0');
    if !plain || leading {
        return Err(wrong);
    }
    digits.parse().map_err(|_| wrong)
}

/// `key=value&key=value`.
fn pairs(query: &str, start: usize) -> Result<Vec<(String, String)>, UrlError> {
    let mut pairs = Vec::new();
    let mut at = start;
    if query.is_empty() {
        return Ok(pairs);
    }
    for pair in query.split('&') {
        let equals = pair.find('=').ok_or(UrlErrorKind::NoValue.at(at))?;
        let key = unescape(&pair[..equals], at, |_| false)?;
        if key.is_empty() {
            return Err(UrlErrorKind::NoKey.at(at));
        }
        pairs.push((
            key,
            unescape(&pair[equals + 1..], at + equals + 1, |_| false)?,
        ));
        at += pair.len() + 1;
    }
    Ok(pairs)
}

impl fmt::Display for Url {
    /// The URL again, escaped where it has to be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        match &self.place {
            Place::Host { name, port } => {
                match name.parse::<Ipv6Addr>() {
                    Ok(address) => write!(f, "//[{address}]")?,
                    Err(_) => write!(f, "//{}", Escaped::new(name, b"*"))?,
                }
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
            }
            // A path of two slashes would read as a host, and one at sign as an abstract name.
            Place::Path(path) => match path.strip_prefix('/') {
                Some(rest) if rest.starts_with('/') => {
                    write!(f, "/%2F{}", Escaped::new(&rest[1..], b"/"))?;
                }
                _ => write!(f, "{}", Escaped::new(path, b"/"))?,
            },
            Place::Abstract(name) => write!(f, "@{}", Escaped::new(name, b"/"))?,
        }
        for (index, (key, value)) in self.query.iter().enumerate() {
            let before = if index == 0 { '?' } else { '&' };
            write!(
                f,
                "{before}{}={}",
                Escaped::new(key, b""),
                Escaped::new(value, b"/:,")
            )?;
        }
        Ok(())
    }
}
