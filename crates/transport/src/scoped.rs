use std::future::Future;

use crate::error::Error;
use crate::shared_transport::Shared;
use crate::transport::Transport;

/// Connects `transport`, runs `body` with it, and closes it however that ends: with a result or an
/// error it is closed as [`Transport::close`] does; where `body` panics, or this future is dropped, it
/// is aborted. What `body` kept of it, in another task for one, is then closed too.
///
/// # Errors
///
/// Why there is no connection, whereupon `body` does not run; what `body` returns; else what the close
/// does: that of a `body` that succeeded is not lost.
///
/// # Cancel safety
///
/// `body` is dropped, and the connection aborted.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_codec::Lines;
/// use bowline_transport::{Error, MemoryStream, MessageStream, Transport, scoped};
///
/// # Backend::Smol.block_on(async {
/// let (here, there) = MemoryStream::pair();
/// let transport = MessageStream::new(here, Lines::lf().text());
/// scoped(transport, |transport| async move {
///     transport.send(&"hello".to_owned()).await
/// })
/// .await?;
///
/// let mut there = MessageStream::new(there, Lines::lf().text());
/// assert_eq!(there.recv().await?.as_deref(), Some("hello"));
/// assert_eq!(there.recv().await?, None);
/// # Ok::<(), Error>(())
/// # }).unwrap();
/// # }
/// ```
pub async fn scoped<T, F, Fut, R, E>(mut transport: T, body: F) -> Result<R, E>
where
    T: Transport,
    F: FnOnce(Shared<T>) -> Fut,
    Fut: Future<Output = Result<R, E>>,
    E: From<Error>,
{
    transport.connect().await?;
    let open = Open(Shared::new(transport));
    let done = body(open.0.clone()).await;
    let closed = open.0.close().await;
    let done = done?;
    closed?;
    Ok(done)
}

/// Dropped, it aborts what was not closed.
struct Open<T: Transport>(Shared<T>);

impl<T: Transport> Drop for Open<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
