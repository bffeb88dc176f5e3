use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::stream::Address;
use bowline_codec::{Codec, MessageCodec};
use bowline_concurrency::sync::Once;
use bowline_concurrency::{GroupError, PortalError, Root, in_poll, task_group};

use super::bind::Bind;
use super::bound::Served;
use super::builder::StreamServer;
use super::caught::Panicked;
use super::handle::ServerHandle;
use super::handler::ConnectionHandler;
use crate::drain::DrainReport;
use crate::error::{Error, ErrorKind, Operation};
use crate::packet_server::{BindPackets, PacketHandler, PacketServer, PacketServerHandle};

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
pub struct ServerThread<H = ServerHandle> {
    handle: H,
    /// What became of who was served when it was drained.
    report: fn(&H) -> DrainReport,
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
        let serve = |bound_to: Sender<ServerHandle>, ordered: Arc<Once<Duration>>| async move {
            let bound = server.bind().await?;
            let handle = bound.handle();
            let _ = bound_to.send(handle.clone()); // who started it waits for it
            let drain = move |timeout| async move { handle.drain(timeout).await };
            stopped_by(ordered, drain, bound.serve(handler)).await
        };
        Self::run(backend, serve, ServerHandle::report)
    }

    /// Where the server listens, with the ports that the system chose.
    pub fn local_addrs(&self) -> &[Address] {
        self.handle.local_addrs()
    }
}

impl ServerThread<PacketServerHandle> {
    /// As [`start`](ServerThread::start), for a server of packets.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn start_packets<B, C, H>(
        backend: Backend,
        server: PacketServer<B, C>,
        handler: H,
    ) -> Result<Self, Error>
    where
        B: BindPackets + 'static,
        C: MessageCodec<Sent: Sync, Received: Send> + 'static,
        H: PacketHandler<B::Socket, C> + 'static,
    {
        let serve = |bound_to: Sender<PacketServerHandle>, ordered: Arc<Once<Duration>>| async move {
            let bound = server.bind().await?;
            let handle = bound.handle();
            let _ = bound_to.send(handle.clone()); // who started it waits for it
            let drain = move |timeout| async move { handle.drain(timeout).await };
            stopped_by(ordered, drain, bound.serve(handler)).await
        };
        Self::run(backend, serve, PacketServerHandle::report)
    }

    /// Where the server receives, with the port that the system chose.
    pub fn local_addrs(&self) -> &[Address] {
        self.handle.local_addrs()
    }
}

impl<H: Send + 'static> ServerThread<H> {
    /// Runs `serve`, which tells its handle once it is bound, and is to drain once that was ordered.
    fn run<F>(
        backend: Backend,
        serve: impl FnOnce(Sender<H>, Arc<Once<Duration>>) -> F,
        report: fn(&H) -> DrainReport,
    ) -> Result<Self, Error>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        if !backend.capabilities().multi_thread {
            return Err(Error::new(Operation::Serve, ErrorKind::Unsupported));
        }
        let (bound_to, bound) = mpsc::channel();
        let stopping = Arc::new(Once::new());
        let serve = serve(bound_to, stopping.clone());
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
                report,
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
}

impl<H> ServerThread<H> {
    /// What knows the server's addresses, and whom it serves.
    pub fn handle(&self) -> &H {
        &self.handle
    }

    /// Drains the server as [`ServerHandle::drain`] does, and waits until its thread has ended.
    ///
    /// # Errors
    ///
    /// What ended the server before; [`Panic`](ErrorKind::Panic) where that was a panic, whose text
    /// is the source. In a task, which the server may wait for, it is
    /// [`Unsupported`](ErrorKind::Unsupported): the server drains, and nobody waits for its thread.
    pub fn stop(mut self, timeout: Duration) -> Result<DrainReport, Error> {
        let _ = self.stopping.set(timeout);
        if in_poll() {
            let error = Error::new(Operation::Serve, ErrorKind::Unsupported);
            return Err(error.with_source(PortalError::WouldDeadlock));
        }
        if let Some(thread) = self.thread.take() {
            joined(thread)?;
        }
        Ok((self.report)(&self.handle))
    }
}

impl<H> Drop for ServerThread<H> {
    fn drop(&mut self) {
        let _ = self.stopping.set(Duration::ZERO);
        // In a task, which the server may wait for, its thread ends by itself.
        if let Some(thread) = self.thread.take()
            && !in_poll()
        {
            let _ = joined(thread); // nobody is left to be told
        }
    }
}

impl<H: fmt::Debug> fmt::Debug for ServerThread<H> {
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
async fn stopped_by<D>(
    ordered: Arc<Once<Duration>>,
    drain: impl FnOnce(Duration) -> D + Send + 'static,
    serve: impl Future<Output = Result<(), Error>> + Send,
) -> Result<(), Error>
where
    D: Future<Output = DrainReport> + Send,
{
    let served: Result<_, GroupError<Error>> = task_group(|group| {
        drop(group.named("drain").spawn_ok(async move {
            let timeout = *ordered.wait().await;
            drain(timeout).await
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
