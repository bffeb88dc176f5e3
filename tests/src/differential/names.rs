//! Where the places of a script are, and what outcomes call them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bowline_backend::stream::{Address, UnixAddress};

use super::script::Place;
use crate::files::Files;

/// Places of each kind that a name is looked for among.
const PLACES: u8 = 8;

/// Where the places of a run are, and what holds for it.
#[derive(Clone, Debug)]
pub(super) struct Grounds {
    pub(super) own: Ipv4Addr,
    /// Of paths.
    pub(super) dir: PathBuf,
    /// Before abstract names.
    pub(super) prefix: String,
    /// Until what should end is given up.
    pub(super) most: Duration,
}

/// What places are called.
#[derive(Clone)]
pub(super) struct Names {
    grounds: Grounds,
    pub(super) files: Files,
    /// Where a place of TCP or UDP turned out to be.
    pub(super) ports: BTreeMap<Place, SocketAddr>,
}

impl Names {
    pub(super) fn new(grounds: &Grounds, files: Files) -> Names {
        Names {
            grounds: grounds.clone(),
            files,
            ports: BTreeMap::new(),
        }
    }

    pub(super) fn inet(&self, place: Place) -> SocketAddr {
        match self.ports.get(&place) {
            Some(known) => *known,
            // Nobody ever was there.
            None => SocketAddr::new(IpAddr::V4(self.grounds.own), 1),
        }
    }

    /// The address to bind to: where the place was before, else at any port.
    pub(super) fn fresh(&self, place: Place) -> SocketAddr {
        let any = SocketAddr::new(IpAddr::V4(self.grounds.own), 0);
        self.ports.get(&place).copied().unwrap_or(any)
    }

    pub(super) fn path(&self, number: u8) -> PathBuf {
        self.grounds.dir.join(format!("place-{number}"))
    }

    pub(super) fn unix(&self, place: Place) -> UnixAddress {
        let address = match place {
            Place::Name(number) => {
                UnixAddress::from_abstract(format!("{}-{number}", self.grounds.prefix))
            }
            Place::Path(number) => UnixAddress::from_path(self.path(number)),
            Place::Tcp(_) | Place::Udp(_) => unreachable!("{place:?} is no place of Unix"),
        };
        address.expect("it is short")
    }

    pub(super) fn address(&self, place: Place) -> Address {
        match place {
            Place::Tcp(_) | Place::Udp(_) => self.inet(place).into(),
            Place::Path(_) | Place::Name(_) => self.unix(place).into(),
        }
    }

    /// The same port at another address of the loopback, which no script calls its own.
    pub(super) fn elsewhere(&self, at: SocketAddr) -> SocketAddr {
        let [_, a, b, c] = self.grounds.own.octets();
        SocketAddr::new(Ipv4Addr::new(127, a ^ 0x80, b, c).into(), at.port())
    }

    /// The words of outcomes for an address.
    pub(super) fn tell(&self, address: &Address) -> String {
        match address {
            Address::Inet(at) => {
                let known = self.ports.iter().find(|(_, known)| *known == at);
                let host = match at.ip() == IpAddr::V4(self.grounds.own) {
                    true => "here".to_owned(),
                    false => at.ip().to_string(),
                };
                match (known, at.port()) {
                    (Some((place, _)), _) => format!("{place:?}"),
                    (None, 0) => format!("{host}, port 0"),
                    (None, _) => host,
                }
            }
            other => {
                let places = (0..PLACES).flat_map(|n| [Place::Path(n), Place::Name(n)]);
                let mut known = places.filter(|place| self.address(*place) == *other);
                known
                    .next()
                    .map_or(other.to_string(), |place| format!("{place:?}"))
            }
        }
    }
}
