use std::io;
use std::path::PathBuf;

use bowline_backend::net::{Stale, UnixListenOptions, UnixListener};
use bowline_backend::stream::UnixAddress;

use super::bind::Bind;
use crate::error::{Error, ErrorKind, Operation};
use crate::params::{KeySpec, ParamType, Params};
use crate::scheme::wrong;
use crate::url::{Place, Url, UrlErrorKind};

/// A path in the file system, or another address of a Unix socket, to listen at; from a path or a
/// [`UnixAddress`].
///
/// Unless [`options`](UnixPlace::options) say otherwise nothing may be at the path, and what the
/// server puts there goes with it, if it is still its own.
///
/// # Examples
///
/// A server that takes the place of one that was killed, for users of its group:
///
/// ```
/// use bowline_backend::net::{Stale, UnixListenOptions};
/// use bowline_transport::{Server, UnixPlace};
///
/// let options = UnixListenOptions::new()
///     .stale(Stale::ReplaceIfRefused)
///     .mode(0o660)
///     .unlink_at_close();
/// let server = Server::unix(UnixPlace::from("/run/app.sock").options(options));
/// ```
#[derive(Clone, Debug)]
pub struct UnixPlace {
    at: UnixAt,
    options: UnixListenOptions,
}

/// Where a Unix socket is to be.
#[derive(Clone, Debug)]
pub(crate) enum UnixAt {
    /// Not known to be an address: it may be too long.
    Path(PathBuf),
    Address(UnixAddress),
}

impl UnixAt {
    /// Binds there by `bind`.
    pub(crate) fn bound<T>(
        self,
        bind: impl FnOnce(&UnixAddress) -> io::Result<T>,
    ) -> Result<T, Error> {
        let (address, place) = match self {
            UnixAt::Path(path) => {
                let place = path.display().to_string();
                (UnixAddress::from_path(path), place)
            }
            UnixAt::Address(address) => {
                let place = address.to_string();
                (Ok(address), place)
            }
        };
        let bound = address.and_then(|address| bind(&address));
        bound.map_err(|error| Error::from_io(Operation::Bind, error).with_place(place))
    }

    /// Where a URL says; it names no host.
    pub(crate) fn of_url(url: &Url) -> Result<UnixAt, Error> {
        match url.place() {
            Place::Path(path) => Ok(UnixAt::Path(path.into())),
            Place::Abstract(name) => {
                let address = UnixAddress::from_abstract(&name[..]);
                let address = address.map_err(|error| {
                    Error::new(Operation::Bind, ErrorKind::Config).with_source(error)
                })?;
                Ok(UnixAt::Address(address))
            }
            Place::Host { .. } => Err(UrlErrorKind::NoPath.anywhere().into()),
        }
    }
}

/// What a URL can say of the path that a server makes.
const PATH_KEYS: &[KeySpec] = &[
    KeySpec::new("stale", ParamType::Text),
    KeySpec::new("mode", ParamType::Mode),
];

/// What a URL says of the path.
pub(crate) struct PathOptions {
    pub(crate) stale: Stale,
    pub(crate) mode: Option<u32>,
}

impl PathOptions {
    /// Of a URL that leads there; where that is no path it has none.
    pub(crate) fn of_url(url: &Url, at: &UnixAt) -> Result<PathOptions, Error> {
        let params = Params::of_pairs(PATH_KEYS, url.query())?;
        if let (UnixAt::Address(_), Some(key)) = (at, params.names().next()) {
            return Err(wrong(format!(
                "the key `{key}` is for a path: an abstract name goes with its server, and anybody may \
                 connect to it"
            )));
        }
        let stale = match params.text("stale") {
            None | Some("refuse") => Stale::Refuse,
            Some("replace") => Stale::ReplaceIfRefused,
            Some(_) => return Err(wrong("`stale` has to be `refuse` or `replace`".to_owned())),
        };
        Ok(PathOptions {
            stale,
            mode: params.mode("mode"),
        })
    }
}

impl UnixPlace {
    /// Where a URL says, with what it says of the path.
    pub(super) fn of_url(url: &Url) -> Result<UnixPlace, Error> {
        let place = UnixPlace::at(UnixAt::of_url(url)?);
        let said = PathOptions::of_url(url, &place.at)?;
        let options = place.options.clone().stale(said.stale);
        Ok(place.options(match said.mode {
            Some(mode) => options.mode(mode),
            None => options,
        }))
    }

    pub(crate) fn at(at: UnixAt) -> UnixPlace {
        UnixPlace {
            at,
            options: UnixListenOptions::new().unlink_at_close(),
        }
    }

    /// Other options than the default, `UnixListenOptions::new().unlink_at_close()`.
    #[must_use = "this returns the changed place"]
    pub fn options(mut self, options: UnixListenOptions) -> UnixPlace {
        self.options = options;
        self
    }
}

/// Makes a place of a path or an address.
macro_rules! from_unix {
    ($place:ident) => {
        impl From<std::path::PathBuf> for $place {
            fn from(path: std::path::PathBuf) -> $place {
                $place::at($crate::server::UnixAt::Path(path))
            }
        }

        impl From<&std::path::Path> for $place {
            fn from(path: &std::path::Path) -> $place {
                path.to_owned().into()
            }
        }

        impl From<&std::path::PathBuf> for $place {
            fn from(path: &std::path::PathBuf) -> $place {
                path.clone().into()
            }
        }

        impl From<&str> for $place {
            fn from(path: &str) -> $place {
                std::path::PathBuf::from(path).into()
            }
        }

        impl From<String> for $place {
            fn from(path: String) -> $place {
                std::path::PathBuf::from(path).into()
            }
        }

        impl From<bowline_backend::stream::UnixAddress> for $place {
            fn from(address: bowline_backend::stream::UnixAddress) -> $place {
                $place::at($crate::server::UnixAt::Address(address))
            }
        }
    };
}

pub(crate) use from_unix;

from_unix!(UnixPlace);

impl Bind for UnixPlace {
    type Listener = UnixListener;

    async fn bind(self) -> Result<UnixListener, Error> {
        let options = self.options;
        self.at
            .bound(|address| UnixListener::bind_with(address, options))
    }
}
