//! Names within a process, to listen at and to connect to.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bowline_backend::stream::{Address, ByteStream};
use bowline_concurrency::sync::{Event, Permit, Semaphore};

use super::MemoryStream;
use crate::error::{Error, Operation};
use crate::listener::Listener;

/// Connections that wait to be accepted, as at a TCP listener.
const BACKLOG: usize = 1024;

/// Names at which [`MemoryListener`]s accept [`MemoryStream`]s: what addresses and ports are to
/// TCP, within a process.
///
/// Clones are the same network. It needs no backend, but waiting does; its two ends may run on
/// different ones.
///
/// # Examples
///
/// ```
/// use bowline_backend::stream::ByteStreamExt;
/// use bowline_transport::{Listener, MemoryNetwork};
///
/// # futures_util::FutureExt::now_or_never(async {
/// let network = MemoryNetwork::new();
/// let mut listener = network.listen("shop")?;
/// let mut client = network.connect("shop").await?;
/// client.write_all(b"hello").await?;
/// let (_server, peer) = listener.accept().await?;
/// assert_eq!(peer.to_string(), "shop#1");
/// assert!(network.connect("bank").await.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("nothing waits").unwrap();
/// ```
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    names: Arc<Mutex<Names>>,
}

#[derive(Default)]
struct Names {
    listeners: BTreeMap<Arc<str>, Arc<Backlog>>,
    /// Connections that were begun, for the names of their clients.
    connects: u64,
}

/// Who was connected and not yet accepted.
///
/// Invariants:
/// 1. Permits of `places` and streams in the queue are `BACKLOG` together, but for those between
///    the two in a `connect`.
/// 2. Once `closed` nothing enters the queue.
/// 3. Under the lock no waker is cloned or woken, and no stream dropped.
struct Backlog {
    places: Semaphore,
    closing: Event,
    state: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<(MemoryStream, Address)>,
    closed: bool,
    listener: Option<Waker>,
}

impl MemoryNetwork {
    /// A network where nobody listens.
    pub fn new() -> Self {
        MemoryNetwork::default()
    }

    /// Takes a name to listen at; it is free again once the listener is dropped.
    ///
    /// # Errors
    ///
    /// [`Address`](crate::ErrorKind::Address) where somebody listens there.
    pub fn listen(&self, name: impl Into<Arc<str>>) -> Result<MemoryListener, Error> {
        let name = name.into();
        let backlog = Arc::new(Backlog {
            places: Semaphore::new(BACKLOG),
            closing: Event::new(),
            state: Mutex::default(),
        });
        let mut names = self.lock();
        if names.listeners.contains_key(&name) {
            drop(names);
            let text = format!("somebody listens at the name {name:?}");
            let error = io::Error::new(io::ErrorKind::AddrInUse, text);
            return Err(Error::from_io(Operation::Bind, error).with_place(name));
        }
        names.listeners.insert(name.clone(), backlog.clone());
        drop(names);
        Ok(MemoryListener {
            network: self.clone(),
            name,
            backlog,
        })
    }

    /// Connects to whoever listens at `name`; waits where 1024 others wait to be accepted.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::ErrorKind::Refused) where nobody listens.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened.*
    pub async fn connect(&self, name: &str) -> Result<MemoryStream, Error> {
        let found = self.find(name);
        let (name, backlog, number) = found.ok_or_else(|| refused(name))?;
        let place = backlog.place().await.ok_or_else(|| refused(&name))?;
        let client: Arc<str> = format!("{name}#{number}").into();
        let builder = MemoryStream::builder().names(client.clone(), name.clone());
        let (here, there) = builder.pair();
        match backlog.enter(place, there, Address::Named(client)) {
            true => Ok(here),
            false => Err(refused(&name)),
        }
    }

    /// Who listens at `name`, and the number of this connection.
    fn find(&self, name: &str) -> Option<(Arc<str>, Arc<Backlog>, u64)> {
        let mut names = self.lock();
        let (name, backlog) = names.listeners.get_key_value(name)?;
        let (name, backlog) = (name.clone(), backlog.clone());
        names.connects += 1;
        Some((name, backlog, names.connects))
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(name: &str) -> Error {
    let text = format!("nobody listens at the name {name:?}");
    let error = io::Error::new(io::ErrorKind::ConnectionRefused, text);
    Error::from_io(Operation::Connect, error)
}

impl Backlog {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place in the queue; `None` once nobody listens.
    async fn place(&self) -> Option<Permit<'_>> {
        if let Ok(place) = self.places.try_acquire() {
            return Some(place);
        }
        let mut place = pin!(self.places.acquire());
        let mut closing = pin!(self.closing.wait());
        poll_fn(|cx| match closing.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => place.as_mut().poll(cx).map(Some),
        })
        .await
    }

    /// Whether the stream is in the queue now; else it is dropped.
    fn enter(&self, place: Permit<'_>, stream: MemoryStream, client: Address) -> bool {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            drop(stream);
            return false;
        }
        state.queue.push_back((stream, client));
        let listener = state.listener.take();
        drop(state);
        place.forget(); // it is the listener's to give back
        if let Some(waker) = listener {
            waker.wake();
        }
        true
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.lock().listeners.keys().cloned().collect();
        f.debug_struct("MemoryNetwork")
            .field("listeners", &names)
            .finish_non_exhaustive()
    }
}

/// What accepts the [`MemoryStream`]s of whoever connects to a name of a [`MemoryNetwork`].
/// Dropped, it resets those that were not accepted.
#[must_use = "dropped, nobody listens"]
pub struct MemoryListener {
    network: MemoryNetwork,
    name: Arc<str>,
    backlog: Arc<Backlog>,
}

impl Listener for MemoryListener {
    type Connection = MemoryStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(MemoryStream, Address)>> {
        let waker = cx.waker().clone();
        let mut state = self.backlog.lock();
        if let Some(accepted) = state.queue.pop_front() {
            drop(state);
            // It was taken out of the semaphore with the place: there is room for it.
            let _ = self.backlog.places.add_permits(1);
            return Poll::Ready(Ok(accepted));
        }
        let former = state.listener.replace(waker);
        drop(state);
        drop(former);
        Poll::Pending
    }

    fn local_addrs(&self) -> io::Result<Vec<Address>> {
        Ok(vec![Address::Named(self.name.clone())])
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        self.network.lock().listeners.remove(&self.name);
        let mut state = self.backlog.lock();
        state.closed = true;
        let left = std::mem::take(&mut state.queue);
        drop(state);
        self.backlog.closing.set();
        for (stream, _) in left {
            stream.abort();
        }
    }
}

impl fmt::Debug for MemoryListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryListener").field(&self.name).finish()
    }
}
