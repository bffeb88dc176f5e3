//! LZ4 blocks.

use bytes::{BufMut, BytesMut};
use lz4_flex::block::{DecompressError, compress_into, decompress_into, get_maximum_output_size};

use crate::{
    Compress, DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Expansion,
    ExpansionLimits,
};

/// Compresses a message as one LZ4 block behind its size in four bytes, least significant first.
///
/// The declared size is compared with the limits before anything is allocated, and no more room is
/// made at once than 16 KiB or twice what came. What would be compressed further than the limits let
/// it be expanded again is not compressed.
///
/// # Examples
///
/// ```
/// use bowline_codec::{Lz4, MessageCodec, Raw};
/// use bytes::{Bytes, BytesMut};
///
/// let codec = Raw::new().wrap(Lz4::new());
/// let mut frame = BytesMut::new();
/// codec.encode(&Bytes::from(vec![b'x'; 10_000]), &mut frame)?;
/// assert!(frame.len() < 100);
/// assert_eq!(codec.decode(&frame.freeze())?.len(), 10_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Lz4 {
    limits: ExpansionLimits,
}

const FIRST_ROOM: usize = 16 * 1024;

impl Lz4 {
    /// With the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how much may come out.
    pub fn within(mut self, limits: ExpansionLimits) -> Self {
        self.limits = limits;
        self
    }
}

/// Appends a block of which nothing is compressed: a length, of which a byte of 255 says that it goes
/// on, and the data.
fn put_literals(data: &[u8], out: &mut BytesMut) {
    const IN_TOKEN: usize = 15;
    out.put_u8((data.len().min(IN_TOKEN) as u8) << 4);
    if let Some(rest) = data.len().checked_sub(IN_TOKEN) {
        out.put_bytes(u8::MAX, rest / 255);
        out.put_u8((rest % 255) as u8);
    }
    out.extend_from_slice(data);
}

impl Compress for Lz4 {
    fn compress(&self, data: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        let (limit, actual) = (u32::MAX as usize, data.len());
        let size = u32::try_from(actual)
            .map_err(|_| EncodeError::new(EncodeErrorKind::TooLong { limit, actual }))?;
        let before = out.len();
        out.extend_from_slice(&size.to_le_bytes());
        let start = out.len();
        out.resize(start + get_maximum_output_size(actual), 0);
        let written = compress_into(data, &mut out[start..])
            .map_err(|error| EncodeError::new(EncodeErrorKind::Value).with_source(error))?;
        out.truncate(start + written);
        if self.limits.check(actual, out.len() - before).is_err() {
            out.truncate(start);
            put_literals(data, out);
        }
        Ok(())
    }

    fn expand(&self, data: &[u8], out: &mut Expansion) -> Result<(), DecodeError> {
        let corrupt = || DecodeError::new(DecodeErrorKind::Inflate);
        let (size, block) = data.split_first_chunk().ok_or_else(corrupt)?;
        let size = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| out.exceeded())?;
        if size > out.limit() {
            return Err(out.exceeded());
        }
        // Room for what is declared only after as much has really come out: a block that is too
        // large for its room is begun again with twice as much, so the work doubles at most.
        let mut room = size.min(FIRST_ROOM.max(2 * data.len()));
        loop {
            match out.fill(room, |room| decompress_into(block, room))? {
                Ok(()) if out.len() == size => return Ok(()),
                Err(DecompressError::OutputTooSmall { .. }) if room < size => {
                    room = size.min(2 * room);
                }
                Ok(()) | Err(_) => return Err(corrupt()),
            }
        }
    }

    fn expansion_limits(&self) -> ExpansionLimits {
        self.limits
    }
}
