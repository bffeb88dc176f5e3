//! Calls that wait for a method nobody offers.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bowline_backend::time;
use bowline_concurrency::timeout_at;

use super::{MemoryBroker, closed};
use crate::broker::UnknownMethod;
use crate::offers::Served;
use crate::{CallError, CallOptions, Certainty, Code, Codec, OutCall};

/// Calls that wait at one broker.
const MAX_WAITING: usize = 1024;

impl MemoryBroker {
    /// The method that `call` is for, if it is called as it may be.
    pub(super) async fn find_for(&self, call: &mut OutCall) -> Result<Served, CallError> {
        let served = self.find(&call.method, &call.options).await?;
        let spec = served.method.entry.spec;
        if spec.streams() != call.streaming {
            served.meter.refused(Code::Unsupported);
            let error = CallError::new(Code::Unsupported, Certainty::NeverSent);
            return Err(error.with_message(spec.streams().asked_wrongly()));
        }
        if let Err(error) = fit(call, &served) {
            served.meter.refused(error.code());
            return Err(error);
        }
        cap(&mut call.options, spec.max_duration());
        Ok(served)
    }

    /// The method called `name`, once it is offered.
    pub(super) async fn find(
        &self,
        name: &str,
        options: &CallOptions,
    ) -> Result<Served, CallError> {
        let offers = &self.shared.offers;
        if let Some(served) = offers.now().find(name) {
            return Ok(served.clone());
        }
        let error = |code| CallError::new(code, Certainty::NeverSent).of_method(name);
        if options.unknown == UnknownMethod::FailFast {
            return Err(error(Code::UnknownMethod));
        }
        let Some(_waiting) = Waiting::enter(&self.shared.waiting) else {
            return Err(error(Code::Overloaded));
        };
        let mut changes = offers.changes();
        let found = async {
            loop {
                if let Some(served) = offers.now().find(name) {
                    return served.clone();
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let (mut found, mut over) = (pin!(found), pin!(self.shared.attachment.over()));
        let either = poll_fn(|cx| {
            // Both, for each wakes for itself.
            let over = over.as_mut().poll(cx).map(|()| Err(closed()));
            match found.as_mut().poll(cx) {
                Poll::Ready(served) => Poll::Ready(Ok(served)),
                Poll::Pending => over,
            }
        });
        match timeout_at(options.deadline, either).await {
            Ok(outcome) => outcome,
            Err(_) => Err(error(Code::NoPeer)),
        }
    }
}

/// Brings `call` into a format in which the method takes it for what it is.
fn fit(call: &mut OutCall, served: &Served) -> Result<(), CallError> {
    let entry = &served.method.entry;
    let expected = call.expected;
    let options = &mut call.options;
    let fits = expected.fits(options.codec, entry.spec.schema_hash(), &options.extensions);
    let told = expected.told(fits).or(options.extensions.schema());
    if !fits {
        (options.codec, call.body) = expected.recoded(&call.body, Some(Codec::MessagePack))?;
    }
    match entry.refuses(told, options.codec) {
        true => Err(CallError::new(Code::WrongSchema, Certainty::NeverSent)),
        false => Ok(()),
    }
}

/// Cuts the deadline to what the method allows.
pub(super) fn cap(options: &mut CallOptions, longest: Option<Duration>) {
    if let Some(longest) = longest {
        options.deadline = options.deadline.min(time::now() + longest);
    }
}

/// A place among the calls that wait for a method nobody offers.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    /// `None` if there are enough.
    fn enter(waiting: &'a AtomicUsize) -> Option<Self> {
        let one_more = |now: usize| (now < MAX_WAITING).then_some(now + 1);
        waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()
            .map(|_| Self(waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
