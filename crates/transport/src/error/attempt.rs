use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use bowline_backend::stream::Address;

/// One attempt to make a connection, which failed; see [`Error::attempts`](crate::Error::attempts).
#[derive(Clone, Debug)]
pub struct Attempt {
    address: Address,
    error: Arc<io::Error>,
}

impl Attempt {
    /// The attempt to reach `address`.
    pub fn new(address: impl Into<Address>, error: io::Error) -> Self {
        Attempt {
            address: address.into(),
            error: Arc::new(error),
        }
    }

    /// Whom it was to reach.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Why it failed.
    pub fn error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.error)
    }
}

impl Error for Attempt {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.error)
    }
}
