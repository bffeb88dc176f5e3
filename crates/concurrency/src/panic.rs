use std::any::Any;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A caught panic.
pub struct Panic {
    message: String,
    /// In a mutex only to be `Sync`, as errors have to be.
    payload: Mutex<Box<dyn Any + Send>>,
}

impl Panic {
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Panic {
        let message = match payload.downcast_ref::<&'static str>() {
            Some(text) => (*text).to_owned(),
            None => match payload.downcast_ref::<String>() {
                Some(text) => text.clone(),
                None => "(no text)".to_owned(),
            },
        };
        Panic {
            message,
            payload: Mutex::new(payload),
        }
    }

    /// The text of the panic, where it had one.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the panic carried, for [`std::panic::resume_unwind`].
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.payload
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.message)
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic")
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}
