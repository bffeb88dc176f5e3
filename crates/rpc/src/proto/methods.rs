use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::Violation;

/// The number of a method in one connection; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodId(pub u32);

/// Options of a method, as bits of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MethodOptions(pub u16);

impl MethodOptions {
    /// Running it twice is as good as once.
    pub const IDEMPOTENT: MethodOptions = MethodOptions(1);
    /// It runs to its end when its caller goes away.
    pub const NO_CANCEL: MethodOptions = MethodOptions(2);
    /// The caller streams.
    pub const CALLER_STREAMS: MethodOptions = MethodOptions(4);
    /// The executor streams.
    pub const EXECUTOR_STREAMS: MethodOptions = MethodOptions(8);
    /// Its arguments have names.
    pub const NAMED_ARGUMENTS: MethodOptions = MethodOptions(16);
    /// It takes notifications.
    pub const NOTIFY: MethodOptions = MethodOptions(32);

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: MethodOptions) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use = "this returns the union and changes nothing"]
    pub const fn with(self, other: MethodOptions) -> MethodOptions {
        MethodOptions(self.0 | other.0)
    }
}

/// A method that one side offers the other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advertised {
    /// Its id in this connection: not 0, never reused for another method.
    pub method: MethodId,
    /// Its name, 1 to 200 bytes.
    pub name: Arc<str>,
    /// How many of its handlers run at once; 0 is not told.
    pub concurrency: u32,
    /// Hash of its argument and reply types; 0 is unknown.
    pub schema: u64,
    /// Its options.
    pub options: MethodOptions,
    /// Its share among the peers that offer it.
    pub weight: u16,
}

impl Advertised {
    /// A method of weight 1 with no options and unknown schema.
    pub fn new(method: MethodId, name: impl Into<Arc<str>>) -> Self {
        Self {
            method,
            name: name.into(),
            concurrency: 0,
            schema: 0,
            options: MethodOptions::default(),
            weight: 1,
        }
    }

    /// Sets the schema hash.
    pub fn schema(mut self, hash: u64) -> Self {
        self.schema = hash;
        self
    }

    /// Sets the options.
    pub fn options(mut self, options: MethodOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets how many handlers run at once.
    pub fn concurrency(mut self, handlers: u32) -> Self {
        self.concurrency = handlers;
        self
    }

    /// Sets its share among the peers that offer it, for callers that choose by what peers have to do;
    /// 0 counts as 1.
    pub fn weight(mut self, weight: u16) -> Self {
        self.weight = weight;
        self
    }

    pub(super) fn wire_len(&self) -> usize {
        ENTRY + self.name.len()
    }

    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.method.0);
        out.put_u32(self.concurrency);
        out.put_u64(self.schema);
        out.put_u16(self.options.0);
        out.put_u16(self.weight);
        out.put_u16(self.name.len() as u16);
        out.put_slice(self.name.as_bytes());
    }
}

const ENTRY: usize = 22;
/// Longest method name, in bytes.
pub(super) const MAX_NAME: usize = 200;

/// The methods a peer offers now.
// Ordered maps: names come from the peer, so hashing them needs a secret, and two runs with the
// same input have to look the same.
#[derive(Debug, Default)]
pub(super) struct Directory {
    by_id: BTreeMap<MethodId, Arc<str>>,
    names: BTreeMap<Arc<str>, MethodId>,
    name_bytes: usize,
}

impl Directory {
    /// Takes the payload of an ADVERTISE with `count` entries.
    pub(super) fn advertise(
        &mut self,
        payload: &[u8],
        count: u16,
        limit: u32,
    ) -> Result<Vec<Advertised>, Violation> {
        let malformed = Violation::Rule("advertise-length");
        if payload.len() < usize::from(count) * ENTRY {
            return Err(malformed);
        }
        let mut methods = Vec::with_capacity(usize::from(count));
        let mut rest = payload;
        for _ in 0..count {
            let (head, after) = rest.split_first_chunk::<ENTRY>().ok_or(malformed)?;
            let (name, after) = after
                .split_at_checked(be16(head, 20).into())
                .ok_or(malformed)?;
            rest = after;
            let name = std::str::from_utf8(name).map_err(|_| Violation::Rule("advertise-name"))?;
            if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
                return Err(Violation::Rule("advertise-name"));
            }
            let method = MethodId(be32(head, 0));
            if method.0 == 0 || self.by_id.contains_key(&method) || self.names.contains_key(name) {
                return Err(Violation::Rule("advertise-known"));
            }
            if self.by_id.len() >= limit as usize {
                return Err(Violation::Rule("max-methods"));
            }
            let name: Arc<str> = name.into();
            self.name_bytes += name.len();
            self.by_id.insert(method, name.clone());
            self.names.insert(name.clone(), method);
            methods.push(Advertised {
                method,
                name,
                concurrency: be32(head, 4),
                schema: u64::from(be32(head, 8)) << 32 | u64::from(be32(head, 12)),
                options: MethodOptions(be16(head, 16)),
                weight: be16(head, 18),
            });
        }
        if !rest.is_empty() {
            return Err(malformed);
        }
        Ok(methods)
    }

    /// Takes the payload of a WITHDRAW with `count` entries; ids it does not know are ignored.
    pub(super) fn withdraw(
        &mut self,
        payload: &[u8],
        count: u16,
    ) -> Result<Vec<MethodId>, Violation> {
        if payload.len() != usize::from(count) * 4 {
            return Err(Violation::Rule("withdraw-length"));
        }
        let mut gone = Vec::new();
        for entry in payload.chunks_exact(4) {
            let method = MethodId(be32(entry, 0));
            if let Some(name) = self.by_id.remove(&method) {
                self.name_bytes -= name.len();
                self.names.remove(&name);
                gone.push(method);
            }
        }
        Ok(gone)
    }

    pub(super) fn memory(&self) -> usize {
        // A name is shared by both maps; 16 bytes are its reference counts.
        self.name_bytes + self.by_id.len() * (16 + 4 * size_of::<(MethodId, Arc<str>)>())
    }
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from(be16(bytes, at)) << 16 | u32::from(be16(bytes, at + 2))
}
