//! One message being read: what bounds it, and what was wrong with it.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::headers::{HeaderLimits, Headers};
use crate::message::depth::Nesting;
use crate::message::json::{integers, read, refused, text_of};
use crate::{DecodeError, DecodeErrorKind};

/// The limits of one message, and which of them it passed.
pub(super) struct Reading<'a> {
    limits: &'a HeaderLimits,
    /// What there was too much of.
    exceeded: Cell<Option<&'static str>>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(limits: &'a HeaderLimits) -> Self {
        Self {
            limits,
            exceeded: Cell::new(None),
        }
    }

    /// Reads an object as headers.
    pub(super) fn headers(&self) -> Entries<'_> {
        self.entries("too many headers")
    }

    /// Reads an object in its order, of no more entries than a message may have headers; `refusal`
    /// says what there is too much of where there are more.
    pub(super) fn entries(&self, refusal: &'static str) -> Entries<'_> {
        Entries {
            reading: self,
            refusal,
        }
    }

    /// The value of `seed` that all of `text` is.
    pub(super) fn all_of<'t, S>(&self, text: &'t str, seed: S) -> Result<S::Value, DecodeError>
    where
        S: DeserializeSeed<'t>,
    {
        let nesting = Nesting::of(text.len(), self.limits.depth()).noting_huge();
        let value = read(text, &nesting, seed).map_err(|error| match self.exceeded.get() {
            Some(refusal) => self.too_long(None).with_message(refusal).recoverable(),
            None => refused(text, &error, &nesting, 0),
        })?;
        match integers::rounded(text, &nesting.huge()) {
            None => Ok(value),
            Some(at) => {
                let (line, column) = integers::place(text, at);
                Err(DecodeError::new(DecodeErrorKind::Syntax { line, column })
                    .with_message("an integer of more than 64 bits"))
            }
        }
    }

    /// The headers and the payload that all of `frame` is, each payload read by a seed of `payload`.
    pub(super) fn message<'f, S, F>(
        &self,
        frame: &'f Bytes,
        payload: F,
    ) -> Result<(Headers, S::Value), DecodeError>
    where
        S: DeserializeSeed<'f>,
        F: Fn() -> S,
    {
        let text = text_of(frame)?;
        let read = |skipped| {
            let seed = Fields {
                reading: self,
                payload: &payload,
                skipped,
                marker: PhantomData,
            };
            self.all_of(text, seed)
        };
        let message = read(Repeated::default()).or_else(|error| match error.kind() {
            // Of what is there twice the last counts, whatever the first is.
            DecodeErrorKind::Syntax { .. } => match Repeated::of(text) {
                Some(repeated) => read(repeated),
                None => Err(error),
            },
            _ => Err(error),
        })?;
        self.check_length(&message.0, frame)?;
        Ok(message)
    }

    fn too_long(&self, declared: Option<u64>) -> DecodeError {
        let limit = self.limits.count();
        DecodeError::new(DecodeErrorKind::TooLong { limit, declared })
    }

    /// Refuses headers that take more bytes than they may in the shortest JSON.
    fn check_length(&self, headers: &Headers, frame: &Bytes) -> Result<(), DecodeError> {
        let limit = self.limits.bytes();
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
}

/// Reads an object in its order, of no more entries than there may be.
pub(super) struct Entries<'a> {
    reading: &'a Reading<'a>,
    refusal: &'static str,
}

impl Entries<'_> {
    pub(super) fn read<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry::<String, Value>()? {
            if entries.len() == self.reading.limits.count() {
                self.reading.exceeded.set(Some(self.refusal));
                return Err(A::Error::custom(self.refusal));
            }
            entries.push(entry);
        }
        Ok(Headers::of(entries))
    }
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = Headers;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Headers, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of headers")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Headers, A::Error> {
        self.read(map)
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

/// How many headers and payloads there are before the last of each.
#[derive(Clone, Copy, Default)]
struct Repeated {
    headers: usize,
    payloads: usize,
}

impl Repeated {
    /// Those of `text`, if there are any.
    fn of(text: &str) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let repeated = deserializer.deserialize_map(Counting).ok()?;
        (repeated.headers + repeated.payloads > 0).then_some(repeated)
    }
}

/// Counts what there is before the last of each.
struct Counting;

impl<'de> Visitor<'de> for Counting {
    type Value = Repeated;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of headers and a payload")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Repeated, A::Error> {
        let (mut headers, mut payloads) = (0usize, 0usize);
        while let Some((field, IgnoredAny)) = map.next_entry()? {
            match field {
                Field::Headers => headers += 1,
                Field::Payload => payloads += 1,
                Field::Other => {}
            }
        }
        Ok(Repeated {
            headers: headers.saturating_sub(1),
            payloads: payloads.saturating_sub(1),
        })
    }
}

/// Reads the object of headers and payload.
struct Fields<'a, S, F> {
    reading: &'a Reading<'a>,
    payload: &'a F,
    /// How many of each are not looked at.
    skipped: Repeated,
    marker: PhantomData<fn() -> S>,
}

impl<'de, S: DeserializeSeed<'de>, F: Fn() -> S> DeserializeSeed<'de> for Fields<'_, S, F> {
    type Value = (Headers, S::Value);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de>, F: Fn() -> S> Visitor<'de> for Fields<'_, S, F> {
    type Value = (Headers, S::Value);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of headers and a payload")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut headers = Headers::new();
        let mut payload = None;
        while let Some(field) = map.next_key()? {
            let skipped = match field {
                Field::Headers => &mut self.skipped.headers,
                Field::Payload => &mut self.skipped.payloads,
                Field::Other => &mut 0,
            };
            if *skipped > 0 {
                *skipped -= 1;
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            match field {
                Field::Headers => headers = map.next_value_seed(self.reading.headers())?,
                Field::Payload => payload = Some(map.next_value_seed((self.payload)())?),
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let payload = match payload {
            Some(payload) => payload,
            // A payload that is not there is null.
            None => (self.payload)()
                .deserialize(Value::Null)
                .map_err(A::Error::custom)?,
        };
        Ok((headers, payload))
    }
}
