//! The sockets of a script, and operations of a script on them.

use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::time::Duration;

use bowline_backend::net::{
    Nodelay, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream,
};
use bowline_backend::stream::{Address, ByteStream, ByteStreamExt};
use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

use super::outcome::{End, MANY, Outcome, name};
use super::quiet::{Patience, Quiet};

/// More than scripts write without filling.
const MANY_BYTES: usize = 100_000;
/// More than scripts send without flooding.
const MANY_DATAGRAMS: usize = 8;
/// A datagram that takes so much of a buffer that a Unix socket may be told to wait.
const LONG: usize = 16 * 1024;
/// What is read or written at once.
const CHUNK: usize = 16 * 1024;

/// What an operation did in worlds; nothing where it is run in one.
#[derive(Copy, Clone, Debug)]
pub(super) struct Expected<'a>(pub(super) &'a [Outcome]);

impl Expected<'_> {
    /// How long to wait for more than so many bytes, or for the end.
    pub(super) fn patience(self, bytes: usize) -> Patience {
        let waits = |seen: &&Outcome| {
            let enough = seen.bytes <= bytes || (seen.bytes == MANY && bytes > MANY_BYTES);
            enough && seen.end == End::Waits
        };
        match self.0.iter().filter(waits).count() {
            0 => Patience::Much,
            some if some == self.0.len() => Patience::Little,
            _ => Patience::Some,
        }
    }
}

/// A listener of either family.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => Ok(Stream::tcp(listener.accept().await?.0)),
            Listener::Unix(listener) => Ok(Stream::unix(listener.accept().await?.0)),
        }
    }
}

/// A stream of either family, and how far it was read and written.
#[derive(Debug)]
pub(super) struct Stream {
    end: StreamEnd,
    read: usize,
    written: usize,
    full: bool,
}

#[derive(Debug)]
enum StreamEnd {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! each {
    ($value:expr, $type:ident, $socket:ident => $act:expr) => {
        match $value {
            $type::Tcp($socket) => $act,
            $type::Unix($socket) => $act,
        }
    };
}

/// The byte that stands there in every stream.
fn byte_at(position: usize) -> u8 {
    (position as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .to_be_bytes()[0]
}

fn told<E: Display>(error: io::Result<Option<io::Error>>, other: impl FnOnce() -> E) -> String {
    match error {
        Ok(None) => other().to_string(),
        Ok(Some(error)) | Err(error) => name(&error),
    }
}

impl Stream {
    pub(super) fn tcp(stream: TcpStream) -> Stream {
        Stream::new(StreamEnd::Tcp(stream))
    }

    pub(super) fn unix(stream: UnixStream) -> Stream {
        Stream::new(StreamEnd::Unix(stream))
    }

    fn new(end: StreamEnd) -> Stream {
        Stream {
            end,
            read: 0,
            written: 0,
            full: false,
        }
    }

    /// One write of at most so many bytes.
    async fn put(&mut self, most: usize) -> io::Result<usize> {
        let at = self.written;
        let bytes: Vec<u8> = (at..at + most.min(CHUNK)).map(byte_at).collect();
        let written = poll_fn(|cx| {
            each!(&mut self.end, StreamEnd, stream => {
                AsyncWrite::poll_write(Pin::new(stream), cx, &bytes)
            })
        })
        .await?;
        self.written += written;
        Ok(written)
    }

    /// One read of at most so many bytes; `None` where they are not those that were written.
    async fn get(&mut self, most: usize) -> io::Result<Option<usize>> {
        let mut bytes = vec![0; most.min(CHUNK)];
        let read = poll_fn(|cx| {
            each!(&mut self.end, StreamEnd, stream => {
                AsyncRead::poll_read(Pin::new(stream), cx, &mut bytes)
            })
        })
        .await?;
        let right = bytes[..read]
            .iter()
            .zip(self.read..)
            .all(|(byte, at)| *byte == byte_at(at));
        self.read += read;
        Ok(right.then_some(read))
    }

    pub(super) async fn write(
        &mut self,
        bytes: usize,
        quiet: &Quiet,
        expected: Expected<'_>,
    ) -> Outcome {
        if self.full {
            return Outcome::of(End::Skipped);
        }
        let mut moved = 0;
        while moved < bytes {
            let patience = expected.patience(moved);
            match quiet.ready(self.put(bytes - moved), patience).await {
                None => return Outcome::new(moved, End::Waits),
                Some(Err(error)) => return Outcome::failed(moved, &error),
                Some(Ok(some)) => moved += some,
            }
        }
        Outcome::new(moved, End::Done)
    }

    pub(super) async fn read(
        &mut self,
        bytes: usize,
        quiet: &Quiet,
        expected: Expected<'_>,
    ) -> Outcome {
        let mut moved = 0;
        while moved < bytes {
            let patience = expected.patience(moved);
            match quiet.ready(self.get(bytes - moved), patience).await {
                None => return Outcome::new(moved, End::Waits),
                Some(Err(error)) => return Outcome::failed(moved, &error),
                Some(Ok(None)) => return Outcome::new(moved, End::Corrupt),
                Some(Ok(Some(0))) => return Outcome::new(moved, End::Ended),
                Some(Ok(Some(some))) => moved += some,
            }
        }
        Outcome::new(moved, End::Done)
    }

    /// How much fits is the system's business.
    pub(super) async fn fill(&mut self, quiet: &Quiet, expected: Expected<'_>) -> Outcome {
        if self.full {
            return Outcome::of(End::Skipped);
        }
        self.full = true;
        let mut moved = 0;
        loop {
            let patience = match moved {
                0 => expected.patience(0),
                _ => Patience::Little,
            };
            match quiet.ready(self.put(CHUNK), patience).await {
                None if moved == 0 => return Outcome::of(End::Waits),
                None => return Outcome::new(MANY, End::Waits),
                // How much goes before a reset is heard of is a race.
                Some(Err(error)) if moved == 0 => return Outcome::failed(0, &error),
                Some(Err(error)) => return Outcome::failed(MANY, &error),
                Some(Ok(some)) => moved += some,
            }
        }
    }

    pub(super) async fn drain(&mut self, quiet: &Quiet, expected: Expected<'_>) -> Outcome {
        let mut outcome = self.read(usize::MAX, quiet, expected).await;
        if outcome.bytes > MANY_BYTES {
            outcome.bytes = MANY;
        }
        outcome
    }

    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        each!(&mut self.end, StreamEnd, stream => stream.shutdown().await)
    }

    pub(super) fn abort(self) {
        each!(self.end, StreamEnd, stream => stream.abort());
    }

    pub(super) fn linger(&self, linger: Option<Duration>) -> Outcome {
        match &self.end {
            StreamEnd::Tcp(stream) => Outcome::done(&stream.set_linger(linger)),
            StreamEnd::Unix(_) => Outcome::of(End::Skipped),
        }
    }

    pub(super) fn nodelay(&self, nodelay: Nodelay) -> Outcome {
        match &self.end {
            StreamEnd::Tcp(stream) => Outcome::done(&stream.set_nodelay(nodelay)),
            StreamEnd::Unix(_) => Outcome::of(End::Skipped),
        }
    }

    pub(super) fn take_error(&self) -> String {
        let error = each!(&self.end, StreamEnd, stream => stream.take_error());
        told(error, || "no error")
    }

    pub(super) fn addresses(&self) -> [Option<Address>; 2] {
        each!(&self.end, StreamEnd, stream => {
            [stream.local_addr().ok(), ByteStream::peer_addr(stream).ok()]
        })
    }
}

/// A socket of datagrams of either family.
#[derive(Debug)]
pub(super) struct Datagrams {
    end: DatagramEnd,
    /// It may have no room, and what it is connected to neither. A runtime that tries no send before
    /// it is told of room would not say what is wrong with the next one.
    full: bool,
}

#[derive(Debug)]
enum DatagramEnd {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

macro_rules! each_datagrams {
    ($value:expr, $socket:ident => $act:expr) => {
        match &$value.end {
            DatagramEnd::Udp($socket) => $act,
            DatagramEnd::Unix($socket) => $act,
        }
    };
}

impl Datagrams {
    pub(super) fn udp(socket: UdpSocket) -> Datagrams {
        Datagrams {
            end: DatagramEnd::Udp(socket),
            full: false,
        }
    }

    pub(super) fn unix(socket: UnixDatagram) -> Datagrams {
        Datagrams {
            end: DatagramEnd::Unix(socket),
            full: false,
        }
    }
    async fn put(&self, to: Option<&Address>, payload: &[u8]) -> io::Result<()> {
        each_datagrams!(self, socket => match to {
            Some(to) => socket.send_to(payload, to).await,
            None => socket.send(payload).await,
        })
    }

    /// Sends one that says of which operation it is.
    pub(super) async fn send(
        &mut self,
        to: Option<Address>,
        bytes: usize,
        number: usize,
        quiet: &Quiet,
        expected: Expected<'_>,
    ) -> Outcome {
        if self.full && to.is_none() {
            return Outcome::of(End::Skipped);
        }
        self.full |= bytes > LONG && matches!(self.end, DatagramEnd::Unix(_));
        let payload = vec![number as u8; bytes];
        let sending = self.put(to.as_ref(), &payload);
        match quiet.ready(sending, expected.patience(0)).await {
            None => Outcome::of(End::Waits),
            Some(sent) => Outcome::done(&sent),
        }
    }

    /// Receives one and tells whose, of which operation, how long and whether all.
    pub(super) async fn recv(
        &self,
        most: usize,
        tell: impl Fn(&Address) -> String,
        quiet: &Quiet,
        expected: Expected<'_>,
    ) -> Outcome {
        let mut buffer = BytesMut::new();
        let most = NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN);
        let receiving = each_datagrams!(self, socket => {
            quiet.ready(socket.recv_from(&mut buffer, most), expected.patience(0)).await
        });
        let received = match receiving {
            None => return Outcome::of(End::Waits),
            Some(Err(error)) => return Outcome::failed(0, &error),
            Some(Ok(received)) => received,
        };
        if buffer.len() != received.len || buffer.iter().any(|byte| *byte != buffer[0]) {
            return Outcome::new(received.len, End::Corrupt);
        }
        let from = received.from.as_ref().map_or("nobody".to_owned(), tell);
        let of = buffer
            .first()
            .map_or(String::new(), |number| format!(", of {number}"));
        let cut = if received.truncated { ", cut" } else { "" };
        Outcome::new(received.len, End::Told(format!("from {from}{of}{cut}")))
    }

    /// How many fit is the system's business.
    pub(super) async fn flood(&mut self, to: Option<Address>, quiet: &Quiet) -> Outcome {
        if self.full && to.is_none() {
            return Outcome::of(End::Skipped);
        }
        self.full = true;
        for sent in 0..MANY_DATAGRAMS * 1_000 {
            match quiet
                .ready(self.put(to.as_ref(), b"flood"), Patience::Little)
                .await
            {
                None if sent > MANY_DATAGRAMS => return Outcome::new(MANY, End::Waits),
                None => return Outcome::new(sent, End::Waits),
                Some(Err(error)) => return Outcome::failed(sent, &error),
                Some(Ok(())) => {}
            }
        }
        Outcome::of(End::Done)
    }

    pub(super) async fn empty(&self, quiet: &Quiet, expected: Expected<'_>) -> Outcome {
        let mut count = 0;
        let end = loop {
            let patience = match count > MANY_DATAGRAMS {
                true => Patience::Little,
                false => expected.patience(count),
            };
            let mut buffer = BytesMut::new();
            let received = each_datagrams!(self, socket => {
                quiet.ready(socket.recv_from(&mut buffer, NonZeroUsize::MIN), patience).await
            });
            match received {
                None => break End::Waits,
                Some(Err(error)) => break End::Failed(name(&error)),
                Some(Ok(_)) => count += 1,
            }
        };
        Outcome::new(if count > MANY_DATAGRAMS { MANY } else { count }, end)
    }

    pub(super) fn take_error(&self) -> String {
        let error = each_datagrams!(self, socket => socket.take_error());
        told(error, || "no error")
    }

    pub(super) fn addresses(&self) -> [Option<Address>; 2] {
        match &self.end {
            DatagramEnd::Udp(socket) => [
                socket.local_addr().ok().map(Address::from),
                socket.peer_addr().ok().map(Address::from),
            ],
            DatagramEnd::Unix(socket) => [socket.local_addr().ok(), socket.peer_addr().ok()],
        }
    }
}
