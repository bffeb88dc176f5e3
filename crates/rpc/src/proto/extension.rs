use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::methods::MAX_NAME;
use crate::limits::KNOWN;

pub(super) const NAME: u8 = 1;
const KEY: u8 = 2;
const TRACE: u8 = 3;
const METADATA: u8 = 4;
const SCHEMA: u8 = 5;
/// The W3C writes 55 bytes.
const LONGEST_TRACE: usize = 512;

/// What comes with a call besides its arguments, in the form of the wire.
///
/// # Examples
/// ```
/// use bowline_rpc::proto::Extensions;
///
/// let extensions = Extensions::builder().schema(7).metadata("tenant", b"blue").build();
/// assert_eq!(extensions.schema(), Some(7));
/// assert_eq!(extensions.metadata("tenant"), Some(&b"blue"[..]));
/// assert_eq!(extensions.idempotency_key(), None);
/// ```
// Invariant: the bytes are well-formed entries with ascending tags.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Extensions(Bytes);

/// Why bytes of a peer are no extensions of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// They break the rules.
    Malformed(&'static str),
    /// One that has to be understood is not known here.
    Unsupported,
}

impl Extensions {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds some.
    pub fn builder() -> ExtensionsBuilder {
        ExtensionsBuilder::default()
    }

    /// Checks bytes that a peer sent. `metadata` is the most bytes of metadata it may send.
    pub(super) fn check(bytes: &[u8], metadata: u16) -> Result<(), Refused> {
        let (mut rest, mut last, mut held) = (bytes, 0, 0usize);
        while !rest.is_empty() {
            let (tag, value, after) = split(rest).ok_or(Refused::Malformed("extension-length"))?;
            if tag < last || (tag == last && tag != METADATA) {
                return Err(Refused::Malformed("extension-order"));
            }
            let fits = match tag {
                KEY => (1..=64).contains(&value.len()),
                TRACE => value.is_ascii(),
                METADATA => {
                    held += value.len();
                    value.first().is_some_and(|k| usize::from(*k) < value.len())
                }
                SCHEMA => value.len() == 8,
                0x80.. => return Err(Refused::Unsupported),
                _ => true,
            };
            if !fits {
                return Err(Refused::Malformed("extension-value"));
            }
            if held > usize::from(metadata) {
                return Err(Refused::Malformed("metadata-length"));
            }
            (rest, last) = (after, tag);
        }
        Ok(())
    }

    /// Copies bytes that [`check`](Self::check) has let pass. Many of them without what is of no use here,
    /// so that four times the metadata and [`KNOWN`] is all that a peer can make us keep.
    pub(super) fn from_checked(bytes: &[u8]) -> Self {
        if bytes.len() <= KNOWN {
            return Self(Bytes::copy_from_slice(bytes));
        }
        let all = Self(Bytes::copy_from_slice(bytes));
        let mut kept = BytesMut::new();
        for (tag, value) in all.entries() {
            let most = match tag {
                NAME => MAX_NAME,
                TRACE => LONGEST_TRACE,
                KEY | METADATA | SCHEMA => usize::MAX,
                _ => continue,
            };
            if value.len() <= most {
                put(&mut kept, tag, &[value]);
            }
        }
        Self(kept.freeze())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    fn find(&self, wanted: u8) -> Option<&[u8]> {
        self.entries()
            .find(|(tag, _)| *tag == wanted)
            .map(|(_, value)| value)
    }

    fn entries(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (tag, value, after) = split(rest)?;
            rest = after;
            Some((tag, value))
        })
    }

    pub(super) fn name(&self) -> Option<&[u8]> {
        self.find(NAME)
    }

    /// The key under which the executor runs the call at most once, 1 to 64 bytes.
    pub fn idempotency_key(&self) -> Option<&[u8]> {
        self.find(KEY)
    }

    /// The W3C `traceparent` of the call, as sent: its meaning is not checked.
    pub fn traceparent(&self) -> Option<&str> {
        self.find(TRACE)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The value of a metadata key; the first, if it was given twice.
    pub fn metadata(&self, key: &str) -> Option<&[u8]> {
        self.entries()
            .filter(|(tag, _)| *tag == METADATA)
            .filter_map(|(_, value)| entry(value))
            .find_map(|(name, value)| (name == key.as_bytes()).then_some(value))
    }

    /// The same with the schema hash that is expected; there is none so far.
    pub(crate) fn with_schema(&self, hash: u64) -> Extensions {
        let mut out = BytesMut::with_capacity(self.0.len() + 11);
        out.put_slice(&self.0);
        // The highest tag, so it comes last.
        put(&mut out, SCHEMA, &[&hash.to_be_bytes()]);
        Extensions(out.freeze())
    }

    /// What a handler sees of them, for another process that runs it: trace and metadata, and `value`
    /// under `key` before all other metadata.
    #[cfg(unix)]
    pub(crate) fn passed_on(&self, key: &str, value: &[u8]) -> Extensions {
        let mut seen = BytesMut::with_capacity(self.0.len());
        for (tag, value) in self.entries() {
            if matches!(tag, TRACE | METADATA) {
                put(&mut seen, tag, &[value]);
            }
        }
        Extensions(seen.freeze()).with_first(key, value)
    }

    /// The same with `value` under `key` before all other metadata.
    #[cfg(unix)]
    pub(crate) fn with_first(&self, key: &str, value: &[u8]) -> Extensions {
        let (before, after) = self.0.split_at(self.metadata_begins());
        let mut out = BytesMut::with_capacity(self.0.len() + 4 + key.len() + value.len());
        out.put_slice(before);
        put(
            &mut out,
            METADATA,
            &[&[key.len() as u8], key.as_bytes(), value],
        );
        out.put_slice(after);
        Extensions(out.freeze())
    }

    /// The same without the first metadata, if that is under `key`.
    #[cfg(unix)]
    pub(crate) fn without_first(&self, key: &str) -> Extensions {
        let (before, rest) = self.0.split_at(self.metadata_begins());
        let first = split(rest).filter(|(tag, ..)| *tag == METADATA);
        match first {
            Some((_, value, after))
                if entry(value).is_some_and(|(name, _)| name == key.as_bytes()) =>
            {
                Extensions([before, after].concat().into())
            }
            _ => self.clone(),
        }
    }

    /// Where the metadata begins, or would.
    #[cfg(unix)]
    fn metadata_begins(&self) -> usize {
        let before = self.entries().take_while(|(tag, _)| *tag < METADATA);
        before.map(|(_, value)| 3 + value.len()).sum()
    }

    /// Bytes of all metadata, as their limit counts them.
    pub(crate) fn metadata_bytes(&self) -> usize {
        let metadata = self.entries().filter(|(tag, _)| *tag == METADATA);
        metadata.map(|(_, value)| value.len()).sum()
    }

    /// The schema hash the caller expects.
    pub fn schema(&self) -> Option<u64> {
        self.find(SCHEMA)
            .and_then(|value| value.try_into().ok())
            .map(u64::from_be_bytes)
    }
}

/// `tag u8, n u16, value` at the front, and what follows.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<3>()?;
    let (value, after) =
        rest.split_at_checked(usize::from(u16::from_be_bytes([head[1], head[2]])))?;
    Some((head[0], value, after))
}

/// Key and value of metadata.
fn entry(metadata: &[u8]) -> Option<(&[u8], &[u8])> {
    let (k, rest) = metadata.split_first()?;
    rest.split_at_checked(usize::from(*k))
}

/// Appends an entry of these parts, 65 535 bytes at most.
fn put(out: &mut BytesMut, tag: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.put_u8(tag);
    out.put_u16(length as u16);
    for part in parts {
        out.put_slice(part);
    }
}

impl fmt::Debug for Extensions {
    // Tags and lengths alone: values are the users' data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.entries().map(|(tag, value)| (tag, value.len())))
            .finish()
    }
}

/// Builds [`Extensions`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct ExtensionsBuilder {
    key: Option<Vec<u8>>,
    trace: Option<String>,
    metadata: Vec<Vec<u8>>,
    schema: Option<u64>,
}

impl ExtensionsBuilder {
    /// Sets the idempotency key.
    ///
    /// # Panics
    /// Unless it has 1 to 64 bytes.
    pub fn idempotency_key(mut self, key: &[u8]) -> Self {
        assert!(
            (1..=64).contains(&key.len()),
            "an idempotency key has 1 to 64 bytes"
        );
        self.key = Some(key.to_vec());
        self
    }

    /// Sets the `traceparent`.
    ///
    /// # Panics
    /// If it is not ASCII or longer than 65 535 bytes.
    pub fn traceparent(mut self, trace: &str) -> Self {
        assert!(
            trace.is_ascii() && trace.len() <= 0xFFFF,
            "a traceparent is a short ASCII text"
        );
        self.trace = Some(trace.to_owned());
        self
    }

    /// Adds metadata.
    ///
    /// # Panics
    /// If `key` is longer than 255 bytes, or both together are longer than 65 534.
    pub fn metadata(mut self, key: &str, value: &[u8]) -> Self {
        let length = u8::try_from(key.len()).expect("a metadata key has at most 255 bytes");
        assert!(
            key.len() + value.len() < 0xFFFF,
            "metadata has at most 65 534 bytes"
        );
        self.metadata
            .push([&[length], key.as_bytes(), value].concat());
        self
    }

    /// Sets the schema hash that is expected.
    pub fn schema(mut self, hash: u64) -> Self {
        self.schema = Some(hash);
        self
    }

    /// The extensions.
    pub fn build(self) -> Extensions {
        let mut out = BytesMut::new();
        if let Some(key) = &self.key {
            put(&mut out, KEY, &[key]);
        }
        if let Some(trace) = &self.trace {
            put(&mut out, TRACE, &[trace.as_bytes()]);
        }
        for entry in &self.metadata {
            put(&mut out, METADATA, &[entry]);
        }
        if let Some(schema) = self.schema {
            put(&mut out, SCHEMA, &[&schema.to_be_bytes()]);
        }
        Extensions(out.freeze())
    }
}
