//! Message codecs: one whole frame to one value and back.

use bytes::{Bytes, BytesMut};

use crate::{Conversion, Converted, DecodeError, EncodeError, Limits, Wrapped, Wrapper};

/// What every payload codec of a `T` is beside its own two functions: a [`MessageCodec`] of any
/// `T` that serde knows both ways, and plain to copy, default and show whatever `T` is, as no
/// derive would have it.
#[cfg(any(
    feature = "cbor",
    feature = "json",
    feature = "msgpack",
    feature = "postcard"
))]
macro_rules! payload_codec {
    ($codec:ident { $($field:ident),* }) => {
        impl<T: Serialize + DeserializeOwned> crate::MessageCodec for $codec<T> {
            type Sent = T;
            type Received = T;

            fn encode(&self, message: &T, out: &mut BytesMut) -> Result<(), EncodeError> {
                self.encode(message, out)
            }

            fn decode(&self, frame: &bytes::Bytes) -> Result<T, DecodeError> {
                self.decode(frame)
            }

            fn limits(&self) -> crate::Limits {
                crate::Limits {
                    max_depth: Some(self.max_depth),
                    ..crate::Limits::default()
                }
            }

            fn keeps_frame(&self) -> bool {
                false // serde copies whatever bytes a `T` has
            }
        }

        impl<T> Default for $codec<T> {
            fn default() -> Self {
                Self::new()
            }
        }

        impl<T> Clone for $codec<T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T> Copy for $codec<T> {}

        impl<T> std::fmt::Debug for $codec<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($codec))
                    $(.field(stringify!($field), &self.$field))*
                    .finish()
            }
        }
    };
}

#[cfg(feature = "cbor")]
pub(crate) mod cbor;
#[cfg(any(
    feature = "cbor",
    feature = "json",
    feature = "msgpack",
    feature = "postcard"
))]
pub(crate) mod depth;
pub(crate) mod fixed;
#[cfg(feature = "json")]
pub(crate) mod json;
#[cfg(feature = "msgpack")]
pub(crate) mod msgpack;
#[cfg(feature = "postcard")]
pub(crate) mod postcard;
pub(crate) mod raw;
pub(crate) mod text;

/// Turns one value into one whole frame, and one whole frame into one value.
///
/// Used alone for datagrams, and joined to a [`Framing`](crate::Framing) for streams. It has no
/// state, so one value serves both directions at once. A codec of your own for datagrams is one of
/// these, for each of them is a frame as it is.
///
/// # Examples
///
/// A codec of your own, with the errors that fit:
///
/// ```
/// use bowline_codec::{DecodeError, DecodeErrorKind, EncodeError, MessageCodec};
/// use bytes::{BufMut, Bytes, BytesMut};
///
/// #[derive(Debug, PartialEq)]
/// enum Order {
///     Hoist(u16),
///     Lower,
/// }
///
/// struct Orders;
///
/// impl MessageCodec for Orders {
///     type Sent = Order;
///     type Received = Order;
///
///     fn encode(&self, order: &Order, out: &mut BytesMut) -> Result<(), EncodeError> {
///         match order {
///             Order::Hoist(feet) => {
///                 out.put_u8(1);
///                 out.put_u16(*feet);
///             }
///             Order::Lower => out.put_u8(2),
///         }
///         Ok(())
///     }
///
///     fn decode(&self, frame: &Bytes) -> Result<Order, DecodeError> {
///         let size = |expected, actual| Err(DecodeErrorKind::Size { expected, actual });
///         let order = match frame[..] {
///             [1, high, low] => Ok(Order::Hoist(u16::from_be_bytes([high, low]))),
///             [2] => Ok(Order::Lower),
///             [1, ..] => size(3, frame.len()),
///             [2, ..] => size(1, frame.len()),
///             // Nothing that it knows; the place is the whole frame.
///             _ => Err(DecodeErrorKind::Syntax { line: 0, column: 0 }),
///         };
///         order.map_err(DecodeError::new)
///     }
/// }
///
/// let mut frame = BytesMut::new();
/// Orders.encode(&Order::Hoist(12), &mut frame)?;
/// assert_eq!(Orders.decode(&frame.freeze())?, Order::Hoist(12));
/// let unknown = Orders.decode(&Bytes::from_static(&[9])).unwrap_err();
/// assert_eq!(unknown.to_string(), "a message is malformed");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no codec of one message",
    note = "what goes into one frame or datagram is a message codec, such as `Text::new()` or \
            `Json::<T>::new()`; a framing, such as `Lines`, and what `with`, `lines` and `text` make \
            of one are for streams, and datagrams take the message codec alone"
)]
pub trait MessageCodec: Send + Sync {
    /// What is encoded.
    type Sent;
    /// What is decoded. Differs from [`Sent`](Self::Sent) only when two codecs are stapled.
    type Received;

    /// Appends the encoded `message` to `out`, or leaves `out` as it was.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the format cannot express the value.
    fn encode(&self, message: &Self::Sent, out: &mut BytesMut) -> Result<(), EncodeError>;

    /// Decodes one frame. A codec must use every byte of it.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`], always recoverable: the frame is lost, the stream is not.
    fn decode(&self, frame: &Bytes) -> Result<Self::Received, DecodeError>;

    /// Decodes one frame that nobody else holds, as [`decode`](Self::decode) does.
    ///
    /// Lets a codec of shared bytes hand out the frame as it is, without the allocation of counting
    /// who holds it.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    fn decode_owned(&self, frame: Bytes) -> Result<Self::Received, DecodeError> {
        self.decode(&frame)
    }

    /// What it takes at most. None, unless overridden.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Whether a message may hold on to bytes of the frame it was decoded from.
    ///
    /// A short frame is then given memory of its own where a message would keep that of many, so that
    /// a program that keeps a few small messages does not keep all that was read with them. A codec
    /// whose messages have their own memory says that there is no need to.
    fn keeps_frame(&self) -> bool {
        true
    }

    /// The encoded form of `message`, if the message already holds it.
    ///
    /// Lets a codec of shared bytes send them without the copy that [`encode`](Self::encode)
    /// makes. When it is `Some`, it must be what `encode` would append.
    fn encoded(&self, message: &Self::Sent) -> Option<Bytes> {
        let _ = message;
        None
    }

    /// Appends the start of the encoded `message` to `out`, or leaves `out` as it was, and gives
    /// what follows.
    ///
    /// Lets a codec of messages that end in shared bytes send those without a copy. Together it
    /// must be what [`encode`](Self::encode) appends, which is the default, followed by nothing.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    fn encode_start(&self, message: &Self::Sent, out: &mut BytesMut) -> Result<Bytes, EncodeError> {
        self.encode(message, out)?;
        Ok(Bytes::new())
    }

    /// Puts `wrapper` round the bytes of every message. Wrappers nest; the outermost is put on last.
    fn wrap<W: Wrapper>(self, wrapper: W) -> Wrapped<Self, W>
    where
        Self: Sized,
    {
        Wrapped::new(self, wrapper)
    }

    /// Puts `converter` behind this codec, whose values it turns into messages of the program.
    fn map<C>(self, converter: C) -> Converted<Self, C>
    where
        Self: Sized,
        C: Conversion<SentDto = Self::Sent, ReceivedDto = Self::Received>,
    {
        Converted::new(self, converter)
    }
}

/// The start of a format's description of an error, escaped, for a codec with diagnostics.
#[cfg(any(feature = "cbor", feature = "json", feature = "msgpack"))]
fn quote(description: &str, bytes: usize) -> String {
    const MOST: usize = 256;
    let mut quoted = String::new();
    for escaped in description.chars().map(char::escape_default) {
        if quoted.len() + escaped.len() > bytes.min(MOST) {
            break;
        }
        quoted.extend(escaped);
    }
    quoted
}
