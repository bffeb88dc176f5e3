use super::BlockingClient;
use crate::error::Error;

/// What a [`BlockingClient`] receives; made by [`BlockingClient::iter`].
#[derive(Debug)]
#[must_use = "iterators do nothing unless consumed"]
pub struct BlockingMessages<'a, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    pub(super) client: &'a BlockingClient<S, R>,
    pub(super) done: bool,
}

impl<S, R> Iterator for BlockingMessages<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    type Item = Result<R, Error>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.client.recv_blocking().transpose();
        self.done = match &next {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(error)) => self.client.parts.client.ends_with(error),
        };
        next
    }
}
