//! What two peers know and nobody else.

use std::fmt;
use std::sync::Arc;

use bowline_backend::entropy;
use zeroize::Zeroizing;

use crate::{Error, ErrorKind};

/// Fewest bytes of a secret.
const LEAST: usize = 16;

/// A secret that two peers share, by which each proves to the other who it is.
///
/// At least 16 bytes, never sent, never shown, and erased from memory when its last clone is dropped.
/// It proves who opened a connection; it does not hide or protect what is sent on it afterwards.
///
/// # Examples
/// ```
/// use bowline_rpc::{ErrorKind, Secret};
///
/// let secret = Secret::new(*b"32 bytes nobody else can guess!!")?;
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert_eq!(Secret::new(*b"too short").unwrap_err().kind(), ErrorKind::WeakSecret);
/// # Ok::<(), bowline_rpc::Error>(())
/// ```
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// The secret of these bytes, which should come from a source of entropy: whoever can guess them
    /// is let in.
    ///
    /// # Errors
    /// [`ErrorKind::WeakSecret`] for fewer than 16 bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let bytes = Zeroizing::new(bytes.into());
        if bytes.len() < LEAST {
            let length = bytes.len();
            return Err(Error::new(
                ErrorKind::WeakSecret,
                format!("a secret of {length} bytes; {LEAST} at least"),
            ));
        }
        Ok(Self(Arc::new(bytes)))
    }

    /// A fresh random secret of 32 bytes.
    ///
    /// # Panics
    /// Where no backend is compiled in, or the system has no entropy to give.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new(vec![0; 32]);
        entropy::fill(&mut bytes);
        Self(Arc::new(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
