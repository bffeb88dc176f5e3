//! What is known of a connection, asked for by type.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

#[cfg(unix)]
use bowline_backend::net::{Credentials, UnixDatagram, UnixStream};
use bowline_backend::net::{RawSocket, TcpStream, UdpSocket};
use bowline_backend::stream::{Address, ByteStream};

/// Something that may be known of a connection: a type that stands for a question, with the type
/// of its answer.
///
/// Those of this crate are [`LocalAddr`], [`PeerAddr`], [`LocalName`], [`PeerName`],
/// [`SocketFamily`], on Unix `PeerCredentials`, and with the feature `tls` `TlsInfo` and `TlsExporter`.
/// [`RawSocket`], of the backend, answers itself. A byte stream of one's own may have its own.
pub trait Attribute: 'static {
    /// The answer.
    type Value: Clone + Send + Sync + 'static;
}

/// Our address.
#[derive(Debug)]
pub enum LocalAddr {}

impl Attribute for LocalAddr {
    type Value = Address;
}

/// The address of who is at the other end, as it was when the connection was made.
#[derive(Debug)]
pub enum PeerAddr {}

impl Attribute for PeerAddr {
    type Value = Address;
}

/// What our end is called, where ends have names: the path of a Unix socket, its name outside the
/// file system after an `@`, or the name of an end in memory. Bytes of a path that are no UTF-8 are
/// replaced; [`LocalAddr`] has them all.
#[derive(Debug)]
pub enum LocalName {}

impl Attribute for LocalName {
    type Value = String;
}

/// What the other end is called, as [`LocalName`] says of ours.
#[derive(Debug)]
pub enum PeerName {}

impl Attribute for PeerName {
    type Value = String;
}

/// What kind of addresses the connection has.
#[derive(Debug)]
pub enum SocketFamily {}

impl Attribute for SocketFamily {
    type Value = AddressFamily;
}

/// The user, group and process at the other end of a Unix stream.
#[cfg(unix)]
#[derive(Debug)]
pub enum PeerCredentials {}

#[cfg(unix)]
impl Attribute for PeerCredentials {
    type Value = Credentials;
}

/// The options of the socket below, whatever is above it: to be read and changed as long as the
/// connection is open, which it is no longer for that. There is none in memory and in the simulator.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_backend::net::RawSocket;
/// use bowline_codec::Text;
/// use bowline_transport::{DatagramEndpoint, Extra};
///
/// # Backend::Smol.block_on(async {
/// let endpoint = DatagramEndpoint::udp("127.0.0.1:0".parse().unwrap(), Text::new())?;
/// let raw = endpoint.extra::<RawSocket>().unwrap();
/// raw.set_ttl(1).unwrap(); // no further than this network
///
/// drop(endpoint);
/// assert!(!raw.is_open());
/// # Ok::<(), bowline_transport::Error>(())
/// # }).unwrap();
/// # }
/// ```
impl Attribute for RawSocket {
    type Value = RawSocket;
}

/// A kind of addresses; the answer to [`SocketFamily`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Sockets of one system, by path or name.
    Unix,
    /// Names within a process.
    Memory,
}

impl AddressFamily {
    /// The family of `address`, where it is one of these.
    pub fn of(address: &Address) -> Option<AddressFamily> {
        match address {
            Address::Inet(address) if address.is_ipv4() => Some(AddressFamily::V4),
            Address::Inet(_) => Some(AddressFamily::V6),
            Address::Unix(_) => Some(AddressFamily::Unix),
            Address::Named(_) => Some(AddressFamily::Memory),
            _ => None,
        }
    }
}

/// Whatever can be asked for [attributes](Attribute): byte streams, datagram sockets, transports.
///
/// What wraps a stream passes on what it does not answer itself. A byte stream of one's own that
/// knows nothing but its addresses needs no more than `impl Extra for MyStream {}` to carry
/// messages: a [`MessageStream`](crate::MessageStream) asks those of the stream itself.
///
/// # Examples
///
/// ```
/// use bowline_transport::{AddressFamily, Extra, MemoryStream, PeerAddr, SocketFamily};
///
/// let (here, _there) = MemoryStream::pair();
/// assert_eq!(here.extra::<PeerAddr>().unwrap().to_string(), "memory:b");
/// assert_eq!(here.extra::<SocketFamily>(), Some(AddressFamily::Memory));
/// # #[cfg(unix)]
/// assert_eq!(here.extra::<bowline_transport::PeerCredentials>(), None);
/// ```
pub trait Extra {
    /// Gives what is asked for, where it is known here; called by
    /// [`extra`](Extra::extra). By default nothing is known.
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        let _ = request;
    }

    /// What is known of the connection, `None` where that has no meaning for it.
    fn extra<A: Attribute>(&self) -> Option<A::Value>
    where
        Self: Sized,
    {
        let mut answer: Option<A::Value> = None;
        self.provide(&mut AttributeRequest(Asked::One {
            attribute: TypeId::of::<A>(),
            answer: &mut answer,
        }));
        answer
    }
}

/// A question on its way through the layers of a connection; see [`Extra::provide`].
pub struct AttributeRequest<'a>(Asked<'a>);

enum Asked<'a> {
    One {
        attribute: TypeId,
        /// An `Option` of the attribute's value.
        answer: &'a mut dyn Any,
    },
    All(&'a mut Attributes),
}

/// The value of one attribute, in a function that knows its type.
#[derive(Clone)]
struct Known {
    attribute: TypeId,
    give: Arc<dyn Fn(&mut AttributeRequest<'_>) + Send + Sync>,
}

impl AttributeRequest<'_> {
    /// Answers with `value` if the question is for `A` and nobody further out has answered.
    /// `value` is called only then; it says `None` where the answer is not to be had.
    pub fn give<A: Attribute>(&mut self, value: impl FnOnce() -> Option<A::Value>) -> &mut Self {
        let mut value = Some(value);
        self.answer::<A>(&mut || value.take().and_then(|value| value()));
        self
    }

    /// By a reference, for what is kept answers by this again: of a closure's own type there would
    /// be no end.
    fn answer<A: Attribute>(&mut self, value: &mut dyn FnMut() -> Option<A::Value>) {
        match &mut self.0 {
            Asked::One { attribute, answer } => {
                if *attribute == TypeId::of::<A>()
                    && let Some(answer) = answer.downcast_mut::<Option<A::Value>>()
                    && answer.is_none()
                {
                    *answer = value();
                }
            }
            Asked::All(attributes) => attributes.keep::<A>(value),
        }
    }
}

impl fmt::Debug for AttributeRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttributeRequest(..)")
    }
}

/// All that was known of a connection when this was made: for what outlives the value that was
/// asked, such as the halves of a stream.
#[derive(Clone, Default)]
pub struct Attributes {
    local: Option<Address>,
    peer: Option<Address>,
    raw: Option<RawSocket>,
    /// The attributes that not every connection has; outer layers first.
    others: Vec<Known>,
}

impl Attributes {
    /// All that `of` knows now.
    pub fn of(of: &impl Extra) -> Attributes {
        let mut attributes = Attributes::default();
        of.provide(&mut AttributeRequest(Asked::All(&mut attributes)));
        attributes
    }

    /// As [`of`](Attributes::of), with the addresses that every byte stream has.
    pub fn of_stream(stream: &(impl ByteStream + Extra)) -> Attributes {
        let mut attributes = Attributes::of(stream);
        let mut request = AttributeRequest(Asked::All(&mut attributes));
        addresses(stream, &mut request);
        attributes
    }

    /// Our address.
    pub fn local_addr(&self) -> Option<&Address> {
        self.local.as_ref()
    }

    /// The address of who is at the other end.
    pub fn peer_addr(&self) -> Option<&Address> {
        self.peer.as_ref()
    }

    fn keep<A: Attribute>(&mut self, value: &mut dyn FnMut() -> Option<A::Value>) {
        let attribute = TypeId::of::<A>();
        let place: &mut dyn Any = match attribute {
            of if of == TypeId::of::<LocalAddr>() => &mut self.local,
            of if of == TypeId::of::<PeerAddr>() => &mut self.peer,
            of if of == TypeId::of::<RawSocket>() => &mut self.raw,
            // These follow from the addresses.
            of if of == TypeId::of::<SocketFamily>() => return,
            of if of == TypeId::of::<LocalName>() => return,
            of if of == TypeId::of::<PeerName>() => return,
            of if self.others.iter().any(|known| known.attribute == of) => return,
            attribute => {
                if let Some(value) = value() {
                    let give = Arc::new(move |request: &mut AttributeRequest<'_>| {
                        request.answer::<A>(&mut || Some(value.clone()));
                    });
                    self.others.push(Known { attribute, give });
                }
                return;
            }
        };
        if let Some(place) = place.downcast_mut::<Option<A::Value>>()
            && place.is_none()
        {
            *place = value();
        }
    }
}

impl Extra for Attributes {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        give_addresses(request, || self.local.clone(), || self.peer.clone());
        request.give::<RawSocket>(|| self.raw.clone());
        for known in &self.others {
            (known.give)(request);
        }
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attributes")
            .field("local", &self.local)
            .field("peer", &self.peer)
            .field("raw", &self.raw.is_some())
            .field("others", &self.others.len())
            .finish()
    }
}

/// Answers what every byte stream knows.
pub(crate) fn addresses(stream: &impl ByteStream, request: &mut AttributeRequest<'_>) {
    give_addresses(
        request,
        || stream.local_addr().ok(),
        || stream.peer_addr().ok(),
    );
}

/// Answers all that follows from the two addresses.
pub(crate) fn give_addresses(
    request: &mut AttributeRequest<'_>,
    local: impl Fn() -> Option<Address>,
    peer: impl Fn() -> Option<Address>,
) {
    request
        .give::<LocalAddr>(&local)
        .give::<PeerAddr>(&peer)
        .give::<LocalName>(|| local().as_ref().and_then(name))
        .give::<PeerName>(|| peer().as_ref().and_then(name))
        .give::<SocketFamily>(|| family(local().as_ref(), peer().as_ref()));
}

/// The name that is an address, where it is one.
fn name(address: &Address) -> Option<String> {
    match address {
        #[cfg(unix)]
        Address::Unix(address) => {
            let path = address.as_path().map(|path| path.to_string_lossy().into());
            let hidden = |name: &[u8]| format!("@{}", String::from_utf8_lossy(name));
            path.or_else(|| address.as_abstract().map(hidden))
        }
        Address::Named(name) => Some(name.to_string()),
        _ => None,
    }
}

/// A Unix socket may have no name of its own, and a peer may be gone: either address says it.
fn family(local: Option<&Address>, peer: Option<&Address>) -> Option<AddressFamily> {
    local.or(peer).and_then(AddressFamily::of)
}

impl Extra for TcpStream {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        addresses(self, request);
        request.give::<RawSocket>(|| self.raw_socket().ok());
    }
}

#[cfg(unix)]
impl Extra for UnixStream {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        addresses(self, request);
        request
            .give::<PeerCredentials>(|| self.peer_credentials().ok())
            .give::<RawSocket>(|| self.raw_socket().ok());
    }
}

impl Extra for UdpSocket {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        give_addresses(
            request,
            || self.local_addr().ok().map(Address::Inet),
            || self.peer_addr().ok().map(Address::Inet),
        );
        request.give::<RawSocket>(|| self.raw_socket().ok());
    }
}

#[cfg(unix)]
impl Extra for UnixDatagram {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        give_addresses(
            request.give::<SocketFamily>(|| Some(AddressFamily::Unix)),
            || self.local_addr().ok(),
            || self.peer_addr().ok(),
        );
        request.give::<RawSocket>(|| self.raw_socket().ok());
    }
}

impl<X: Extra + ?Sized> Extra for &X {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        (**self).provide(request);
    }
}

impl<X: Extra + ?Sized> Extra for &mut X {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        (**self).provide(request);
    }
}
