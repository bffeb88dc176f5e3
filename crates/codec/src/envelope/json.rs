//! Headers and a payload as one JSON object.

use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Message;
use super::headers::{HeaderLimits, Headers};
use super::reading::Reading;
use crate::message::depth::EncodeDepth;
use crate::message::json::python::{self, Alphabet, Spacing};
use crate::{DecodeError, EncodeError, EncodeErrorKind};

/// Headers and a payload as `{"headers": .., "payload": ..}`, in ASCII, as Python writes it.
///
/// Any JSON of that shape is read: in any order, with any space, without either, which is then no
/// headers or null, and with other keys, which are ignored. Of a key that is there twice the last
/// counts. A payload that `P` cannot hold is [`Syntax`](crate::DecodeErrorKind::Syntax), and so is an
/// integer of more than 64 bits that nothing but rounding would make a value of a [`Value`] or a header.
///
/// # Examples
///
/// ```
/// use bowline_codec::{JsonMessage, Message};
///
/// let mut message = JsonMessage::new(vec![1.0, 1e16]);
/// message.headers.set("id", "é");
/// let bytes = message.to_bytes()?;
/// assert_eq!(bytes, r#"{"headers": {"id": "\u00e9"}, "payload": [1.0, 1e+16]}"#);
/// assert_eq!(JsonMessage::from_bytes(&bytes)?, message);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JsonMessage<P = Value> {
    /// What is said about the payload.
    pub headers: Headers,
    /// What it is about.
    pub payload: P,
}

impl<P> JsonMessage<P> {
    /// A message without headers.
    pub const fn new(payload: P) -> Self {
        Self {
            headers: Headers::new(),
            payload,
        }
    }
}

impl<P: Serialize> Serialize for JsonMessage<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("JsonMessage", 2)?;
        object.serialize_field("headers", &self.headers)?;
        object.serialize_field("payload", &self.payload)?;
        object.end()
    }
}

impl<P: Serialize + DeserializeOwned> Message for JsonMessage<P> {
    const CONTENT_TYPE: &'static str = "application/json";
    const KEEPS_FRAME: bool = false;

    fn headers(&self) -> &Headers {
        &self.headers
    }

    fn put(&self, limits: &HeaderLimits, out: &mut BytesMut) -> Result<Bytes, EncodeError> {
        put(&self.headers, &self.payload, limits, out)?;
        Ok(Bytes::new())
    }

    fn get(limits: &HeaderLimits, frame: &Bytes) -> Result<Self, DecodeError> {
        let payload = || PhantomData::<P>;
        let (headers, payload) = Reading::new(limits).message(frame, payload)?;
        Ok(Self { headers, payload })
    }
}

/// Appends a whole message; headers over `limits` are refused.
pub(super) fn put(
    headers: &Headers,
    payload: &impl Serialize,
    limits: &HeaderLimits,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    out.extend_from_slice(b"{\"headers\": ");
    put_headers(headers, limits, IN_OBJECT, out)?;
    out.extend_from_slice(b", \"payload\": ");
    put_value(payload, limits, IN_OBJECT, out)?;
    out.extend_from_slice(b"}");
    Ok(())
}

/// Of what is in the object that a message is, how many values it is inside of.
const IN_OBJECT: usize = 1;

/// Appends what is inside of `levels` other values.
fn put_value(
    value: &impl Serialize,
    limits: &HeaderLimits,
    levels: usize,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let depth = EncodeDepth::of(limits.depth())
        .listing_bytes()
        .inside(levels);
    let value = &depth.within(value);
    python::write(value, Spacing::Spaced, Alphabet::Ascii, out).map_err(|error| {
        depth.refused(|| EncodeError::new(EncodeErrorKind::Value).with_message(error.to_string()))
    })
}

/// Appends the headers alone, which are inside of `levels` other values; how many bytes they took.
pub(super) fn put_headers(
    headers: &Headers,
    limits: &HeaderLimits,
    levels: usize,
    out: &mut BytesMut,
) -> Result<usize, EncodeError> {
    let long = |limit, actual| EncodeError::new(EncodeErrorKind::TooLong { limit, actual });
    if headers.len() > limits.count() {
        return Err(long(limits.count(), headers.len()).with_message("too many headers"));
    }
    let before = out.len();
    put_value(headers, limits, levels, out)?;
    match out.len() - before {
        actual if actual > limits.bytes() => {
            Err(long(limits.bytes(), actual).with_message("the headers are too long"))
        }
        actual => Ok(actual),
    }
}
