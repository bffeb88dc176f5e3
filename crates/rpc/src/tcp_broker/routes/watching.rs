//! Calls whose ends the table hears of.

use std::sync::Arc;

use bowline_backend::time;

use super::Routes;
use crate::tcp_broker::table::{Answer, Watch};
use crate::{CallError, Certainty, Code};

/// A call whose end the table wants to hear of; dropped, it has ended without an answer.
pub(in crate::tcp_broker) struct Watching {
    routes: Arc<Routes>,
    watch: Option<Watch>,
}

impl Watching {
    pub(super) fn new(routes: &Arc<Routes>, watch: Watch) -> Self {
        Self {
            routes: routes.clone(),
            watch: Some(watch),
        }
    }

    /// The call came to `outcome`.
    pub(in crate::tcp_broker) fn ended<T>(mut self, outcome: &Result<T, CallError>) {
        self.end(match outcome {
            Ok(_) => Answer::Ran,
            Err(error) if error.certainty() == Certainty::Executed => Answer::Ran,
            Err(error) if error.has_no_room() => Answer::Full,
            Err(error) if error.certainty() == Certainty::Refused => match error.code() {
                // It did not come to begin it.
                Code::DeadlineExceeded => Answer::Full,
                _ => Answer::Refused,
            },
            // One that ran out of time waited for the peer to take it.
            Err(error) if error.code() == Code::DeadlineExceeded => Answer::Missing,
            Err(error) if error.certainty() == Certainty::NeverSent => Answer::NeverAsked,
            Err(_) => Answer::Missing,
        });
    }

    /// There is no call after all.
    pub(in crate::tcp_broker) fn unused(mut self) {
        self.end(Answer::NeverAsked);
    }

    fn end(&mut self, answer: Answer) {
        if let Some(watch) = self.watch.take() {
            let now = time::now();
            self.routes.state().table.settled(watch, answer, now);
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.end(Answer::GivenUp);
    }
}
