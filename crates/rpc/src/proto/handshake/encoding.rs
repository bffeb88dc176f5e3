//! HELLO and READY as bytes.

use super::Hello;
use crate::proto::{CodecId, Violation};

impl Hello {
    pub(in crate::proto) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend(self.versions.0.to_be_bytes());
        out.extend(self.versions.1.to_be_bytes());
        out.extend(self.required.to_be_bytes());
        out.extend(self.optional.to_be_bytes());
        out.extend(self.nonce);
        out.extend(self.instance);
        let limits = [
            self.max_frame,
            self.max_message,
            self.call_window,
            self.max_calls,
            self.notify_window,
            self.max_methods,
            self.heartbeat_ms,
        ];
        out.extend(limits.iter().flat_map(|limit| limit.to_be_bytes()));
        out.extend(self.max_metadata.to_be_bytes());
        out.push(self.auth);
        out.push(self.codecs.len() as u8);
        out.extend(self.codecs.iter().map(|codec| codec.0));
        for text in [&self.project, &self.key_id] {
            out.push(text.len() as u8);
            out.extend_from_slice(text);
        }
        out.extend(self.pass.iter().flatten());
        out
    }

    /// Reads a payload. One longer than its fields is fine: later versions append.
    pub(in crate::proto) fn decode(payload: &[u8]) -> Result<Hello, Violation> {
        let mut fields = Fields(payload);
        let hello = Hello {
            versions: (fields.u16()?, fields.u16()?),
            required: fields.u32()?,
            optional: fields.u32()?,
            nonce: fields.array()?,
            instance: fields.array()?,
            max_frame: fields.u32()?,
            max_message: fields.u32()?,
            call_window: fields.u32()?,
            max_calls: fields.u32()?,
            notify_window: fields.u32()?,
            max_methods: fields.u32()?,
            heartbeat_ms: fields.u32()?,
            max_metadata: fields.u16()?,
            auth: fields.array::<1>()?[0],
            codecs: fields.counted()?.iter().map(|id| CodecId(*id)).collect(),
            project: fields.counted()?.to_vec(),
            key_id: fields.counted()?.to_vec(),
            // It may be missing, and so may what later versions append.
            pass: fields.array().ok(),
        };
        if !(1..=16).contains(&hello.codecs.len()) {
            return Err(Violation::Rule("hello-codecs"));
        }
        if hello.key_id.len() > 64 {
            return Err(Violation::Rule("hello-key"));
        }
        Ok(hello)
    }
}

/// The payload of a READY.
pub(in crate::proto) fn encode_ready(principal: &str) -> Vec<u8> {
    let mut out = vec![principal.len() as u8];
    out.extend_from_slice(principal.as_bytes());
    out
}

/// The principal in the payload of a READY.
pub(in crate::proto) fn decode_ready(payload: &[u8]) -> Result<Box<str>, Violation> {
    let name = Fields(payload)
        .counted()
        .map_err(|_| Violation::Rule("ready-length"))?;
    let name = std::str::from_utf8(name).map_err(|_| Violation::Rule("ready-name"))?;
    Ok(name.into())
}

/// Reads fields from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let (field, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(Violation::Rule("hello-length"))?;
        self.0 = rest;
        Ok(*field)
    }

    fn u16(&mut self) -> Result<u16, Violation> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Violation> {
        self.array().map(u32::from_be_bytes)
    }

    /// `n u8`, then n bytes.
    fn counted(&mut self) -> Result<&'a [u8], Violation> {
        let [n] = self.array::<1>()?;
        let (field, rest) = self
            .0
            .split_at_checked(n.into())
            .ok_or(Violation::Rule("hello-length"))?;
        self.0 = rest;
        Ok(field)
    }
}
