//! What parent and child tell each other of a call besides what its caller said: the first of its metadata.

use std::ffi::OsStr;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;

use bowline_backend::stream::{Address, UnixAddress};
use serde::{Deserialize, Serialize};

use crate::proto::Extensions;
use crate::{Codec, Context, Peer};

/// The key of what a parent is told.
const HASH: &str = "sys.worker.hash";

/// What a child is told of a call.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Which one of the child's it is.
    pub(super) number: u64,
    /// Which one of its caller's it is.
    pub(super) call: u64,
    caller: Option<Said>,
}

/// A [`Peer`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    instance: [u8; 16],
    principal: String,
    address: Option<Place>,
}

/// An [`Address`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    V4(SocketAddrV4),
    // The format of that of the standard library leaves the last two out.
    V6(Ipv6Addr, u16, u32, u32),
    Unnamed,
    Path(Vec<u8>),
    Abstract(Vec<u8>),
    Named(String),
}

impl Note {
    /// The key of what a child is told.
    pub(super) const KEY: &str = "sys.worker.call";

    /// Of a call with this context, as the child's call `number`.
    pub(super) fn new(number: u64, context: &Context) -> Self {
        let caller = context.caller().map(|peer| Said {
            instance: peer.instance(),
            principal: peer.principal().to_owned(),
            address: peer.address().and_then(Place::of),
        });
        Self {
            number,
            call: context.call_id(),
            caller,
        }
    }

    /// The one that a child got; questions of its parent have none.
    pub(super) fn read(metadata: Option<&[u8]>) -> Option<Self> {
        Codec::Postcard.decode(metadata?).ok()
    }

    /// The extensions of a call for its handler in the child, with this note.
    pub(super) fn put(&self, extensions: &Extensions) -> Extensions {
        let note = Codec::Postcard.encode(self).unwrap_or_default();
        extensions.passed_on(Self::KEY, &note)
    }

    /// Who calls.
    pub(super) fn caller(self) -> Option<Peer> {
        let Said {
            instance,
            principal,
            address,
        } = self.caller?;
        let address = address.and_then(Place::address);
        Some(Peer::new(address, instance, principal.into()))
    }
}

impl Place {
    fn of(address: &Address) -> Option<Self> {
        Some(match address {
            Address::Inet(SocketAddr::V4(address)) => Place::V4(*address),
            Address::Inet(SocketAddr::V6(address)) => Place::V6(
                *address.ip(),
                address.port(),
                address.flowinfo(),
                address.scope_id(),
            ),
            Address::Named(name) => Place::Named(name.to_string()),
            Address::Unix(address) => match (address.as_path(), address.as_abstract()) {
                (Some(path), _) => Place::Path(path.as_os_str().as_bytes().to_vec()),
                (None, Some(name)) => Place::Abstract(name.to_vec()),
                (None, None) => Place::Unnamed,
            },
            _ => return None,
        })
    }

    fn address(self) -> Option<Address> {
        Some(match self {
            Place::V4(address) => SocketAddr::V4(address).into(),
            Place::V6(ip, port, flow, scope) => {
                SocketAddr::V6(SocketAddrV6::new(ip, port, flow, scope)).into()
            }
            Place::Named(name) => Address::Named(name.into()),
            Place::Unnamed => UnixAddress::UNNAMED.into(),
            Place::Path(path) => UnixAddress::from_path(OsStr::from_bytes(&path))
                .ok()?
                .into(),
            Place::Abstract(name) => UnixAddress::from_abstract(name).ok()?.into(),
        })
    }
}

/// The extensions of a call that a handler in a child makes, with what `hash` its calls are balanced by.
pub(super) fn with_hash(extensions: &Extensions, hash: Option<u64>) -> Extensions {
    let hash = hash.map(u64::to_be_bytes);
    // Always there, so that nothing that a handler says is taken for it.
    extensions.with_first(HASH, hash.as_ref().map_or(&[], |hash| &hash[..]))
}

/// What [`with_hash`] was given.
pub(super) fn without_hash(extensions: &Extensions) -> (Extensions, Option<u64>) {
    let said = extensions.metadata(HASH);
    let hash = said.and_then(|said| said.try_into().ok());
    (extensions.without_first(HASH), hash.map(u64::from_be_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_kind_are_the_same_in_a_child() {
        let path = OsStr::from_bytes(b"/run/\xFF.sock");
        for address in [
            Address::Inet(([127, 0, 0, 1], 80).into()),
            Address::Inet("[fe80::1%3]:80".parse().unwrap()),
            Address::Named("shop".into()),
            UnixAddress::UNNAMED.into(),
            UnixAddress::from_path(path).unwrap().into(),
            UnixAddress::from_abstract([0, 255]).unwrap().into(),
        ] {
            let place = Place::of(&address).unwrap();
            let bytes = Codec::Postcard.encode(&place).unwrap();
            let told: Place = Codec::Postcard.decode(&bytes).unwrap();
            assert_eq!(told.address(), Some(address));
        }
    }
}
