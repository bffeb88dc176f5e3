//! Named values of a message, in their order.

use std::mem;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::message::depth::Nesting;

/// Names, each once, with JSON values, in the order in which they were first set.
///
/// To look up or set one takes time that grows with how many there are, to collect or to read all of
/// them hardly more than their number. Objects inside of values keep the order that [`Value`] gives
/// them, which is that of their keys unless `serde_json` has its feature `preserve_order`.
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

    /// These in their order; a name that is there twice has its first place and its last value.
    ///
    /// By sorting, and not by setting each: a peer may choose the names, and how many there are. A few
    /// that all differ, as mostly, are seen to without.
    pub(super) fn of(mut entries: Vec<(String, Value)>) -> Self {
        const FEW: usize = 16;
        let is_first = |at: usize| entries[..at].iter().all(|(name, _)| *name != entries[at].0);
        if entries.len() <= FEW && (1..entries.len()).all(is_first) {
            return Self { entries };
        }
        let mut by_name: Vec<usize> = (0..entries.len()).collect();
        by_name.sort_by(|a, b| entries[*a].0.cmp(&entries[*b].0));
        let repeated: Vec<(usize, usize)> = by_name
            .chunk_by(|a, b| entries[*a].0 == entries[*b].0)
            .flat_map(|same| same[1..].iter().map(|later| (same[0], *later)))
            .collect();
        if !repeated.is_empty() {
            let mut stays = vec![true; entries.len()];
            for (first, later) in repeated {
                entries[first].1 = mem::take(&mut entries[later].1);
                stays[later] = false;
            }
            let mut stays = stays.into_iter();
            entries.retain(|_| stays.next().unwrap_or_default());
        }
        Self { entries }
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
        let entries = entries.into_iter();
        Self::of(
            entries
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl IntoIterator for Headers {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    /// Names and values, in order.
    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
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

/// How many headers a message may have, how many bytes they may take, and how deep its JSON may be.
///
/// | limit | default | set by | passed |
/// |---|---|---|---|
/// | headers, those repeated included; and so of the `params`, the `form` and the `files` of an [`HttpMessage`](crate::HttpMessage) | 256 | [`max_count`](Self::max_count) | `TooLong` |
/// | bytes of all of them | 64 KiB | [`max_bytes`](Self::max_bytes) | `TooLong` |
/// | values inside one another, from the message or the headers of a binary one on | 128 | [`max_depth`](Self::max_depth) | `Depth` |
#[derive(Clone, Copy, Debug)]
pub struct HeaderLimits {
    max_count: usize,
    max_bytes: usize,
    max_depth: usize,
}

impl HeaderLimits {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            max_count: 256,
            max_bytes: 64 * 1024,
            max_depth: Nesting::DEFAULT,
        }
    }

    /// Sets the most headers, and the most parameters, form fields and files of an
    /// [`HttpMessage`](crate::HttpMessage) each; 256 by default.
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

    /// Sets how many values may be inside one another, both ways; 128 by default.
    ///
    /// # Panics
    ///
    /// If `levels` is zero.
    pub fn max_depth(mut self, levels: usize) -> Self {
        assert!(levels > 0, "max_depth must not be zero");
        self.max_depth = levels;
        self
    }

    pub(super) fn depth(&self) -> usize {
        self.max_depth
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
