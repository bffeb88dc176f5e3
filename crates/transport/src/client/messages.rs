use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bowline_concurrency::sync::Entered;
use futures_core::Stream;

use super::Client;
use super::line::{Source, User, Waiting};
use crate::error::Error;

/// What a client receives, as a [`Stream`]; made by [`Client::messages`].
///
/// From its first poll to its end or drop it is the one who receives.
#[must_use = "streams do nothing unless polled"]
pub struct ClientMessages<'a, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    client: &'a Client<S, R>,
    receiving: Option<(Entered<'a>, User<'a, S, R>, Waiting)>,
    done: bool,
}

impl<'a, S, R> ClientMessages<'a, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    pub(super) fn new(client: &'a Client<S, R>) -> Self {
        ClientMessages {
            client,
            receiving: None,
            done: false,
        }
    }

    fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<R>, Error>> {
        let line = self.client.line();
        if self.receiving.is_none() {
            let entered = self.client.enter_receiving()?;
            self.receiving = Some((entered, line.enter(), line.waiting()));
        }
        match &mut self.receiving {
            Some((_, _, waiting)) => line.poll_recv(Source::Any, waiting, cx),
            None => Poll::Pending,
        }
    }
}

impl<S, R> Stream for ClientMessages<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    type Item = Result<R, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        let next = ready!(this.poll_received(cx)).transpose();
        this.done = match &next {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(error)) => this.client.ends_with(error),
        };
        if this.done {
            this.receiving = None;
        }
        Poll::Ready(next)
    }
}

impl<S, R> Client<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// Whether nothing can follow this error of a receiver.
    pub(crate) fn ends_with(&self, error: &Error) -> bool {
        self.line().ends_with(error)
    }
}

impl<S, R> fmt::Debug for ClientMessages<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientMessages")
            .field("client", self.client)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
