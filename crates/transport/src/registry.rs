//! Transports by name and by URL.

mod builtin;
mod datagrams;

use std::fmt;
use std::sync::Arc;

use bowline_codec::{Codec, MessageCodec, Unframe};

use self::builtin::Builtin;
use self::datagrams::{OfMessages, Unframed};
use crate::dyn_transport::DynTransport;
use crate::error::{Error, ErrorKind};
use crate::memory::MemoryNetwork;
use crate::params::{KeySpec, Params};
use crate::scheme::{Scheme, params_of, unknown_name, wrong};
use crate::url::{Url, shown};

/// Makes transports of one kind, as its parameters say.
pub trait TransportFactory<S, R>: Send + Sync {
    /// A transport, which need not be connected: it may be when it is first used.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) where the parameters make no sense.
    fn create(&self, params: &Params) -> Result<DynTransport<S, R>, Error>;

    /// The parameters there are. Those called `host` and `port`, `name`, `path` and `abstract` are set
    /// by the place of a URL, the others by its query. With the key `host` there has to be a host, and
    /// with `port` a port, or there may be none: what has `name` takes a name alone.
    fn keys(&self) -> &'static [KeySpec];
}

/// A table of transports that send `S` and receive `R`.
///
/// | scheme | place | keys |
/// |---|---|---|
/// | `tcp` | `//host:port` | `connect_timeout`, `nodelay`, `max_frame`, `reconnect` |
/// | `unix` | a path, or `@name` | `connect_timeout`, `max_frame`, `reconnect` |
/// | `tls` | `//host:port` | those of `tcp`, `sni`, `alpn`, `ca` (a file), `close=lenient` |
/// | `udp` | `//host:port` | `connect_timeout`, `max_frame` |
/// | `unixgram` | a path, or `@name` | `connect_timeout`, `max_frame` |
/// | `mem` | `//name` | `connect_timeout`, `max_frame`, `reconnect` |
///
/// What it makes connects when it is first used, within 10 s unless `connect_timeout` says otherwise,
/// which over `tls` bounds the handshake and reading too; then it reads the file of `ca`, of 1 MiB at most, and
/// tells what is wrong with it. After a certificate that was not accepted the next attempt reads it again; if that
/// fails, those stay trusted who were. Without `ca` Mozilla's authorities are trusted, with the feature
/// `webpki-roots`, or, with `native-roots` alone, the system's, which are read then as well, once. With
/// `reconnect=yes` it connects again when the connection breaks, as a [`Client`](crate::Client) that
/// reconnects does. `max_frame` counts the bytes of a frame on the wire,
/// up to 4 GiB, or of a packet, up to 1 MiB, for which there is always room; `connect_timeout` is from
/// 1 ms to a day.
///
/// An operation that is given up before there is a connection, as by a
/// [`timeout`](bowline_concurrency::timeout), takes the attempt with it, unless the other half waits too:
/// the next one begins anew, with all of its time. What only tries, as
/// [`try_send`](crate::TransportSend::try_send), makes no connection.
///
/// `udp` and `unixgram` carry each message in a packet, as a
/// [`DatagramTransport`](crate::DatagramTransport) does: there is no connection, so nothing says
/// whether anybody is there but an error of a later operation, and there is none to make again. Of the
/// addresses of a host `udp` takes the first that a socket can be connected to, which says no more than
/// that there is a way: where a host may be at one of several, name the one by its address.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_codec::Lines;
/// use bowline_transport::{Listener, MessageStream, Transport, TransportRegistry};
///
/// # Backend::Smol.block_on(async {
/// let registry = TransportRegistry::with_builtin(|| Lines::lf().text());
/// let mut listener = registry.memory().listen("parrot")?;
///
/// let mut transport = registry.open("mem://parrot?max_frame=1KiB")?;
/// transport.send(&"hello".to_owned()).await?;
///
/// let (stream, _) = listener.accept().await.unwrap();
/// let mut peer = MessageStream::new(stream, Lines::lf().text());
/// assert_eq!(peer.recv().await?.as_deref(), Some("hello"));
///
/// let error = registry.open("tpc://localhost:80").unwrap_err();
/// let why = std::error::Error::source(&error).unwrap().to_string();
/// assert!(why.starts_with("there is no transport `tpc`; there are tcp, "), "{why}");
/// # Ok::<(), bowline_transport::Error>(())
/// # }).unwrap();
/// # }
/// ```
pub struct TransportRegistry<S, R> {
    entries: Vec<(String, Arc<dyn TransportFactory<S, R>>)>,
    memory: MemoryNetwork,
}

impl<S, R> TransportRegistry<S, R> {
    /// An empty table.
    pub fn new() -> Self {
        TransportRegistry {
            entries: Vec::new(),
            memory: MemoryNetwork::new(),
        }
    }

    /// A table of what is built in, which speaks what `codec` makes, a codec for each connection. In
    /// packets its messages go without their frames; one is no longer than a frame may be.
    pub fn with_builtin<C>(codec: impl Fn() -> C + Send + Sync + 'static) -> Self
    where
        C: Unframe<Sent = S, Item = R> + 'static,
        S: Send + Sync + 'static,
        R: Send + 'static,
    {
        let codec = Arc::new(codec);
        let streams = codec.clone();
        let mut registry = TransportRegistry::with_streams(move || streams());
        let before_memory = registry.entries.len() - 1;
        let packets = datagrams::factories(&Arc::new(Unframed(codec)));
        let packets = packets.map(|(name, factory)| (name.to_owned(), factory));
        registry
            .entries
            .splice(before_memory..before_memory, packets);
        registry
    }

    /// As [`with_builtin`](TransportRegistry::with_builtin) without `udp` and `unixgram`: for a codec
    /// that finds the ends of its messages itself, and has none for a message alone.
    pub fn with_streams<C>(codec: impl Fn() -> C + Send + Sync + 'static) -> Self
    where
        C: Codec<Sent = S, Item = R> + 'static,
        S: Send + Sync + 'static,
        R: Send + 'static,
    {
        let mut registry = TransportRegistry::new();
        let codec = Arc::new(codec);
        for scheme in Scheme::ALL {
            let network = registry.memory.clone();
            let factory = Builtin::new(*scheme, codec.clone(), network);
            let entry = (scheme.name().to_owned(), Arc::new(factory) as Arc<_>);
            registry.entries.push(entry);
        }
        registry
    }

    /// Adds `udp` and, on Unix, `unixgram`, each message in a packet as `codec` makes it: to
    /// [`with_streams`](TransportRegistry::with_streams), or to a table that is empty.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) where a name is taken.
    pub fn with_datagrams<C>(
        mut self,
        codec: impl Fn() -> C + Send + Sync + 'static,
    ) -> Result<Self, Error>
    where
        C: MessageCodec<Sent = S, Received = R> + 'static,
        S: Send + Sync + 'static,
        R: Send + 'static,
    {
        for (name, factory) in datagrams::factories(&Arc::new(OfMessages(codec))) {
            self.add(name.to_owned(), factory)?;
        }
        Ok(self)
    }

    /// Where `mem` connects to.
    pub fn memory(&self) -> &MemoryNetwork {
        &self.memory
    }

    /// Adds a factory under a name that is free.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) where the name is taken, or can be no scheme: a letter,
    /// then letters, digits, `+`, `-` and `.`, in lower case.
    pub fn register(
        &mut self,
        name: impl Into<String>,
        factory: impl TransportFactory<S, R> + 'static,
    ) -> Result<(), Error> {
        self.add(checked(name.into())?, Arc::new(factory))
    }

    /// Puts a factory in the place of the one of that name, or adds it.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) where the name can be no scheme.
    pub fn replace(
        &mut self,
        name: impl Into<String>,
        factory: impl TransportFactory<S, R> + 'static,
    ) -> Result<(), Error> {
        let name = checked(name.into())?;
        let factory: Arc<dyn TransportFactory<S, R>> = Arc::new(factory);
        match self.entries.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = factory,
            None => self.entries.push((name, factory)),
        }
        Ok(())
    }

    /// The names, in the order in which they were registered.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| &name[..])
    }

    /// The parameters of `name`, none of them set: to be set, or layered over the environment, and
    /// given to [`create`](TransportRegistry::create).
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) where there is no such name; it lists those there are.
    pub fn params(&self, name: &str) -> Result<Params, Error> {
        Ok(Params::new(self.known(name)?.keys()))
    }

    /// Makes a transport.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) where there is no such name, where these are parameters
    /// of another one, and where they make no sense.
    pub fn create(&self, name: &str, params: &Params) -> Result<DynTransport<S, R>, Error> {
        let factory = self.known(name)?;
        if params.keys() != factory.keys() {
            return Err(wrong(format!("these are not the parameters of `{name}`")));
        }
        factory.create(params)
    }

    /// Makes the transport that a URL tells.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) where it is no URL, its scheme is not known, or a key is
    /// not known, repeated or unreadable; the [source](std::error::Error::source) says which, and
    /// what there is, and the [`place`](Error::place) what may be shown of the URL.
    pub fn open(&self, url: &str) -> Result<DynTransport<S, R>, Error> {
        let made = || {
            let url: Url = url.parse()?;
            let factory = self.known(url.scheme())?;
            factory.create(&params_of(&url, factory.keys())?)
        };
        made().map_err(|error| match error.kind() {
            ErrorKind::Config => error.with_place(shown(url)),
            _ => error,
        })
    }

    fn add(&mut self, name: String, factory: Arc<dyn TransportFactory<S, R>>) -> Result<(), Error> {
        if self.find(&name).is_some() {
            return Err(wrong(format!(
                "there is a transport `{name}` already; `replace` is for that"
            )));
        }
        self.entries.push((name, factory));
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&Arc<dyn TransportFactory<S, R>>> {
        let entry = self.entries.iter().find(|(known, _)| known == name)?;
        Some(&entry.1)
    }

    fn known(&self, name: &str) -> Result<&Arc<dyn TransportFactory<S, R>>, Error> {
        self.find(name).ok_or_else(|| {
            let names: Vec<&str> = self.names().collect();
            unknown_name(name, &names)
        })
    }
}

/// A name that a URL can have as its scheme.
fn checked(name: String) -> Result<String, Error> {
    let allowed =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    let letter = name.starts_with(|first: char| first.is_ascii_lowercase());
    match letter && name.chars().all(allowed) {
        true => Ok(name),
        false => Err(wrong(format!(
            "`{}` can be no scheme of a URL",
            name.escape_debug()
        ))),
    }
}

impl<S, R> Default for TransportRegistry<S, R> {
    fn default() -> Self {
        TransportRegistry::new()
    }
}

impl<S, R> fmt::Debug for TransportRegistry<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names().collect();
        f.debug_struct("TransportRegistry")
            .field("names", &names)
            .finish_non_exhaustive()
    }
}
