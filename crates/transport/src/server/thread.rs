use std::fmt;
use std::future::Future;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::stream::Address;
use bowline_codec::Codec;
use bowline_concurrency::sync::Once;
use bowline_concurrency::{GroupError, Root, task_group};

use super::bind::Bind;
use super::bound::Served;
use super::builder::StreamServer;
use super::caught::Panicked;
use super::handle::ServerHandle;
use super::handler::ConnectionHandler;
use crate::drain::DrainReport;
use crate::error::{Error, ErrorKind, Operation};

/// A server in a thread of its own, for programs that otherwise have no tasks.
///
/// [`start`](ServerThread::start) returns once the server listens. Dropped, it is stopped with no
/// time for its connections, and waited for. Not for the simulator, whose worlds have one thread.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_codec::Lines;
/// use bowline_transport::{ConnectionHandler, Error, Messages, Peer, Server, ServerThread, Transport};
/// use std::io::{BufRead, BufReader, Write};
/// use std::time::Duration;
///
/// struct Echo;
///
/// impl<T: Transport<Sent = String, Received = String> + 'static> ConnectionHandler<T> for Echo {
///     type Error = Error;
///
///     async fn handle(&self, peer: &Peer<T>, messages: &mut Messages<T>) -> Result<(), Error> {
///         while let Some(line) = messages.recv().await? {
///             peer.send(&line).await?;
///         }
///         Ok(())
///     }
/// }
///
/// let server = Server::tcp(("127.0.0.1", 0)).codec(|| Lines::lf().text());
/// let server = ServerThread::start(Backend::Smol, server, Echo)?;
/// let address = server.handle().local_addrs()[0].as_inet().unwrap();
///
/// let mut stream = std::net::TcpStream::connect(address).unwrap();
/// stream.write_all(b"hello\n").unwrap();
/// let mut line = String::new();
/// BufReader::new(&stream).read_line(&mut line).unwrap();
/// assert_eq!(line, "hello\n");
///
/// let report = server.stop(Duration::from_secs(5))?;
/// assert_eq!(report.finished, 1);
/// # }
/// # Ok::<(), bowline_transport::Error>(())
/// ```
#[must_use = "dropped, the server is stopped"]
pub struct ServerThread {
    handle: ServerHandle,
    /// How long the connections have, once they are to end.
    stopping: Arc<Once<Duration>>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl ServerThread {
    /// Starts a thread that runs `backend`, and waits until the server listens there.
    ///
    /// # Errors
    ///
    /// Why it cannot listen; [`Resource`](ErrorKind::Resource) where the system starts no thread;
    /// [`Unsupported`](ErrorKind::Unsupported) for a simulated backend; [`Panic`](ErrorKind::Panic)
    /// where the backend did.
    pub fn start<B, F, C, H>(
        backend: Backend,
        server: StreamServer<B, F>,
        handler: H,
    ) -> Result<ServerThread, Error>
    where
        B: Bind + 'static,
        F: Fn() -> C + Send + Sync + 'static,
        C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
        H: ConnectionHandler<Served<B::Listener, C>> + 'static,
    {
        if !backend.capabilities().multi_thread {
            return Err(Error::new(Operation::Serve, ErrorKind::Unsupported));
        }
        let (bound_sender, bound) = mpsc::channel();
        let stopping = Arc::new(Once::new());
        let ordered = stopping.clone();
        let serve = async move {
            let bound = server.bind().await?;
            let handle = bound.handle();
            let _ = bound_sender.send(handle.clone()); // who started it waits for it
            stopped_by(&ordered, &handle, bound.serve(handler)).await
        };
        let builder = thread::Builder::new().name("bowline-server".to_owned());
        #[expect(
            clippy::disallowed_methods,
            reason = "a thread of its own is what was asked for; it is joined by whoever has it"
        )]
        let thread =
            builder.spawn(move || Root::new().backend(backend).name("server").block_on(serve));
        let thread = thread.map_err(|error| {
            Error::new(Operation::Serve, ErrorKind::Resource).with_source(error)
        })?;
        match bound.recv() {
            Ok(handle) => Ok(ServerThread {
                handle,
                stopping,
                thread: Some(thread),
            }),
            // It ended without having been bound, and says why.
            Err(_) => Err(match joined(thread) {
                Err(error) => error,
                Ok(()) => Error::new(Operation::Bind, ErrorKind::Closed),
            }),
        }
    }

    /// What knows the server's addresses and connections.
    pub fn handle(&self) -> &ServerHandle {
        &self.handle
    }

    /// Where the server listens, with the ports that the system chose.
    pub fn local_addrs(&self) -> &[Address] {
        self.handle.local_addrs()
    }

    /// Drains the server as [`ServerHandle::drain`] does, and waits until its thread has ended.
    ///
    /// # Errors
    ///
    /// What ended the server before; [`Panic`](ErrorKind::Panic) where that was a panic, whose text
    /// is the source.
    pub fn stop(mut self, timeout: Duration) -> Result<DrainReport, Error> {
        let _ = self.stopping.set(timeout);
        if let Some(thread) = self.thread.take() {
            joined(thread)?;
        }
        Ok(self.handle.report())
    }
}

impl Drop for ServerThread {
    fn drop(&mut self) {
        let _ = self.stopping.set(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            let _ = joined(thread); // nobody is left to be told
        }
    }
}

impl fmt::Debug for ServerThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerThread")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

fn joined(thread: JoinHandle<Result<(), Error>>) -> Result<(), Error> {
    thread.join().unwrap_or_else(|payload| {
        Err(Error::new(Operation::Serve, ErrorKind::Panic).with_source(Panicked::new(payload)))
    })
}

/// Serves, and drains once that was ordered.
async fn stopped_by(
    ordered: &Arc<Once<Duration>>,
    handle: &ServerHandle,
    serve: impl Future<Output = Result<(), Error>> + Send,
) -> Result<(), Error> {
    let served: Result<_, GroupError<Error>> = task_group(|group| {
        let (ordered, handle) = (ordered.clone(), handle.clone());
        drop(group.named("drain").spawn_ok(async move {
            let timeout = *ordered.wait().await;
            handle.drain(timeout).await
        }));
        async move {
            let served = serve.await;
            group.cancel("the server has ended");
            Ok(served)
        }
    })
    .await;
    match served {
        Ok(served) => served,
        Err(_) => Ok(()), // cancelled by nobody but itself, after its body was done
    }
}
