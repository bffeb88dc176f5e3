//! The key of a signature.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::base64::Alphabet;
use crate::{DecodeError, DecodeErrorKind};

/// The 32 bytes that [`Base64::signed`](crate::Base64::signed) signs with.
///
/// Erased from memory when dropped, and never shown.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of these bytes, which should come from a source of entropy: whoever can guess them
    /// can sign.
    pub const fn from_entropy(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads a key written as 44 characters of padded URL-safe base64.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind::Integrity`] for anything else.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        let mut decoded = Alphabet::UrlSafe
            .decode(text.as_bytes())
            .unwrap_or_default();
        let key = <[u8; 32]>::try_from(&decoded[..]).map(Self);
        decoded.zeroize();
        key.map_err(|_| {
            DecodeError::new(DecodeErrorKind::Integrity)
                .with_message("a key is 44 characters of padded URL-safe base64")
        })
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}
