//! Where the places of a script are, and what outcomes call them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Somebody else had a port that the run asked for, so what it showed says nothing.
    pub(super) shared: Arc<AtomicBool>,
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

    /// Looks whether a connection of somebody else has the port of `at`, which was in use. A kernel
    /// gives the port of a connection away again, also in the minute after its end, where the other
    /// end is another one; and all tests of this system are at one address.
    pub(super) fn look_for_others(&self, at: SocketAddr) {
        // The other ones are the run's alone.
        if at.ip() != Ipv4Addr::LOCALHOST {
            return;
        }
        let Ok(sockets) = std::fs::read_to_string("/proc/net/tcp") else {
            return;
        };
        let others = sockets.lines().skip(1).any(|line| {
            let mut ends = line.split_whitespace().skip(1).map(address_of);
            let (local, remote) = (ends.next().flatten(), ends.next().flatten());
            local == Some(at) && remote.is_some_and(|remote| remote.ip() != self.grounds.own)
        });
        if others {
            self.grounds.shared.store(true, Ordering::Relaxed);
        }
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

/// An address as the kernel's table of sockets has it: `0100007F:1F90`.
fn address_of(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let host = u32::from_str_radix(host, 16).ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddr::new(
        Ipv4Addr::from(host.to_ne_bytes()).into(),
        port,
    ))
}
