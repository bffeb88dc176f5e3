//! What of a connection's budget the program has to give back.

use std::fmt;
use std::sync::Arc;

use super::{Mail, Mailbox};
use crate::proto::CallId;

/// Long arguments of a call of the peer that no handler has got yet; dropped, it says that they were taken.
pub(crate) struct Untaken {
    mailbox: Arc<Mailbox>,
    call: CallId,
    charge: u64,
}

impl Untaken {
    pub(crate) fn new(mailbox: &Arc<Mailbox>, call: CallId, charge: u64) -> Self {
        Self {
            mailbox: mailbox.clone(),
            call,
            charge,
        }
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        let (call, amount) = (self.call, self.charge);
        self.mailbox.post(Mail::Took { call, amount });
    }
}

impl fmt::Debug for Untaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Untaken").field(&self.call).finish()
    }
}
