//! Calls whose arguments and reply move as they are.

use std::any::TypeId;
use std::sync::Arc;

use bytes::Bytes;

use super::MemoryBroker;
use super::begun::{Begun, reply_of};
use super::find::cap;
use crate::broker::typed;
use crate::call::run_call;
use crate::executor::{CallRef, JobBody, JobEnd, MethodKey, ReplySink, Stop, discard};
use crate::local_answer::{Left, LocalAnswer};
use crate::meter::Meter;
use crate::{Call, CallError, CallOptions, Certainty, Code, Codec, Context};

/// What a handler returns.
type Returned<C> = Result<<C as Call>::Reply, <C as Call>::Error>;

impl MemoryBroker {
    /// Has the executor answer a call by a value; `meter` is that of its method.
    pub(super) async fn carry_value<C: Call>(
        &self,
        call: C,
        options: CallOptions,
        meter: Arc<Meter>,
    ) -> Result<C::Reply, CallError<C::Error>> {
        // No future has the call and the job in it: what it has room for is moved with it.
        match self.begin_value(call, options, meter) {
            Ok(begun) => returned::<C>(begun.end().await),
            Err(error) => returned::<C>(Err(error)),
        }
    }

    fn begin_value<C: Call>(
        &self,
        call: C,
        mut options: CallOptions,
        meter: Arc<Meter>,
    ) -> Result<Begun<Returned<C>>, CallError> {
        cap(&mut options, C::SPEC.max_duration());
        let answer = LocalAnswer::new();
        let result = answer.clone();
        let body = move |context: Context| JobBody::Local {
            trace: context.traceparent().map(Arc::from),
            until: context.until(),
            running: run_call(call, context, move |returned: Returned<C>| {
                let end = match &returned {
                    Ok(_) => JobEnd::Reply(Bytes::new()),
                    Err(_) => JobEnd::Application(Bytes::new()),
                };
                result.leave(returned);
                end
            }),
        };
        let limit = C::SPEC.max_concurrency();
        let limit = limit.map(|most| (MethodKey::Call(TypeId::of::<C>()), most as usize));
        let how = (Stop::of(C::SPEC), limit);
        let sink: (CallRef, Arc<dyn ReplySink>) = (self.next_call(), answer.clone());
        let job = self.job(body, how, meter, options, sink, None)?;
        Ok(self.begin(job, answer))
    }
}

/// What its caller gets.
fn returned<C: Call>(
    ended: Result<Left<Returned<C>>, CallError>,
) -> Result<C::Reply, CallError<C::Error>> {
    let error = match ended {
        Ok((JobEnd::Reply(_), Some(Ok(reply)))) => return Ok(reply),
        Ok((JobEnd::Application(_), Some(Err(error)))) => {
            return Err(CallError::from_application(error));
        }
        Ok((end, unwanted)) => {
            discard(unwanted);
            match reply_of(Codec::Postcard, end) {
                Ok(_) => CallError::new(Code::Internal, Certainty::MaybeExecuted),
                Err(error) => error,
            }
        }
        Err(error) => error,
    };
    typed::<C>(Codec::Postcard, Err(error))
}
