//! Frames as they are.

use bytes::{Bytes, BytesMut};

use crate::{DecodeError, EncodeError, MessageCodec, OutputBatch};

/// The message codec that changes nothing: a message is the [`Bytes`] of its frame.
///
/// Neither direction copies a payload of 4 KiB or more.
///
/// # Examples
///
/// ```
/// use bowline_codec::{MessageCodec, Raw};
/// use bytes::Bytes;
///
/// let frame = Bytes::from_static(b"as it came");
/// assert_eq!(Raw::new().decode(&frame)?, frame);
/// # Ok::<(), bowline_codec::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Raw {
    /// The codec.
    pub fn new() -> Self {
        Self
    }
}

impl MessageCodec for Raw {
    type Sent = Bytes;
    type Received = Bytes;

    fn encode(&self, message: &Bytes, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.extend_from_slice(message);
        Ok(())
    }

    fn decode(&self, frame: &Bytes) -> Result<Bytes, DecodeError> {
        Ok(frame.clone())
    }

    fn decode_owned(&self, frame: Bytes) -> Result<Bytes, DecodeError> {
        Ok(frame)
    }

    fn encoded(&self, message: &Bytes) -> Option<Bytes> {
        // A small one is copied, and whoever else holds it need not be counted.
        (message.len() >= OutputBatch::KEEP).then(|| message.clone())
    }
}
