//! Calls that handlers in children make: through the broker of this program.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bowline_backend::time::Instant;

use super::items::pass_on;
use super::note::without_hash;
use crate::method::{Arguments, ErasedHandler, HandlerEnd, HandlerFuture};
use crate::{
    Broker, CallError, CallOptions, Certainty, Code, Context, MethodDef, MethodOffer, MethodSpec,
    MethodTable, OutCall, Registry, Retry, Streaming, TcpBroker, UnknownMethod, brokers,
};

/// Methods that a child is told of.
pub(super) const MOST: u32 = 65_536;

/// What a child may call: what calls of the broker with this number find.
pub(super) struct Relays {
    origin: u64,
    project: Arc<str>,
    /// Methods that stay are the same ones, so that the child is told of the others alone.
    known: BTreeMap<Arc<str>, (MethodOffer, MethodDef)>,
}

impl Relays {
    pub(super) fn new(origin: u64, project: &str) -> Self {
        Self {
            origin,
            project: project.into(),
            known: BTreeMap::new(),
        }
    }

    /// The methods of `table`, each passed on to the broker.
    pub(super) fn registry(&mut self, table: &MethodTable) -> Registry {
        let registry = Registry::new(self.project.clone());
        let mut known = std::mem::take(&mut self.known);
        for (name, offer) in table.iter().take(MOST as usize) {
            let method = match known.remove(name) {
                Some((before, method)) if before == *offer => method,
                _ => self.method(name, offer),
            };
            // What a peer offers under a name that is none, it offers in vain.
            if registry.register_all([method.clone()]).is_ok() {
                self.known.insert(name.clone(), (offer.clone(), method));
            }
        }
        registry
    }

    fn method(&self, name: &Arc<str>, offer: &MethodOffer) -> MethodDef {
        let mut spec = MethodSpec::new()
            .streaming(offer.streaming)
            .schema(offer.schema);
        if offer.idempotent {
            spec = spec.idempotent();
        }
        let relay = Relay {
            method: name.clone(),
            origin: self.origin,
            streaming: offer.streaming,
            named: offer.named_arguments,
        };
        MethodDef::handled(name.clone(), spec, relay)
    }

    /// Tells `child` of every change of `table`, until one of the brokers has ended.
    pub(super) async fn follow(mut self, mut table: MethodTable, child: TcpBroker) {
        let mut over = pin!(child.closed());
        loop {
            let goes_on = {
                let mut changed = pin!(table.changed());
                poll_fn(|cx| match over.as_mut().poll(cx) {
                    Poll::Ready(_) => Poll::Ready(false),
                    Poll::Pending => changed.as_mut().poll(cx),
                })
                .await
            };
            if !goes_on {
                return;
            }
            child.offer_only(&self.registry(&table));
        }
    }
}

/// Passes calls of one method on.
struct Relay {
    method: Arc<str>,
    origin: u64,
    streaming: Streaming,
    named: bool,
}

impl ErasedHandler for Relay {
    fn begin(
        &self,
        arguments: Arguments<'_>,
        context: Context,
    ) -> Result<HandlerFuture, HandlerEnd> {
        let Some(broker) = brokers::find(self.origin) else {
            return Err(HandlerEnd::Failed {
                code: Code::Cancelled,
                certainty: Certainty::Refused,
                message: "the broker has ended".into(),
            });
        };
        let mut options = CallOptions::new(arguments.codec);
        options.deadline = context.deadline().unwrap_or(Instant::NEVER);
        // It is the call of the handler in the child, and nested no deeper.
        (options.hops, options.priority) = (context.hops(), context.priority());
        (options.extensions, options.hash) = without_hash(context.extensions());
        // The child waits for methods, and makes calls again, by what its handler said.
        (options.unknown, options.retry) = (UnknownMethod::FailFast, Retry::never());
        let mut call = OutCall::new(self.method.clone(), arguments.body.clone(), options);
        (call.named, call.streaming) = (arguments.named, self.streaming);
        let streams = context.streams().cloned();
        let notifies = context.is_notification();
        Ok(Box::pin(async move {
            let outcome = match streams {
                Some(streams) => match broker.open(call).await {
                    Ok(opened) => pass_on(opened, &streams).await,
                    Err(error) => Err(error),
                },
                None if notifies => {
                    let sent = broker.notify_raw(call).await;
                    return sent.map_or_else(end_of, |()| HandlerEnd::Reply(Default::default()));
                }
                None => broker.submit(call).await,
            };
            outcome.map_or_else(end_of, |reply| HandlerEnd::Reply(reply.body))
        }))
    }

    fn knows_names(&self) -> bool {
        self.named
    }
}

/// How a call that was passed on ends for the child: it says as much of what ran.
fn end_of(error: CallError) -> HandlerEnd {
    if let Some(body) = error.application() {
        return HandlerEnd::Application(body.bytes.clone());
    }
    HandlerEnd::Failed {
        code: match error.code() {
            // There was somebody when the child chose this method.
            Code::NoPeer => Code::UnknownMethod,
            code => code,
        },
        certainty: match error.certainty() {
            Certainty::NeverSent => Certainty::Refused,
            certainty => certainty,
        },
        message: error.message().to_owned(),
    }
}
