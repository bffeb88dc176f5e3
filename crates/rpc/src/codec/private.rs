use std::error::Error as StdError;
use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;

use super::{Codec, FormatError};
use crate::{Error, ErrorKind};

/// A payload format of your own, for brokers that both have it.
///
/// It is made of MessagePack with fields by name, and made into that again: a format that describes itself
/// can be transcoded from it, and bytes can be compressed or encrypted.
///
/// # Examples
/// ```
/// use bowline_backend::Backend;
/// use bowline_rpc::{
///     Caller, Codec, Error, PayloadCodec, PayloadError, Registry, TcpBroker, executor::AsyncExecutor,
/// };
///
/// struct Reversed;
///
/// impl PayloadCodec for Reversed {
///     fn id(&self) -> u8 {
///         200
///     }
///     fn name(&self) -> &str {
///         "reversed"
///     }
///     fn encode(&self, plain: &[u8]) -> Result<Vec<u8>, PayloadError> {
///         Ok(plain.iter().rev().copied().collect())
///     }
///     fn decode(&self, body: &[u8], _: usize) -> Result<Vec<u8>, PayloadError> {
///         self.encode(body)
///     }
/// }
///
/// let reversed = Codec::private(&Reversed)?;
/// let registry = Registry::new("example");
/// registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b })?;
/// let server = TcpBroker::builder(AsyncExecutor::new(registry, 4))
///     .codecs([reversed, Codec::MessagePack])
///     .listen("127.0.0.1:0");
/// let sum = Backend::Tokio.block_on(server.run(async |server| -> Result<i64, Error> {
///     let client = TcpBroker::caller().project("example").codecs([reversed]);
///     let client = client.connect(server.local_addrs()[0]);
///     client.run(async |c| Ok(c.call_named::<i64>("add", (2, 3)).codec(reversed).await?)).await
/// }))?;
/// assert_eq!(sum, 5);
/// # Ok::<(), Error>(())
/// ```
pub trait PayloadCodec: Send + Sync + 'static {
    /// Its number on the wire, 128 to 255; always the same.
    fn id(&self) -> u8;

    /// What it is called, in errors.
    fn name(&self) -> &str;

    /// Makes a body of a value in MessagePack.
    ///
    /// # Errors
    /// It cannot; the call fails before it is sent, or as internal where it is a reply.
    fn encode(&self, plain: &[u8]) -> Result<Vec<u8>, PayloadError>;

    /// Makes MessagePack of a body, of `most` bytes at most: a peer decides what the body says, so it must not
    /// make more of it, and need not, as more is refused.
    ///
    /// # Errors
    /// The body is none of this codec, or makes more.
    fn decode(&self, body: &[u8], most: usize) -> Result<Vec<u8>, PayloadError>;

    /// The most bytes that a body may make; 4 MiB unless told otherwise.
    fn max_plain(&self) -> usize {
        4 * 1024 * 1024
    }
}

/// The lowest number of a codec of one's own.
pub(crate) const FIRST_PRIVATE: u8 = 128;

/// Why a [`PayloadCodec`] could not make what it was to. What it says, a peer may be told.
pub type PayloadError = Box<dyn StdError + Send + Sync>;

/// A [`PayloadCodec`] by its number; from [`Codec::private`].
#[derive(Clone, Copy)]
pub struct PrivateCodec {
    pub(super) id: u8,
    codec: &'static dyn PayloadCodec,
}

impl PrivateCodec {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.codec.name()
    }

    pub(super) fn wrap(self, plain: &[u8]) -> Result<Bytes, FormatError> {
        let body = self.codec.encode(plain);
        body.map(Bytes::from).map_err(|error| self.failed(&error))
    }

    pub(super) fn unwrap(self, body: &[u8]) -> Result<Vec<u8>, FormatError> {
        let most = self.codec.max_plain();
        let plain = self
            .codec
            .decode(body, most)
            .map_err(|error| self.failed(&error))?;
        if plain.len() > most {
            let error = format!("{} bytes of a body that may make {most}", plain.len());
            return Err(self.failed(&error));
        }
        Ok(plain)
    }

    fn failed(self, error: &dyn fmt::Display) -> FormatError {
        FormatError::new(format_args!("{}: {error}", self.name()))
    }
}

impl Codec {
    /// A format of your own. A program has one of each number.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput): its number is below 128.
    pub fn private(codec: &'static dyn PayloadCodec) -> Result<Codec, Error> {
        let id = codec.id();
        if id < FIRST_PRIVATE {
            let message = format!(
                "the codec {} has number {id}; those of your own begin at 128",
                codec.name()
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(Codec::Private(PrivateCodec { id, codec }))
    }
}

impl PartialEq for PrivateCodec {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.name() == other.name()
    }
}

impl Eq for PrivateCodec {}

impl Hash for PrivateCodec {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl fmt::Debug for PrivateCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.id)
    }
}
