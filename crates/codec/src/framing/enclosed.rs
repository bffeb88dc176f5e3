//! Framings that put something before and after any payload, whatever is in it.

use crate::{EncodeError, OutputBatch};

/// What such a framing writes of its own.
pub(super) trait Enclose {
    /// Writes what comes before a payload of `len` bytes, or nothing if there can be no such frame.
    fn open(&self, len: usize, out: &mut OutputBatch) -> Result<(), EncodeError>;

    /// Writes what comes after it.
    #[inline]
    fn close(&self, _: &mut OutputBatch) {}
}

/// Appends the frame whose payload is the `len` bytes that `payload` writes.
#[inline]
pub(super) fn put(
    framing: &impl Enclose,
    len: usize,
    out: &mut OutputBatch,
    payload: impl FnOnce(&mut OutputBatch),
) -> Result<(), EncodeError> {
    framing.open(len, out)?;
    payload(out);
    framing.close(out);
    out.frame_done();
    Ok(())
}

/// The sending half of a framing that is [`Enclose`]: a payload is copied or shared, in one or two parts.
macro_rules! encloses {
    ($framing:ident) => {
        impl crate::Encode<[u8]> for $framing {
            fn encode(
                &mut self,
                payload: &[u8],
                out: &mut crate::OutputBatch,
            ) -> Result<(), crate::EncodeError> {
                let len = payload.len();
                super::enclosed::put(self, len, out, |out| out.put_slice(payload))
            }
        }

        impl crate::Encode<bytes::Bytes> for $framing {
            fn encode(
                &mut self,
                payload: &bytes::Bytes,
                out: &mut crate::OutputBatch,
            ) -> Result<(), crate::EncodeError> {
                let len = payload.len();
                super::enclosed::put(self, len, out, |out| out.put_shared(payload))
            }
        }

        impl crate::Framing for $framing {
            fn encode_parts(
                &mut self,
                start: &[u8],
                rest: &bytes::Bytes,
                out: &mut crate::OutputBatch,
            ) -> Result<(), crate::EncodeError> {
                let len = start.len().saturating_add(rest.len());
                super::enclosed::put(self, len, out, |out| {
                    out.put_slice(start);
                    out.put_shared(rest);
                })
            }
        }
    };
}

pub(super) use encloses;
