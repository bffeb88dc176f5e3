//! The trait of everything that appends items to an output batch.

use crate::{EncodeError, OutputBatch};

/// Appends items to an [`OutputBatch`].
pub trait Encode<T: ?Sized> {
    /// Appends the whole of `item`, closed by [`OutputBatch::frame_done`], or nothing.
    ///
    /// It takes a reference, so a failed send still has its message.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the item cannot be expressed. The batch is then as it was before.
    fn encode(&mut self, item: &T, out: &mut OutputBatch) -> Result<(), EncodeError>;
}
