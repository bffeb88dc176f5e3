//! A client for threads that run no tasks.

mod messages;
mod thread;

pub use messages::BlockingMessages;

use std::fmt;
use std::future::Future;
use std::panic::{Location, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::stream::Address;
use bowline_backend::time::Instant;
use bowline_concurrency::sync::Lock;
use bowline_concurrency::{PortalError, in_poll, timeout_at};

use self::thread::ClientThread;
use crate::client::Client;
use crate::error::{Delivery, Error, ErrorKind, Operation};

/// A [`Client`] for threads: each operation parks the thread that calls it.
///
/// Its tasks run in a thread of its own, which the first use starts and the last drop joins. A use for
/// which the system starts none is [`Resource`](ErrorKind::Resource), and the next one tries again. Clones
/// and [views](BlockingClient::timeout) are of the same client, for any number of threads: sends and
/// calls take turns, and so do those who receive. In a task nothing can be done with it but
/// [`Unsupported`](ErrorKind::Unsupported): there is a [`Client`] for tasks. It needs a real
/// backend, for a simulated world waits for no thread.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_codec::Lines;
/// use bowline_transport::{BlockingClient, Client};
/// use std::io::{BufRead, BufReader, Write};
/// use std::time::Duration;
///
/// # #[allow(clippy::disallowed_types)]
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// let client = Client::new(listener.local_addr().unwrap(), || Lines::lf().text());
/// let client = BlockingClient::new(client).backend(Backend::Smol);
///
/// client.send_blocking("hello".to_owned())?; // connects
///
/// let (mut stream, _) = listener.accept().unwrap();
/// let mut line = String::new();
/// BufReader::new(&stream).read_line(&mut line).unwrap();
/// stream.write_all(b"and hello to you\n").unwrap();
/// let reply = client.timeout(Duration::from_secs(10)).recv_blocking()?;
/// assert_eq!(reply.as_deref(), Some("and hello to you"));
/// client.close()?;
/// # }
/// # Ok::<(), bowline_transport::Error>(())
/// ```
#[must_use = "it dials when it is used, and aborts when the last clone is dropped"]
pub struct BlockingClient<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    parts: Arc<Parts<S, R>>,
    limit: Limit,
}

struct Parts<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    client: Client<S, R>,
    backend: OnceLock<Backend>,
    thread: OnceLock<ClientThread>,
    /// Whoever has it may start the thread.
    starting: Mutex<()>,
    /// Whoever has it may receive.
    receiving: Arc<Lock<()>>,
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    None,
    After(Duration),
    At(Instant),
}

impl<S, R> BlockingClient<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// Uses `client` from threads.
    pub fn new(client: Client<S, R>) -> Self {
        BlockingClient {
            parts: Arc::new(Parts {
                client,
                backend: OnceLock::new(),
                thread: OnceLock::new(),
                starting: Mutex::new(()),
                receiving: Arc::new(Lock::new(())),
            }),
            limit: Limit::None,
        }
    }

    /// Runs its tasks on this backend; on the current one unless set. After the first use, or a
    /// second time, it changes nothing.
    pub fn backend(self, backend: Backend) -> Self {
        let _ = self.parts.backend.set(backend);
        self
    }

    /// A view of this client whose operations take so long at most, each counted from its call, the
    /// wait for its turn included: then they are [`Elapsed`](ErrorKind::Elapsed).
    pub fn timeout(&self, most: Duration) -> Self {
        self.view(Limit::After(most))
    }

    /// A view of this client whose operations are [`Elapsed`](ErrorKind::Elapsed) at this time, by the
    /// clock of its backend.
    pub fn deadline(&self, at: Instant) -> Self {
        self.view(Limit::At(at))
    }

    fn view(&self, limit: Limit) -> Self {
        BlockingClient {
            parts: self.parts.clone(),
            limit,
        }
    }

    /// [`Client::connect`], parking the thread.
    ///
    /// # Errors
    ///
    /// As there; [`Elapsed`](ErrorKind::Elapsed) and [`Unsupported`](ErrorKind::Unsupported) as said
    /// above, also of all that follow.
    #[track_caller]
    pub fn connect_blocking(&self) -> Result<(), Error> {
        let client = self.parts.client.clone();
        self.run(Operation::Connect, async move { client.connect().await })
    }

    /// [`Client::send`] and [`Client::flush`], parking the thread: `Ok` means that the message was
    /// handed to the system. Nobody is there to write later what could not be written at once.
    ///
    /// # Errors
    ///
    /// As there; the [`delivery`](Error::delivery) of [`Elapsed`](ErrorKind::Elapsed) says whether
    /// the message had been queued: then the rest of it goes out with the next operation.
    #[track_caller]
    pub fn send_blocking(&self, message: S) -> Result<(), Error> {
        let client = self.parts.client.clone();
        self.run_sending(|queued| async move {
            client.send(&message).await?;
            queued.store(true, Ordering::Release);
            client
                .flush()
                .await
                .map_err(|error| error.of(Operation::Send))
        })
    }

    /// [`Client::feed`], parking the thread: for many messages in one write. They go out with the
    /// next send or [`flush_blocking`](Self::flush_blocking), or when a receive reads on.
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn feed_blocking(&self, message: S) -> Result<(), Error> {
        let client = self.parts.client.same();
        self.run(Operation::Send, async move { client.feed(&message).await })
    }

    /// [`Client::flush`], parking the thread.
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn flush_blocking(&self) -> Result<(), Error> {
        let client = self.parts.client.same();
        self.run(Operation::Flush, async move { client.flush().await })
    }

    /// [`Client::recv`], parking the thread. Where several threads receive they take turns.
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn recv_blocking(&self) -> Result<Option<R>, Error> {
        let client = self.parts.client.clone();
        let receiving = self.parts.receiving.clone();
        self.run(Operation::Recv, async move {
            let _turn = receiving.lock().await;
            client.recv().await
        })
    }

    /// [`Client::call`], parking the thread. It waits for threads that receive.
    ///
    /// # Errors
    ///
    /// As there; the [`delivery`](Error::delivery) of [`Elapsed`](ErrorKind::Elapsed) says whether
    /// the message had been queued: then what was late is the reply, and the operation a `Recv`.
    #[track_caller]
    pub fn call_blocking(&self, message: S) -> Result<R, Error> {
        let client = self.parts.client.clone();
        let receiving = self.parts.receiving.clone();
        let called = self.run_sending(|queued| async move {
            let _turn = receiving.lock().await;
            let queued = || queued.store(true, Ordering::Release);
            client.call_telling(&message, queued).await
        });
        // What was not sent in time is one thing, what was not answered is another.
        called.map_err(|error| match (error.kind(), error.delivery()) {
            (ErrorKind::Elapsed, Delivery::MaybeSent) => error.of(Operation::Recv),
            _ => error,
        })
    }

    /// What comes in, one after the other. An error is an item, also the one after which there is
    /// nothing more: then the iterator ends.
    pub fn iter(&self) -> BlockingMessages<'_, S, R> {
        BlockingMessages {
            client: self,
            done: false,
        }
    }

    /// [`Client::close`], parking the thread. Whoever waits in another one is told at once.
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn close(&self) -> Result<(), Error> {
        let client = self.parts.client.clone();
        self.run(Operation::Close, async move { client.close().await })
    }

    /// Who is at the other end of the latest connection.
    pub fn peer_addr(&self) -> Option<Address> {
        self.parts.client.peer_addr()
    }

    /// As [`run`](Self::run), for a body that sends: its error depends on whether the body has said
    /// that the message was queued.
    #[track_caller]
    fn run_sending<T, F>(&self, body: impl FnOnce(Arc<AtomicBool>) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let queued = Arc::new(AtomicBool::new(false));
        let sent = self.run(Operation::Send, body(queued.clone()));
        sent.map_err(|error| match queued.load(Ordering::Acquire) {
            true => error.with_delivery(Delivery::MaybeSent),
            false => error,
        })
    }

    /// Runs `future` in the thread of the client, and parks this one.
    #[track_caller]
    fn run<T: Send + 'static>(
        &self,
        operation: Operation,
        future: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let at = Location::caller();
        let unsupported = || Error::new(operation, ErrorKind::Unsupported);
        if in_poll() {
            return Err(unsupported().with_source(InTask));
        }
        let thread = self.parts.thread(operation)?;
        let deadline = match self.limit {
            Limit::None => Instant::NEVER,
            Limit::After(most) => thread.backend().now().saturating_add(most),
            Limit::At(at) => at,
        };
        let called = thread
            .portal()
            .call(move || async move { timeout_at(deadline, future).await.ok() });
        match called {
            Ok(Some(result)) => result,
            Ok(None) => Err(Error::new(operation, ErrorKind::Elapsed)
                .with_peer(self.peer_addr())
                .with_source(Late {
                    limit: self.limit,
                    at,
                })),
            Err(PortalError::Panicked(panic)) => resume_unwind(panic.into_payload()),
            Err(PortalError::WouldDeadlock) => Err(unsupported().with_source(InTask)),
            Err(error) => Err(Error::new(operation, ErrorKind::Closed).with_source(error)),
        }
    }
}

/// A task would wait for other tasks of its thread.
#[derive(Debug, thiserror::Error)]
#[error(
    "a task that waits here stops its thread, maybe for ever: in a task use the `Client` itself"
)]
struct InTask;

/// Which limit of a view passed, and in which call.
#[derive(Debug)]
struct Late {
    limit: Limit,
    at: &'static Location<'static>,
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Limit::After(most) => write!(f, "it took longer than {most:?}")?,
            Limit::At(_) | Limit::None => f.write_str("the deadline of the client passed")?,
        }
        write!(f, "; called at {}", self.at)
    }
}

impl std::error::Error for Late {}

impl<S, R> Parts<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// The thread, which the first use starts, or the next one where the system could not.
    fn thread(&self, operation: Operation) -> Result<&ClientThread, Error> {
        if let Some(thread) = self.thread.get() {
            return Ok(thread);
        }
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = self.thread.get() {
            return Ok(thread);
        }
        let backend = match self.backend.get() {
            Some(chosen) => Ok(*chosen),
            None => Backend::current(),
        };
        let backend =
            backend.map_err(|none| Error::new(operation, ErrorKind::Unsupported).with_source(none));
        let started = ClientThread::start(backend?)?;
        Ok(self.thread.get_or_init(|| started))
    }
}

impl<S, R> Drop for Parts<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn drop(&mut self) {
        self.client.abort();
    }
}

impl<S, R> Clone for BlockingClient<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn clone(&self) -> Self {
        self.view(self.limit)
    }
}

impl<S, R> fmt::Debug for BlockingClient<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingClient")
            .field("client", &self.parts.client)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
