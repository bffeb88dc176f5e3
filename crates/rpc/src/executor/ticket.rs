//! How a job that was given to an executor is taken back.

use std::fmt;
use std::sync::Arc;

use super::places::Places;
use super::queue::Spot;
use crate::context::Cancel;

/// Cancels a job that waits or runs.
pub(crate) struct JobHandle {
    cancel: Cancel,
    ticket: Ticket,
}

impl JobHandle {
    pub(super) fn new(cancel: Cancel, ticket: Ticket) -> Self {
        Self { cancel, ticket }
    }

    /// Of a job that was answered before any executor had it.
    pub(crate) fn of_none() -> Self {
        Self::new(Cancel::Never, Ticket::new())
    }

    /// Cancels it. True if it waited and will never run.
    pub(crate) fn request(&self, reason: &'static str) -> bool {
        self.cancel.request(reason);
        self.withdraw()
    }

    /// Takes it back if it waits; what runs goes on. True if it waited and will never run.
    pub(crate) fn withdraw(&self) -> bool {
        self.ticket.withdraw()
    }
}

/// A job an executor took.
#[derive(Clone, Default)]
pub struct Ticket {
    waiting: Option<(Arc<Places>, Spot)>,
}

impl Ticket {
    /// Of a job that runs, or that the executor looks at before it starts it.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn waiting(places: Arc<Places>, spot: Spot) -> Self {
        Self {
            waiting: Some((places, spot)),
        }
    }

    fn withdraw(&self) -> bool {
        self.waiting
            .as_ref()
            .is_some_and(|(places, spot)| places.withdraw(*spot))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spot = self.waiting.as_ref().map(|(_, spot)| spot);
        f.debug_struct("Ticket").field("waiting", &spot).finish()
    }
}
