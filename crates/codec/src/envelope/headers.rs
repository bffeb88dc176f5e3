//! Named values of a message, in their order.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::DecodeErrorKind;

/// Names, each once, with JSON values, in the order in which they were first set.
///
/// # Examples
///
/// ```
/// use bowline_codec::Headers;
///
/// let mut headers = Headers::new();
/// headers.set("id", 1);
/// headers.set("topic", "ships");
/// headers.set("id", 2);
/// let names: Vec<&str> = headers.iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["id", "topic"]);
/// assert_eq!(headers.get("id"), Some(&2.into()));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headers {
    entries: Vec<(String, Value)>,
}

impl Headers {
    /// None yet.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Sets `name` to `value`: in its place if it is there, at the end otherwise.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.entries.iter_mut().find(|(there, _)| *there == name) {
            Some((_, old)) => *old = value,
            None => self.entries.push((name, value)),
        }
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let entry = self.entries.iter().find(|(there, _)| there == name)?;
        Some(&entry.1)
    }

    /// Takes `name` and its value out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.entries.iter().position(|(there, _)| there == name)?;
        Some(self.entries.remove(at).1)
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(name, value)| (&name[..], value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<N: Into<String>, V: Into<Value>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in entries {
            headers.set(name, value);
        }
        headers
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// How many headers a message may have, and how many bytes they may take.
///
/// | limit | default | set by | passed |
/// |---|---|---|---|
/// | headers | 256 | [`max_count`](Self::max_count) | `TooLong` |
/// | bytes of all of them | 64 KiB | [`max_bytes`](Self::max_bytes) | `TooLong` |
#[derive(Clone, Copy, Debug)]
pub struct HeaderLimits {
    max_count: usize,
    max_bytes: usize,
}

impl HeaderLimits {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            max_count: 256,
            max_bytes: 64 * 1024,
        }
    }

    /// Sets the most headers; 256 by default.
    ///
    /// # Panics
    ///
    /// If `headers` is zero.
    pub fn max_count(mut self, headers: usize) -> Self {
        assert!(headers > 0, "max_count must not be zero");
        self.max_count = headers;
        self
    }

    /// Sets the most bytes of all headers as a JSON object; 64 KiB by default.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "max_bytes must not be zero");
        self.max_bytes = bytes;
        self
    }

    pub(super) fn count(&self) -> usize {
        self.max_count
    }

    pub(super) fn bytes(&self) -> usize {
        self.max_bytes
    }
}

impl Default for HeaderLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads an object as headers, no more than there may be.
pub(super) struct HeadersSeed<'a> {
    pub(super) limits: &'a HeaderLimits,
    /// Set when there were more.
    pub(super) exceeded: &'a Cell<Option<DecodeErrorKind>>,
}

impl<'de> DeserializeSeed<'de> for HeadersSeed<'_> {
    type Value = Headers;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Headers, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeadersSeed<'_> {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of headers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        let mut headers = Headers::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            headers.set(name, value);
            if headers.len() > self.limits.max_count {
                self.exceeded.set(Some(DecodeErrorKind::TooLong {
                    limit: self.limits.max_count,
                    declared: None,
                }));
                return Err(A::Error::custom("too many headers"));
            }
        }
        Ok(headers)
    }
}
