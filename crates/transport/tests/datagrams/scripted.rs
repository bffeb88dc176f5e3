//! A socket that does as another, but for what a case has it say first.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use bowline_backend::net::Received;
use bowline_backend::stream::Address;
use bowline_transport::{AttributeRequest, DatagramRecv, DatagramSend, Extra, MemoryDatagram};
use bytes::BytesMut;

pub(crate) struct Scripted<S> {
    pub(crate) inner: S,
    /// What it says of whom it hears.
    pub(crate) hears: Option<Address>,
    recv_errors: Mutex<VecDeque<io::ErrorKind>>,
    send_errors: Mutex<VecDeque<io::ErrorKind>>,
    /// Whether sends find room, and who waits for it.
    room: Mutex<Result<(), Option<Waker>>>,
}

impl<S> Scripted<S> {
    pub(crate) fn new(inner: S) -> Self {
        Scripted {
            inner,
            hears: None,
            recv_errors: Mutex::default(),
            send_errors: Mutex::default(),
            room: Mutex::new(Ok(())),
        }
    }

    pub(crate) fn hears(mut self, peer: Address) -> Self {
        self.hears = Some(peer);
        self
    }

    /// What the next receives fail with.
    pub(crate) fn recv_errors<const N: usize>(self, kinds: [io::ErrorKind; N]) -> Self {
        *self.recv_errors.lock().unwrap() = kinds.into();
        self
    }

    /// What the next sends fail with.
    pub(crate) fn send_errors<const N: usize>(self, kinds: [io::ErrorKind; N]) -> Self {
        *self.send_errors.lock().unwrap() = kinds.into();
        self
    }

    pub(crate) fn full(self) -> Self {
        *self.room.lock().unwrap() = Err(None);
        self
    }

    pub(crate) fn make_room(&self) {
        let before = std::mem::replace(&mut *self.room.lock().unwrap(), Ok(()));
        if let Err(Some(waker)) = before {
            waker.wake();
        }
    }

    fn send_error(&self) -> io::Result<()> {
        match self.send_errors.lock().unwrap().pop_front() {
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        }
    }

    fn recv_error(&self) -> io::Result<()> {
        match self.recv_errors.lock().unwrap().pop_front() {
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        }
    }
}

impl<S: DatagramRecv> DatagramRecv for Scripted<S> {
    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<Received>> {
        self.recv_error()?;
        self.inner.poll_recv_from(cx, buffer, max)
    }

    async fn recv_from(&self, buffer: &mut BytesMut, max: NonZeroUsize) -> io::Result<Received> {
        self.recv_error()?;
        self.inner.recv_from(buffer, max).await
    }

    fn hears(&self) -> Option<Address> {
        self.hears.clone()
    }
}

impl<S: DatagramSend> DatagramSend for Scripted<S> {
    fn poll_send(&self, cx: &mut Context<'_>, packet: &[u8]) -> Poll<io::Result<()>> {
        self.send_error()?;
        if let Err(waiting) = &mut *self.room.lock().unwrap() {
            *waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.inner.poll_send(cx, packet)
    }

    async fn send_to(&self, packet: &[u8], to: &Address) -> io::Result<()> {
        self.send_error()?;
        self.inner.send_to(packet, to).await
    }

    fn max_packet(&self) -> usize {
        self.inner.max_packet()
    }
}

impl<S: Extra> Extra for Scripted<S> {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        self.inner.provide(request);
    }
}

/// A pair in memory whose first end is scripted and says that it is connected.
pub(crate) fn pair() -> (Scripted<MemoryDatagram>, MemoryDatagram) {
    let (here, there) = MemoryDatagram::pair();
    let peer = here.hears().unwrap();
    (Scripted::new(here).hears(peer), there)
}
