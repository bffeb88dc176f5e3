use std::path::{Path, PathBuf};

use bowline_backend::net::{UnixListenOptions, UnixListener};
use bowline_backend::stream::UnixAddress;

use super::bind::Bind;
use crate::error::{Error, Operation};

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
    at: At,
    options: UnixListenOptions,
}

#[derive(Clone, Debug)]
enum At {
    /// Not known to be an address: it may be too long.
    Path(PathBuf),
    Address(UnixAddress),
}

impl UnixPlace {
    fn at(at: At) -> UnixPlace {
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

impl From<PathBuf> for UnixPlace {
    fn from(path: PathBuf) -> UnixPlace {
        UnixPlace::at(At::Path(path))
    }
}

impl From<&Path> for UnixPlace {
    fn from(path: &Path) -> UnixPlace {
        UnixPlace::from(path.to_owned())
    }
}

impl From<&str> for UnixPlace {
    fn from(path: &str) -> UnixPlace {
        UnixPlace::from(PathBuf::from(path))
    }
}

impl From<String> for UnixPlace {
    fn from(path: String) -> UnixPlace {
        UnixPlace::from(PathBuf::from(path))
    }
}

impl From<UnixAddress> for UnixPlace {
    fn from(address: UnixAddress) -> UnixPlace {
        UnixPlace::at(At::Address(address))
    }
}

impl Bind for UnixPlace {
    type Listener = UnixListener;

    async fn bind(self) -> Result<UnixListener, Error> {
        let (address, place) = match self.at {
            At::Path(path) => {
                let place = path.display().to_string();
                (UnixAddress::from_path(path), place)
            }
            At::Address(address) => {
                let place = address.to_string();
                (Ok(address), place)
            }
        };
        let bound = address.and_then(|address| UnixListener::bind_with(&address, self.options));
        bound.map_err(|error| Error::from_io(Operation::Bind, error).with_place(place))
    }
}
