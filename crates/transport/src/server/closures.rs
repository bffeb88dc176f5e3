//! Handlers made of closures. Their arguments go by value: the future of a closure that borrows
//! them could not be said to be `Send`.

use std::fmt;
use std::future::Future;

use super::handler::ConnectionHandler;
use super::messages::Messages;
use super::peer::Peer;
use crate::each::EachError;
use crate::transport::Transport;

/// A closure for each connection.
pub(super) struct ForConnection<F>(pub(super) F);

impl<T, F, Fut, E> ConnectionHandler<T> for ForConnection<F>
where
    T: Transport + 'static,
    F: Fn(Peer<T>, Messages<T>) -> Fut + Send + Sync,
    Fut: Future<Output = Result<(), E>> + Send,
    E: fmt::Display + Send,
{
    type Error = E;

    fn handle(
        &self,
        peer: &Peer<T>,
        messages: &mut Messages<T>,
    ) -> impl Future<Output = Result<(), E>> + Send {
        (self.0)(peer.clone(), messages.again())
    }
}

/// A closure for each message.
pub(super) struct ForMessage<F>(pub(super) F);

impl<T, F, Fut, E> ConnectionHandler<T> for ForMessage<F>
where
    T: Transport + 'static,
    F: Fn(Peer<T>, T::Received) -> Fut + Send + Sync,
    Fut: Future<Output = Result<(), E>> + Send,
    E: fmt::Display + Send,
{
    type Error = EachError<E>;

    async fn handle(&self, peer: &Peer<T>, messages: &mut Messages<T>) -> Result<(), EachError<E>> {
        loop {
            let message = match messages.recv().await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                Err(error) => {
                    messages.note_undecoded();
                    return Err(EachError::Recv(error));
                }
            };
            let handled = (self.0)(peer.clone(), message).await;
            handled.map_err(EachError::Handler)?;
        }
    }
}
