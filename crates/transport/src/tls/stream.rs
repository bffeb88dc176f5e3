use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::mem;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bowline_backend::Backend;
use bowline_backend::stream::{
    Address, ByteReader, ByteSide, ByteStream, ByteWriter, ReuniteError,
};
use bowline_backend::time::{self, Sleep};
use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

use super::CloseMode;
use super::failure;
use super::records;
use super::session::Session;
use crate::attribute::{AttributeRequest, Attributes, Extra};
use crate::delegate::{delegate_reads, delegate_writes};
use crate::error::Error;
use crate::half_wakers::Half;

/// Most bytes of records in one read: two records of the largest size, and their overhead.
const MOST_READ: NonZeroUsize = NonZeroUsize::new(33 * 1024).unwrap();

/// After as many reads that brought no plain byte a reader lets other tasks run.
const BARREN_IN_A_ROW: usize = 32;

/// A secure stream over any other; made by a [`TlsHandshake`](super::TlsHandshake).
///
/// Both directions go on at once, also from two tasks: a write that waits stops no read, and what
/// TLS has to answer to the peer is written by whichever half is polled. Writes are joined to
/// records of 16 KiB.
///
/// Unlike a socket it holds back what the stream below does not take: `poll_flush` (`flush` of
/// `AsyncWriteExt`) waits until that is written, [`shutdown`] flushes first, and a
/// [`MessageStream`](crate::MessageStream) does it by itself. At most 64 KiB are held back.
///
/// `shutdown` says to the peer that we are done (`close_notify`) and ends the sending side; reading
/// goes on, and so does writing where it is the peer that is done. That is TLS 1.3; of TLS 1.2 a peer
/// that is done takes nothing more, and a write is [`Ended`](crate::ErrorKind::Ended). A stream that is dropped without a `shutdown` says nothing,
/// so the peer finds its end [cut off](crate::Break::TruncatedTls). See
/// [`CloseMode`] for peers that never say it.
///
/// [`shutdown`]: bowline_backend::stream::ByteStreamExt::shutdown
#[must_use = "dropping it closes the connection"]
pub struct TlsStream<S: ByteStream> {
    read: TlsReadHalf<S>,
    write: TlsWriteHalf<S>,
}

/// The reading half of a [`TlsStream`]. Its drop alone is not visible to the peer.
#[must_use = "the stream closes once both halves are dropped"]
pub struct TlsReadHalf<S: ByteStream> {
    session: Arc<Session<S>>,
    /// Never locked: a half that is not `Sync` makes none of what a stream has to be.
    reading: Mutex<Option<S::ReadHalf>>,
    /// Read and not yet handed to TLS.
    records: BytesMut,
    end: Option<End>,
    attributes: Arc<Attributes>,
}

/// The writing half of a [`TlsStream`]. Its drop ends the sending side without a `close_notify`.
#[must_use = "dropping it ends the sending side"]
pub struct TlsWriteHalf<S: ByteStream> {
    session: Arc<Session<S>>,
    /// Runs while an end waits. Never locked, as the stream that is read from.
    closing: Mutex<Option<Pin<Box<Sleep>>>>,
}

/// What every later read says.
#[derive(Debug)]
enum End {
    Clean,
    Failed(Error),
}

impl<S: ByteStream> TlsStream<S> {
    pub(super) fn new(session: Session<S>, reading: S::ReadHalf, attributes: Attributes) -> Self {
        let session = Arc::new(session);
        TlsStream {
            read: TlsReadHalf {
                session: session.clone(),
                reading: Mutex::new(Some(reading)),
                records: BytesMut::new(),
                end: None,
                attributes: Arc::new(attributes),
            },
            write: TlsWriteHalf {
                session,
                closing: Mutex::new(None),
            },
        }
    }

    pub(super) fn session(&self) -> &Arc<Session<S>> {
        &self.write.session
    }

    pub(super) fn reader(&mut self) -> &mut TlsReadHalf<S> {
        &mut self.read
    }

    pub(super) fn set_attributes(&mut self, attributes: Attributes) {
        self.read.attributes = Arc::new(attributes);
    }
}

impl<S: ByteStream> TlsReadHalf<S> {
    /// Reads plain bytes, handed to `take`, which says how many it took.
    fn poll_plain(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        // Each round reads once. A peer can send for ever what is TLS's own, tickets for one.
        for _ in 0..BARREN_IN_A_ROW {
            match self.session.plain(take) {
                Some(0) if self.end.is_none() => {
                    self.end = Some(End::Clean);
                    self.discard(); // what came behind the end is nobody's
                }
                Some(count) if count > 0 => return Poll::Ready(Ok(count)),
                _ => {}
            }
            match &self.end {
                Some(End::Clean) => return Poll::Ready(Ok(0)),
                Some(End::Failed(error)) => return Poll::Ready(Err(failure::to_io(error))),
                None => {}
            }
            if ready!(self.poll_fetch(cx))? == Fetched::End {
                self.end = Some(match self.session.close_mode() {
                    CloseMode::Lenient => End::Clean,
                    CloseMode::Strict => End::Failed(failure::truncated()),
                });
            } else if let Err(error) = self.digest() {
                let error = failure::of_session(error, self.session.accepted());
                self.end = Some(End::Failed(error));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads records of the peer once, unless some are left.
    pub(super) fn poll_fetch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Fetched>> {
        // What TLS has to answer is written before anything is waited for.
        self.session.drive_and_wait(Half::Receiver, cx);
        if let Some(first) = self.records.first() {
            return Poll::Ready(Ok(Fetched::Records(*first)));
        }
        let reading = self.reading.get_mut();
        let Some(reading) = reading.unwrap_or_else(PoisonError::into_inner) else {
            return Poll::Ready(Ok(Fetched::End));
        };
        self.records = records::take(MOST_READ.get());
        let read = Pin::new(reading).poll_read_into(cx, &mut self.records, MOST_READ);
        if self.records.is_empty() {
            self.discard(); // a stream that waits, or has ended, holds no buffer
        }
        ready!(read)?;
        Poll::Ready(Ok(match self.records.first() {
            Some(first) => Fetched::Records(*first),
            None => Fetched::End,
        }))
    }

    /// Hands what was fetched to TLS, and writes what that answers, an alert for one.
    pub(super) fn digest(&mut self) -> Result<(), rustls::Error> {
        let digested = self.session.receive(&mut self.records);
        if self.records.is_empty() {
            records::give_back(mem::take(&mut self.records));
        }
        self.session.drive(Half::Receiver);
        digested
    }

    /// Forgets what was fetched.
    pub(super) fn discard(&mut self) -> usize {
        let count = self.records.len();
        records::give_back(mem::take(&mut self.records));
        count
    }
}

impl<S: ByteStream> TlsWriteHalf<S> {
    /// Encrypts what is written from now on with another key, and asks the peer to do the same. TLS
    /// does so by itself before a key has been used too often.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) where TLS 1.2 is spoken.
    pub fn update_keys(&self) -> io::Result<()> {
        self.session.update_keys()
    }
}

impl<S: ByteStream> TlsWriteHalf<S> {
    /// For an end that waits: ready once that took too long. Where no backend runs there is no clock.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !Backend::current().is_ok_and(Backend::is_running) {
            return Poll::Pending;
        }
        let most = self.session.close_timeout();
        let closing = self.closing.get_mut();
        let closing = closing.unwrap_or_else(PoisonError::into_inner);
        let end = || Box::pin(time::sleep_until(time::now().saturating_add(most)));
        closing.get_or_insert_with(end).as_mut().poll(cx)
    }
}

/// What was read from the stream below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// Something that begins with this byte.
    Records(u8),
    End,
}

impl<S: ByteStream> ByteStream for TlsStream<S> {
    type ReadHalf = TlsReadHalf<S>;
    type WriteHalf = TlsWriteHalf<S>;

    fn into_split(self) -> (TlsReadHalf<S>, TlsWriteHalf<S>) {
        (self.read, self.write)
    }

    fn reunite(
        read: TlsReadHalf<S>,
        write: TlsWriteHalf<S>,
    ) -> Result<Self, ReuniteError<TlsReadHalf<S>, TlsWriteHalf<S>>> {
        match Arc::ptr_eq(&read.session, &write.session) {
            true => Ok(TlsStream { read, write }),
            false => Err(ReuniteError(read, write)),
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        let local = self.read.attributes.local_addr();
        local
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn peer_addr(&self) -> io::Result<Address> {
        let peer = self.read.attributes.peer_addr();
        peer.cloned()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn abort(mut self) {
        let reading = self.read.reading.get_mut();
        let reading = reading.unwrap_or_else(PoisonError::into_inner).take();
        let halves = (reading, self.write.session.release());
        if let (Some(reading), Some(writing)) = halves
            && let Ok(stream) = S::reunite(reading, writing)
        {
            stream.abort();
        }
    }
}

impl<S: ByteStream> Extra for TlsStream<S> {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        self.read.attributes.provide(request);
    }
}

impl<S: ByteStream> ByteSide for TlsStream<S> {
    fn abort_side(self) {
        self.abort();
    }
}

impl<S: ByteStream> ByteSide for TlsReadHalf<S> {}
impl<S: ByteStream> ByteSide for TlsWriteHalf<S> {}

impl<S: ByteStream> AsyncRead for TlsReadHalf<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_plain(cx, &mut |plain| {
            let count = plain.len().min(buffer.len());
            buffer[..count].copy_from_slice(&plain[..count]);
            count
        })
    }
}

impl<S: ByteStream> ByteReader for TlsReadHalf<S> {
    fn poll_read_into(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        self.poll_plain(cx, &mut |plain| {
            let count = plain.len().min(max.get());
            buffer.extend_from_slice(&plain[..count]);
            count
        })
    }
}

impl<S: ByteStream> AsyncWrite for TlsWriteHalf<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.session.poll_take(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.session.poll_take(cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.end(self.session.close_mode());
        let ended = self.session.poll_ended(cx);
        if ended.is_ready() {
            return ended;
        }
        ready!(self.poll_late(cx));
        self.session.fail(failure::to_io(&failure::stalled()));
        self.session.poll_ended(cx)
    }
}

impl<S: ByteStream> ByteWriter for TlsWriteHalf<S> {
    fn is_write_vectored(&self) -> bool {
        true // slices are joined to records
    }

    fn passed_on(&self) -> u64 {
        self.session.passed_on()
    }
}

delegate_reads!((S: ByteStream) TlsStream<S>, read);
delegate_writes!((S: ByteStream) TlsStream<S>, write);

impl<S: ByteStream> Drop for TlsReadHalf<S> {
    fn drop(&mut self) {
        self.session.forget(Half::Receiver);
    }
}

impl<S: ByteStream> Drop for TlsWriteHalf<S> {
    fn drop(&mut self) {
        self.session.forget(Half::Sender);
        drop(self.session.release());
    }
}

impl<S: ByteStream> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("attributes", &self.read.attributes)
            .field("end", &self.read.end)
            .finish_non_exhaustive()
    }
}

impl<S: ByteStream> fmt::Debug for TlsReadHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsReadHalf")
            .field("attributes", &self.attributes)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl<S: ByteStream> fmt::Debug for TlsWriteHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsWriteHalf")
    }
}
