//! Sans-I/O codecs: bytes to frames to messages and back, whatever way the network cuts them.
//!
//! Nothing here reads, writes, waits or spawns: bytes come in through a
//! [`BytesMut`](bytes::BytesMut) the caller fills, and go out through an [`OutputBatch`] the
//! caller drains. So one codec serves every transport, every runtime, the simulator and a plain
//! unit test.
//!
//! # Layers
//!
//! 1. A [`Framing`] cuts a byte stream into frames. It knows no meaning.
//! 2. A [`MessageCodec`] turns one whole frame, or one datagram, into one value.
//! 3. A [`Wrapper`] turns the bytes inside one frame into others: compressed, or signed. Put round a
//!    message codec by [`MessageCodec::wrap`].
//! 4. A [`Convert`] turns the value on the wire into the program's own type. Put behind a message
//!    codec by [`MessageCodec::map`].
//!
//! A stream uses the first two, joined by [`Framing::with`] into a [`Framed`]; a datagram uses the
//! second alone, because one packet is one frame. The others are for those who want them.
//!
//! # What holds for all of them
//!
//! * **Cut invariance.** How the input was cut into reads never changes the items, the errors or
//!   the positions they report.
//! * **Totality.** Any bytes, in any state, give an answer: no panic, bounded memory, linear work.
//! * **All or nothing.** A failed `encode` leaves the output as it was.
//!
//! # Example
//!
//! ```
//! use bowline_codec::{Decode, Encode, Framing, LengthDelimited, OutputBatch, Raw};
//! use bytes::{Bytes, BytesMut};
//!
//! let mut codec = LengthDelimited::u16().with(Raw::new());
//!
//! // Out: the encoder writes into a batch, a transport writes the batch's slices.
//! let mut batch = OutputBatch::new();
//! codec.encode(&Bytes::from_static(b"hello"), &mut batch)?;
//! let wire: Vec<u8> = batch.slices().flatten().copied().collect();
//! assert_eq!(wire, b"\x00\x05hello");
//!
//! // In: the bytes may come in any pieces.
//! let mut input = BytesMut::new();
//! input.extend_from_slice(&wire[..4]);
//! assert_eq!(codec.decode(&mut input)?, None);
//! assert_eq!(codec.need(), 3);
//! input.extend_from_slice(&wire[4..]);
//! assert_eq!(codec.decode(&mut input)?.as_deref(), Some(&b"hello"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod error;

mod batch;

mod decode;
mod encode;

#[cfg(any(feature = "base64", feature = "json"))]
mod base64;

mod convert;
mod framing;
mod message;
mod wrapper;

#[cfg(feature = "json")]
mod envelope;

mod framed;
mod limits;
mod stapled;

pub use batch::{Mark, OutputBatch};
pub use convert::{Conversion, Convert, ConvertError, ConvertFn, Converted, StapledConverter, Via};
pub use decode::Decode;
pub use encode::Encode;
pub use error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
pub use framed::{Codec, Framed, FramedDecoder, FramedEncoder, Unframe};
pub use framing::Framing;
pub use framing::bytes_framing::BytesFraming;
pub use framing::cbor::CborFraming;
pub use framing::cobs::Cobs;
pub use framing::delimited::Unterminated;
pub use framing::delimiter::Delimiter;
pub use framing::fixed_size::FixedSize;
pub use framing::json::JsonFraming;
pub use framing::length_delimited::LengthDelimited;
pub use framing::lines::Lines;
pub use framing::msgpack::MsgpackFraming;
pub use framing::netstring::Netstring;
pub use limits::Limits;
pub use message::MessageCodec;
pub use message::fixed::Struct;
pub use message::fixed::layout::{BigEndian, ByteOrder, FixedLayout, LittleEndian};
pub use message::fixed::text::FixedStr;
pub use message::raw::Raw;
pub use message::text::{Encoding, Text};
pub use stapled::Stapled;
pub use wrapper::compress::{Compress, Expansion, ExpansionLimits};
pub use wrapper::{Wrapped, Wrapper};

#[cfg(feature = "json")]
pub use envelope::binary::BinaryMessage;
#[cfg(feature = "json")]
pub use envelope::headers::{HeaderLimits, Headers};
#[cfg(feature = "json")]
pub use envelope::http::HttpMessage;
#[cfg(feature = "json")]
pub use envelope::json::JsonMessage;
#[cfg(feature = "json")]
pub use envelope::{Message, Messages};
#[cfg(feature = "cbor")]
pub use message::cbor::Cbor;
#[cfg(feature = "json")]
pub use message::json::{Json, JsonLines};
#[cfg(feature = "msgpack")]
pub use message::msgpack::Msgpack;
#[cfg(feature = "postcard")]
pub use message::postcard::Postcard;
#[cfg(feature = "base64")]
pub use wrapper::base64::Base64;
#[cfg(feature = "base64")]
pub use wrapper::base64::key::Key;
#[cfg(feature = "lz4")]
pub use wrapper::lz4::Lz4;
#[cfg(feature = "zlib")]
pub use wrapper::zlib::Zlib;
#[cfg(feature = "zlib")]
pub use wrapper::zlib::framing::ZlibFraming;

/// For the code that [`fixed_layout!`] writes.
#[doc(hidden)]
pub use bytes::BytesMut as __BytesMut;
