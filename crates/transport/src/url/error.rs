//! What is wrong with a URL.

use std::fmt;

use thiserror::Error;

/// Why a text is no [`Url`](super::Url), or a URL is of no use for what was asked of it.
///
/// It says where, and never repeats the text, which may hold a secret in the wrong place; the
/// [`place`](crate::Error::place) of an error of a transport has what may be shown of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub struct UrlError {
    kind: UrlErrorKind,
    offset: Option<usize>,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UrlErrorKind {
    /// It does not begin with a scheme and a colon.
    NoScheme,
    /// It has a character that has to be escaped, or that cannot be there.
    Character,
    /// It is longer than it may be.
    TooLong {
        /// The most bytes there may be.
        limit: usize,
    },
    /// It has user info, `name@` or `name:password@`.
    UserInfo,
    /// It has a path after the host.
    Path,
    /// It has a fragment.
    Fragment,
    /// What is in brackets is no IPv6 address.
    Host,
    /// It is no address of a host and a port, such as `host:80`.
    NoAddress,
    /// What follows the host is no port: a number up to 65535 without zeros in front.
    Port,
    /// It names no path.
    NoPath,
    /// A parameter has no key.
    NoKey,
    /// A parameter has no value, not even an empty one.
    NoValue,
    /// A percent sign that two digits in base sixteen do not follow.
    Escape,
    /// What is escaped is not UTF-8.
    Utf8,
    /// It names no host that could be reached.
    NoHost,
    /// It names a path or an abstract name where a host is due.
    NotAHost,
    /// It names no port that could be reached.
    NoPort,
    /// Its scheme carries packets, and a byte stream is due.
    OfPackets,
    /// Its scheme carries a byte stream, and packets are due.
    OfStreams,
}

impl UrlErrorKind {
    pub(super) fn at(self, offset: usize) -> UrlError {
        UrlError {
            kind: self,
            offset: Some(offset),
        }
    }

    pub(crate) fn anywhere(self) -> UrlError {
        UrlError {
            kind: self,
            offset: None,
        }
    }
}

impl UrlError {
    /// What is wrong.
    pub fn kind(&self) -> UrlErrorKind {
        self.kind
    }

    /// At which byte of the text; `None` where something is missing from the whole.
    pub fn offset(&self) -> Option<usize> {
        self.offset
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match self.offset {
            Some(offset) => write!(f, ", at byte {offset}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for UrlErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::NoScheme => "it does not begin with a scheme, such as `tcp:`",
            Self::Character => "a character that cannot be here unescaped",
            Self::TooLong { limit } => {
                return write!(f, "it is longer than {limit} bytes");
            }
            Self::UserInfo => "user info is not accepted",
            Self::Path => "a path after the host is not accepted",
            Self::Fragment => "a fragment is not accepted",
            Self::Host => "no IPv6 address in brackets",
            Self::NoAddress => "no address: `host:port` is due",
            Self::Port => "no port: a number from 0 to 65535 after a colon",
            Self::NoPath => "it names no path",
            Self::NoKey => "a parameter without a key",
            Self::NoValue => "a parameter without a value: `key=value` is due",
            Self::Escape => "a percent sign without two digits in base sixteen",
            Self::Utf8 => "what is escaped is not UTF-8",
            Self::NoHost => "it names no host that could be reached",
            Self::NotAHost => "it names a path, not a host; is the scheme missing, as in `tcp://`?",
            Self::NoPort => "it names no port that could be reached",
            Self::OfPackets => {
                "its scheme carries packets, not a stream: that is what `Client::datagrams` and \
                 `Server::url_datagrams` are for"
            }
            Self::OfStreams => {
                "its scheme carries a stream, not packets: that is what `Client::new` and \
                 `Server::url` are for"
            }
        };
        f.write_str(what)
    }
}
