//! What a trace says of the bytes that programs write: how many, and a hash of them.
//!
//! Runs of one seed whose bytes alone differ are no less indeterminate than others, and would not be
//! noticed otherwise. Bytes are hashed once, when they are written: what arrives is the same.

use crate::builder::Config;
use crate::state::State;
use crate::trace::EventKind;
use crate::xxhash::xxh64;

impl Config {
    /// What makes the hash of bytes that are written.
    pub(crate) fn payload_hash(&self) -> fn(&[u8]) -> u32 {
        match self.hash_payloads {
            // 0 is for events that have none.
            true => |bytes| (xxh64(bytes, 0) as u32).max(1),
            false => |_| 0,
        }
    }
}

impl State {
    /// Records that a program wrote `length` bytes to the socket in `slot`.
    pub(crate) fn record_write(
        &mut self,
        label: &'static str,
        slot: u32,
        length: usize,
        payload: u32,
    ) {
        self.written = payload;
        self.record(EventKind::Write, label, u64::from(slot), length as u64);
        self.written = 0;
    }
}
