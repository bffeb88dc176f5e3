//! Small bodies share memory, so that most of them cost no allocation.

use bytes::{Bytes, BytesMut};

/// Bodies up to this long share a chunk.
const SMALL: usize = 128;
/// Bytes of a chunk, and the most that one small body keeps in memory.
const CHUNK: usize = 1024;

/// Copies bodies out of buffers that live on; small ones behind each other into chunks.
///
/// A chunk is freed, or used again, once all bodies in it are gone.
#[derive(Debug, Default)]
pub(crate) struct SmallBodies {
    chunk: BytesMut,
}

impl SmallBodies {
    pub(crate) const fn memory() -> usize {
        CHUNK
    }

    /// A copy of `body`.
    pub(crate) fn copy(&mut self, body: &[u8]) -> Bytes {
        if body.len() > SMALL {
            return Bytes::copy_from_slice(body);
        }
        if self.chunk.capacity() < body.len() {
            // Takes the whole chunk again if no body is left in it.
            self.chunk.reserve(CHUNK);
        }
        self.chunk.extend_from_slice(body);
        self.chunk.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_keep_their_bytes_while_others_come_and_go() {
        let mut bodies = SmallBodies::default();
        let mut kept = Vec::new();
        for n in 0..5000_usize {
            let body = vec![n as u8; n % 150];
            kept.push((body.clone(), bodies.copy(&body)));
            if n % 3 == 0 {
                kept.swap_remove(n % kept.len());
            }
        }
        assert!(kept.iter().all(|(body, copy)| body == copy));
        assert!(bodies.chunk.capacity() <= SmallBodies::memory());
    }
}
