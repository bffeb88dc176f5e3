//! Where a framing is in its stream, and whether it gave up there.

use crate::{DecodeError, DecodeErrorKind};

/// The position of the present frame, and the error that ended the stream, if one did.
// Invariants
// P1 `position` is the stream position of the first byte of the present frame, including whatever
//    is skipped in front of it.
// P2 Once `failed` is set, nothing changes any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    position: u64,
    failed: Option<DecodeError>,
}

impl Place {
    /// The fatal error there was, again.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Ends the present frame, of `whole` bytes.
    pub(crate) fn finish(&mut self, whole: usize) {
        self.position = self.position.saturating_add(whole as u64);
    }

    /// An error of the present frame that used up nothing.
    pub(crate) fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError::new(kind).with_offset(self.position)
    }

    /// Ends the present frame, of `whole` bytes, all of which the error uses up.
    pub(crate) fn lose(&mut self, kind: DecodeErrorKind, whole: usize) -> DecodeError {
        let error = self.error(kind).with_skipped(whole as u64).recoverable();
        self.finish(whole);
        error
    }

    /// Gives up at the present frame, of which `used` bytes are used up.
    pub(crate) fn fail(&mut self, kind: DecodeErrorKind, used: usize) -> DecodeError {
        let error = self.error(kind).with_skipped(used as u64).fatal();
        self.failed = Some(error.clone());
        error
    }

    /// Gives up because the input ended after `have` bytes of a frame that takes `more`, or more.
    pub(crate) fn truncated(&mut self, have: usize, more: usize) -> DecodeError {
        let need = have.saturating_add(more);
        self.fail(DecodeErrorKind::Truncated { have, need }, have)
    }
}
