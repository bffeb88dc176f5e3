//! Headers and a payload as one JSON object.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::Message;
use super::headers::{HeaderLimits, Headers, HeadersSeed};
use crate::message::json::python::{self, Alphabet, Spacing};
use crate::message::json::{refused, text_of};
use crate::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};

/// Headers and a payload as `{"headers": .., "payload": ..}`, in ASCII, as Python writes it.
///
/// Any JSON of that shape is read: in any order, with any space, without either, which is then no
/// headers or null, and with other keys, which are ignored. Of a key that is there twice the last
/// counts. A payload that `P` cannot hold is [`Syntax`](DecodeErrorKind::Syntax).
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
        let text = text_of(frame)?;
        let exceeded = Cell::new(None);
        let seed = Fields {
            headers: HeadersSeed {
                limits,
                exceeded: &exceeded,
            },
            marker: PhantomData,
        };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let refusal = |error| match exceeded.get() {
            Some(kind) => too_many(kind),
            None => refused(text, &error, 0),
        };
        let message = seed.deserialize(&mut deserializer).map_err(refusal)?;
        deserializer.end().map_err(refusal)?;
        check_length(&message.headers, limits, frame)?;
        Ok(message)
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
    put_headers(headers, limits, out)?;
    out.extend_from_slice(b", \"payload\": ");
    python::write(payload, Spacing::Spaced, Alphabet::Ascii, out).map_err(|error| {
        EncodeError::new(EncodeErrorKind::Value).with_message(error.to_string())
    })?;
    out.extend_from_slice(b"}");
    Ok(())
}

/// Appends the headers alone; how many bytes they took.
pub(super) fn put_headers(
    headers: &Headers,
    limits: &HeaderLimits,
    out: &mut BytesMut,
) -> Result<usize, EncodeError> {
    let long = |limit, actual| EncodeError::new(EncodeErrorKind::TooLong { limit, actual });
    if headers.len() > limits.count() {
        return Err(long(limits.count(), headers.len()).with_message("too many headers"));
    }
    let before = out.len();
    python::write(headers, Spacing::Spaced, Alphabet::Ascii, out).map_err(|error| {
        EncodeError::new(EncodeErrorKind::Value).with_message(error.to_string())
    })?;
    match out.len() - before {
        actual if actual > limits.bytes() => {
            Err(long(limits.bytes(), actual).with_message("the headers are too long"))
        }
        actual => Ok(actual),
    }
}

pub(super) fn too_many(kind: DecodeErrorKind) -> DecodeError {
    DecodeError::new(kind)
        .with_message("too many headers")
        .recoverable()
}

/// Refuses headers that take more bytes than they may in the shortest JSON.
fn check_length(
    headers: &Headers,
    limits: &HeaderLimits,
    frame: &Bytes,
) -> Result<(), DecodeError> {
    let limit = limits.bytes();
    // Within a frame that is shorter, they are.
    if frame.len() <= limit {
        return Ok(());
    }
    match serde_json::to_vec(headers) {
        Ok(bytes) if bytes.len() <= limit => Ok(()),
        bytes => Err(DecodeError::new(DecodeErrorKind::TooLong {
            limit,
            declared: bytes.ok().map(|bytes| bytes.len() as u64),
        })
        .with_message("the headers are too long")
        .recoverable()),
    }
}

/// The keys of a message.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Headers,
    Payload,
    #[serde(other)]
    Other,
}

/// Reads the object of headers and payload.
struct Fields<'a, P> {
    headers: HeadersSeed<'a>,
    marker: PhantomData<fn() -> P>,
}

impl<'de, P: DeserializeOwned> DeserializeSeed<'de> for Fields<'_, P> {
    type Value = JsonMessage<P>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, P: DeserializeOwned> Visitor<'de> for Fields<'_, P> {
    type Value = JsonMessage<P>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of headers and a payload")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut headers = Headers::new();
        let mut payload = None;
        while let Some(field) = map.next_key()? {
            match field {
                Field::Headers => {
                    headers = map.next_value_seed(HeadersSeed {
                        limits: self.headers.limits,
                        exceeded: self.headers.exceeded,
                    })?;
                }
                Field::Payload => payload = Some(map.next_value()?),
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let payload = match payload {
            Some(payload) => payload,
            // A payload that is not there is null.
            None => serde_json::from_value(Value::Null).map_err(serde::de::Error::custom)?,
        };
        Ok(JsonMessage { headers, payload })
    }
}
