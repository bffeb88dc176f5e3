//! Calls with items, at a peer.

use bowline_backend::time;
use bowline_concurrency::sleep;

use super::routes::{Destination, Found, Key, Wish};
use super::{Sent, TcpBroker, here, told, watched};
use crate::broker::without_key;
use crate::connection::{CallPipes, Flow};
use crate::retry::Attempts;
use crate::span;
use crate::stream::Pipe;
use crate::{CallError, OutCall, RawStream, Reply};

impl TcpBroker {
    /// Begins a call at a peer that offers its method, and at another one where it was not sent.
    pub(super) async fn open_call(&self, call: OutCall) -> Result<RawStream, CallError> {
        without_key(&call.options)?;
        if let Some(error) = self.refuses(&call.options) {
            return Err(error);
        }
        let key = Key::Name(&call.method);
        let sent = Sent::of(&call, call.streaming.kind());
        let mut attempts = Attempts::new(call.options.retry);
        let mut asked = Vec::new();
        loop {
            let wish = Wish {
                hash: call.options.hash,
                not: &asked,
                firm: false,
                lasts: true,
            };
            let found = match self.shared.routes.pick(key, wish) {
                Some(found) => Ok(found),
                None => {
                    self.wait_for_peer(key, wish, call.body.len(), &call.options)
                        .await
                }
            };
            let at = found.as_ref().ok().map(Found::at);
            let opened = match found {
                Ok(found) => self.open_at(found, &call, sent).await,
                Err(error) => Err(error),
            };
            let error = match opened {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            if self.shared.routes.gives_up(call.options.hops) {
                attempts.give_up();
            }
            attempts.others(self.failed_at(key, at, &error, &mut asked));
            attempts.at_home(at.is_some_and(|at| at.is_here));
            let left = call.options.deadline.saturating_duration_since(time::now());
            let pause = attempts.failed(error, false, left, &self.shared.budget)?;
            sleep(pause).await;
        }
    }

    async fn open_at(
        &self,
        found: Found,
        call: &OutCall,
        sent: Sent,
    ) -> Result<RawStream, CallError> {
        let (body, options) = (call.body.clone(), &call.options);
        let (watching, connection) = (found.watching, found.connection);
        let routes = self.shared.routes.clone();
        let mailbox = match &found.to {
            Destination::Peer(mailbox) => mailbox,
            Destination::Here(broker) => {
                let mut here = here::out_call(&call.method, body, sent, options);
                here.streaming = call.streaming;
                return match Box::pin(broker.begin_items(here)).await {
                    Ok(stream) => Ok(stream.map_outcome(|outcome| {
                        Box::pin(async move { told(&routes, connection, watching, outcome.await) })
                    })),
                    Err(error) => watched(watching, Err(self.shared.refused_here(error))),
                };
            }
        };
        let pipes = CallPipes::of(sent.kind, true).unwrap_or_default();
        let ours = pipes.share();
        let flow = Box::new(Flow::new(pipes));
        let at = (mailbox, found.method, found.schema);
        let (call, codec) = match self.send(at, body, sent, options, Some(flow)) {
            Ok(call) => call,
            Err(error) => return watched(watching, Err(error)),
        };
        span::goes_to(mailbox.peer(), None);
        let longest = mailbox.longest();
        let outcome = Box::pin(async move {
            let outcome = told(&routes, connection, watching, call.await);
            outcome.map(|body| Reply::new(codec, body))
        });
        let sends = ours.to_peer.is_some();
        let to_peer = ours.to_peer.unwrap_or_else(|| Pipe::new(0));
        let from_peer = ours.from_peer.unwrap_or_else(|| Pipe::new(0));
        Ok(RawStream::new(
            (to_peer, sends),
            from_peer,
            outcome,
            (codec, longest),
        ))
    }
}
