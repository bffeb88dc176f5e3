//! Converters: the program's own message type to the value on the wire, and back.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Limits, MessageCodec};

/// Turns messages into what is sent of them, and back.
///
/// Put behind a message codec by [`MessageCodec::map`] or [`Framed::map`](crate::Framed::map).
/// [`Via`] goes by `TryFrom`, [`ConvertFn`] by a pair of closures.
///
/// # Examples
///
/// ```
/// use bowline_codec::{Convert, ConvertError, MessageCodec, Text};
/// use bytes::Bytes;
///
/// struct Numbers;
///
/// impl Convert for Numbers {
///     type Message = u32;
///     type Dto = String;
///
///     fn to_dto(&self, message: &u32) -> Result<String, ConvertError> {
///         Ok(message.to_string())
///     }
///
///     fn to_message(&self, dto: String) -> Result<u32, ConvertError> {
///         dto.parse().map_err(|_| ConvertError::new("not a number"))
///     }
/// }
///
/// let codec = Text::new().map(Numbers);
/// assert_eq!(codec.decode(&Bytes::from_static(b"12"))?, 12);
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
pub trait Convert: Send + Sync {
    /// What the program sends and receives.
    type Message;
    /// What is on the wire.
    type Dto;

    /// What is sent of `message`.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] if there is no such thing.
    fn to_dto(&self, message: &Self::Message) -> Result<Self::Dto, ConvertError>;

    /// The message that `dto` stands for.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] if it stands for none.
    fn to_message(&self, dto: Self::Dto) -> Result<Self::Message, ConvertError>;
}

/// Why a converter refused.
#[derive(Clone)]
pub struct ConvertError {
    message: Cow<'static, str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl ConvertError {
    /// An error with a sentence on what is wrong. It must not quote the payload.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// The same, caused by `source`, which must not quote the payload.
    #[must_use = "this returns the changed error"]
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConvertError")
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl Error for ConvertError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source as &(dyn Error + 'static))
    }
}

/// A converter by `TryFrom`, or `From`, both ways.
///
/// # Examples
///
/// ```
/// use bowline_codec::{Convert, Via};
///
/// struct Celsius(f64);
/// struct Wire(f64);
///
/// impl From<&Celsius> for Wire {
///     fn from(degrees: &Celsius) -> Self {
///         Wire(degrees.0)
///     }
/// }
///
/// impl TryFrom<Wire> for Celsius {
///     type Error = std::fmt::Error;
///
///     fn try_from(wire: Wire) -> Result<Self, Self::Error> {
///         if wire.0 >= -273.15 { Ok(Celsius(wire.0)) } else { Err(std::fmt::Error) }
///     }
/// }
///
/// let converter = Via::<Celsius, Wire>::new();
/// assert!(converter.to_message(Wire(20.0)).is_ok());
/// assert!(converter.to_message(Wire(-300.0)).is_err());
/// ```
pub struct Via<M, D> {
    marker: PhantomData<fn() -> (M, D)>,
}

impl<M, D> Via<M, D> {
    /// The converter.
    pub const fn new() -> Self {
        Self {
            marker: PhantomData,
        }
    }
}

impl<M, D, T, F> Convert for Via<M, D>
where
    D: for<'m> TryFrom<&'m M, Error = T>,
    M: TryFrom<D, Error = F>,
    T: Error + Send + Sync + 'static,
    F: Error + Send + Sync + 'static,
{
    type Message = M;
    type Dto = D;

    fn to_dto(&self, message: &M) -> Result<D, ConvertError> {
        D::try_from(message).map_err(|error| refused().with_source(error))
    }

    fn to_message(&self, dto: D) -> Result<M, ConvertError> {
        M::try_from(dto).map_err(|error| refused().with_source(error))
    }
}

fn refused() -> ConvertError {
    ConvertError::new("the value has no counterpart")
}

impl<M, D> Default for Via<M, D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M, D> Clone for Via<M, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M, D> Copy for Via<M, D> {}

impl<M, D> fmt::Debug for Via<M, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Via").finish()
    }
}

/// A converter made of two closures.
///
/// # Examples
///
/// ```
/// use bowline_codec::{ConvertFn, MessageCodec, Text};
/// use bytes::Bytes;
///
/// let shout = ConvertFn::new(
///     |message: &String| Ok(message.to_uppercase()),
///     |dto: String| Ok(dto.to_lowercase()),
/// );
/// assert_eq!(Text::new().map(shout).decode(&Bytes::from_static(b"HI"))?, "hi");
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
pub struct ConvertFn<M, D, T, F> {
    to_dto: T,
    to_message: F,
    marker: PhantomData<fn() -> (M, D)>,
}

impl<M, D, T, F> ConvertFn<M, D, T, F>
where
    T: Fn(&M) -> Result<D, ConvertError> + Send + Sync,
    F: Fn(D) -> Result<M, ConvertError> + Send + Sync,
{
    /// The converter of these two.
    pub fn new(to_dto: T, to_message: F) -> Self {
        Self {
            to_dto,
            to_message,
            marker: PhantomData,
        }
    }
}

impl<M, D, T, F> Convert for ConvertFn<M, D, T, F>
where
    T: Fn(&M) -> Result<D, ConvertError> + Send + Sync,
    F: Fn(D) -> Result<M, ConvertError> + Send + Sync,
{
    type Message = M;
    type Dto = D;

    fn to_dto(&self, message: &M) -> Result<D, ConvertError> {
        (self.to_dto)(message)
    }

    fn to_message(&self, dto: D) -> Result<M, ConvertError> {
        (self.to_message)(dto)
    }
}

impl<M, D, T, F> fmt::Debug for ConvertFn<M, D, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConvertFn").finish_non_exhaustive()
    }
}

/// One converter for what is sent and another for what is received.
#[derive(Clone, Copy, Debug)]
pub struct StapledConverter<S, R> {
    sent: S,
    received: R,
}

impl<S, R> StapledConverter<S, R> {
    /// Sends by `sent` and receives by `received`.
    pub fn new(sent: S, received: R) -> Self {
        Self { sent, received }
    }
}

/// Any converter, stapled or not: what [`MessageCodec::map`] takes.
pub trait Conversion: Send + Sync {
    /// What the program sends.
    type Sent;
    /// What is sent of it.
    type SentDto;
    /// What the program receives.
    type Received;
    /// What that is made of.
    type ReceivedDto;

    /// What is sent of `message`.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] if there is no such thing.
    fn outbound(&self, message: &Self::Sent) -> Result<Self::SentDto, ConvertError>;

    /// The message that `dto` stands for.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] if it stands for none.
    fn inbound(&self, dto: Self::ReceivedDto) -> Result<Self::Received, ConvertError>;
}

impl<C: Convert> Conversion for C {
    type Sent = C::Message;
    type SentDto = C::Dto;
    type Received = C::Message;
    type ReceivedDto = C::Dto;

    fn outbound(&self, message: &C::Message) -> Result<C::Dto, ConvertError> {
        self.to_dto(message)
    }

    fn inbound(&self, dto: C::Dto) -> Result<C::Message, ConvertError> {
        self.to_message(dto)
    }
}

impl<S: Convert, R: Convert> Conversion for StapledConverter<S, R> {
    type Sent = S::Message;
    type SentDto = S::Dto;
    type Received = R::Message;
    type ReceivedDto = R::Dto;

    fn outbound(&self, message: &S::Message) -> Result<S::Dto, ConvertError> {
        self.sent.to_dto(message)
    }

    fn inbound(&self, dto: R::Dto) -> Result<R::Message, ConvertError> {
        self.received.to_message(dto)
    }
}

/// A message codec and a converter behind it; made by [`MessageCodec::map`].
#[derive(Clone, Copy, Debug)]
pub struct Converted<M, C> {
    codec: M,
    converter: C,
}

impl<M, C> Converted<M, C> {
    pub(crate) fn new(codec: M, converter: C) -> Self {
        Self { codec, converter }
    }
}

impl<M, C> Converted<M, C>
where
    M: MessageCodec,
    C: Conversion<SentDto = M::Sent, ReceivedDto = M::Received>,
{
    fn outbound(&self, message: &C::Sent) -> Result<M::Sent, EncodeError> {
        let refused = |error| EncodeError::new(EncodeErrorKind::Convert).with_source(error);
        self.converter.outbound(message).map_err(refused)
    }

    fn inbound(&self, dto: M::Received) -> Result<C::Received, DecodeError> {
        let refused = |error| DecodeError::new(DecodeErrorKind::Convert).with_source(error);
        self.converter.inbound(dto).map_err(refused)
    }
}

impl<M, C> MessageCodec for Converted<M, C>
where
    M: MessageCodec,
    C: Conversion<SentDto = M::Sent, ReceivedDto = M::Received>,
{
    type Sent = C::Sent;
    type Received = C::Received;

    fn encode(&self, message: &C::Sent, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.codec.encode(&self.outbound(message)?, out)
    }

    /// Not [`encoded`](MessageCodec::encoded): where that is `None`, a message is converted twice.
    fn encode_start(&self, message: &C::Sent, out: &mut BytesMut) -> Result<Bytes, EncodeError> {
        let dto = self.outbound(message)?;
        match self.codec.encoded(&dto) {
            Some(payload) => Ok(payload),
            None => self.codec.encode_start(&dto, out),
        }
    }

    fn decode(&self, frame: &Bytes) -> Result<C::Received, DecodeError> {
        self.inbound(self.codec.decode(frame)?)
    }

    fn decode_owned(&self, frame: Bytes) -> Result<C::Received, DecodeError> {
        self.inbound(self.codec.decode_owned(frame)?)
    }

    fn limits(&self) -> Limits {
        self.codec.limits()
    }

    fn keeps_frame(&self) -> bool {
        self.codec.keeps_frame()
    }
}
