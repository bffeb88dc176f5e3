//! Bytes and messages through secure streams.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bowline_backend::Backend;
use bowline_backend::net::{Nodelay, RawSocket, SocketClosed, UnixListener, UnixStream};
use bowline_backend::stream::{
    ByteReader, ByteSide, ByteStream, ByteStreamExt, ByteWriter, UnixAddress,
};
use bowline_codec::{Framing, LengthDelimited, Raw};
use bowline_transport::{
    AddressFamily, Attribute, Break, Error, ErrorKind, Extra, LocalAddr, LocalName, MemoryReadHalf,
    MemoryStream, MemoryWriteHalf, MessageStream, Operation, PeerAddr, PeerCredentials, PeerName,
    Shared, SocketFamily, StapledStream, TlsInfo, TlsReadHalf, TlsStream, TlsWriteHalf, Transport,
};
use bytes::{Bytes, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::future::{join, join4};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};

use crate::certificates::Authority;
use crate::pairs::{NAME, client, narrow, secure, server, shake, tcp, unix};

const MEBIBYTE: usize = 1 << 20;
const PIECE: usize = 70_000;

/// The byte at a place.
fn byte(at: usize) -> u8 {
    (at * 31 % 251) as u8
}

/// A mebibyte, with new keys after every piece.
async fn send<S: ByteStream>(to: &mut TlsWriteHalf<S>) {
    let bytes: Vec<u8> = (0..MEBIBYTE).map(byte).collect();
    for piece in bytes.chunks(PIECE) {
        to.write_all(piece).await.unwrap();
        to.update_keys().unwrap();
    }
    poll_fn(|cx| Pin::new(&mut *to).poll_flush(cx))
        .await
        .unwrap();
}

async fn recv<S: ByteStream>(from: &mut TlsReadHalf<S>) {
    let most = NonZeroUsize::new(5000).unwrap();
    let mut read = BytesMut::new();
    let mut at = 0;
    while at < MEBIBYTE {
        assert!(from.read_into(&mut read, most).await.unwrap() <= 5000);
        for got in read.split() {
            assert_eq!(got, byte(at), "at {at}");
            at += 1;
        }
    }
    assert_eq!(at, MEBIBYTE);
}

async fn both_ways<S: ByteStream + Extra>(below: (S, S)) {
    let (here, there) = secure(below).await;
    let ((mut here_in, mut here_out), (mut there_in, mut there_out)) =
        (here.into_split(), there.into_split());
    join4(
        send(&mut here_out),
        recv(&mut there_in),
        send(&mut there_out),
        recv(&mut here_in),
    )
    .await;
    // Whoever is done is told nothing more, so this is last.
    let most = NonZeroUsize::MIN;
    let mut read = BytesMut::new();
    for _ in 0..2 {
        let (here, there) = join(here_out.shutdown(), there_out.shutdown()).await;
        here.unwrap();
        there.unwrap();
        assert_eq!(here_in.read_into(&mut read, most).await.unwrap(), 0);
        assert_eq!(there_in.read_into(&mut read, most).await.unwrap(), 0);
    }
}

// T5
pub(crate) async fn a_mebibyte_both_ways_with_new_keys_over_memory() {
    both_ways(narrow()).await;
}

// T5
pub(crate) async fn a_mebibyte_both_ways_with_new_keys_over_tcp() {
    both_ways(tcp().await).await;
}

// T5
pub(crate) async fn a_mebibyte_both_ways_with_new_keys_over_unix() {
    both_ways(unix()).await;
}

// T5
pub(crate) async fn messages_go_through() {
    let codec = || LengthDelimited::u32().with(Raw::new());
    let (here, there) = secure(narrow()).await;
    let here = Shared::new(MessageStream::new(here, codec()));
    let mut there = MessageStream::new(there, codec());
    let frame = |number: usize| Bytes::from(vec![number as u8; number * 997 % 40_000]);
    let talk = async {
        for number in 0..60 {
            here.send(&frame(number)).await.unwrap();
        }
        // Nobody receives here, so this alone brings the rest to the peer.
        here.flush().await.unwrap();
        assert_eq!(here.recv().await.unwrap().unwrap(), "thanks");
        here.close().await.unwrap();
    };
    let hear = async {
        for number in 0..60 {
            assert_eq!(there.recv().await.unwrap(), Some(frame(number)));
        }
        there.send(&Bytes::from("thanks")).await.unwrap();
        assert_eq!(there.recv().await.unwrap(), None);
    };
    join(talk, hear).await;
}

/// Something that nobody knows.
enum Weather {}

impl Attribute for Weather {
    type Value = String;
}

// T10
pub(crate) async fn attributes_pass_through() {
    let (below_here, below_there) = tcp().await;
    let (ours, theirs) = (
        below_here.local_addr().unwrap(),
        below_there.local_addr().unwrap(),
    );
    let (here, there) = secure((below_here, below_there)).await;
    for (stream, local, peer) in [(here, &ours, &theirs), (there, &theirs, &ours)] {
        let message = MessageStream::new(stream, LengthDelimited::u32().with(Raw::new()));
        let shared = Shared::new(message);
        assert_eq!(shared.extra::<LocalAddr>().as_ref(), Some(local));
        assert_eq!(shared.extra::<PeerAddr>().as_ref(), Some(peer));
        assert_eq!(shared.extra::<SocketFamily>(), Some(AddressFamily::V4));
        assert_eq!(shared.extra::<TlsInfo>().unwrap().version, "TLSv1.3");
        assert_eq!(shared.extra::<PeerCredentials>(), None);
        assert_eq!(shared.extra::<Weather>(), None);
        let names = (shared.extra::<LocalName>(), shared.extra::<PeerName>());
        assert_eq!(names, (None, None));
        let raw = shared.extra::<RawSocket>();
        assert_eq!(raw.is_some(), has_sockets());
        if let Some(raw) = raw {
            assert_eq!(&raw.local_addr().unwrap(), local);
            raw.set_nodelay(Nodelay::Off).unwrap();
            let again = shared.extra::<RawSocket>().unwrap();
            assert_eq!(again.nodelay().unwrap(), Nodelay::Off);
            shared.abort();
            drop(shared);
            let closed = raw.nodelay().unwrap_err();
            assert!(closed.get_ref().unwrap().is::<SocketClosed>());
        }
    }
    let (here, _there) = tcp().await;
    assert!(here.extra::<TlsInfo>().is_none());
    let named = MemoryStream::builder().names("here", "there").pair();
    let (here, _there) = secure(named).await;
    assert_eq!(here.extra::<LocalName>().as_deref(), Some("here"));
    assert_eq!(here.extra::<PeerName>().as_deref(), Some("there"));
    assert!(here.extra::<RawSocket>().is_none());
    let listener = UnixListener::bind(&UnixAddress::autobind()).unwrap();
    let at = listener.local_addr().unwrap();
    let connecting = UnixStream::connect(at.as_unix().unwrap());
    let here = MessageStream::new(
        connecting.await.unwrap(),
        LengthDelimited::u32().with(Raw::new()),
    );
    let name = here.extra::<PeerName>();
    assert!(name.is_some_and(|name| name.starts_with('@')));
    assert_eq!(here.extra::<LocalName>(), None);
    let (here, _there) = secure(unix()).await;
    assert!(here.extra::<PeerCredentials>().is_some());
    assert_eq!(here.extra::<SocketFamily>(), Some(AddressFamily::Unix));
    assert_eq!(here.extra::<RawSocket>().is_some(), has_sockets());
}

/// Whether the backend has sockets of the system.
fn has_sockets() -> bool {
    Backend::current().unwrap().capabilities().std_sockets
}

pub(crate) async fn halves_reunite_and_abort() {
    let (here, there) = secure(MemoryStream::pair()).await;
    let ((here_in, here_out), (there_in, there_out)) = (here.into_split(), there.into_split());
    let parts = TlsStream::reunite(here_in, there_out).unwrap_err();
    let here = TlsStream::reunite(parts.0, here_out).unwrap();
    let there = TlsStream::reunite(there_in, parts.1).unwrap();
    let mut there = MessageStream::new(there, LengthDelimited::u32().with(Raw::new()));
    here.abort();
    let error = there.recv().await.unwrap_err();
    assert!(matches!(
        error.kind(),
        ErrorKind::Broken(bowline_transport::Break::Reset)
    ));
}

/// Reads one byte at a time, however many there are.
struct Bite(MemoryReadHalf);

impl ByteSide for Bite {}

impl AsyncRead for Bite {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let most = buffer.len().min(1);
        Pin::new(&mut self.0).poll_read(cx, &mut buffer[..most])
    }
}

impl ByteReader for Bite {
    fn poll_read_into(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        _: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read_into(cx, buffer, NonZeroUsize::MIN)
    }
}

// T5
pub(crate) async fn reads_that_bring_nothing_let_others_run() {
    const RECORD: usize = 16_000;
    let authority = Authority::new();
    let client = client(&authority).build().unwrap();
    let server = server(&authority.sign(NAME)).build().unwrap();
    let (here, there) = MemoryStream::pair();
    let (read, write) = here.into_split();
    let here = client.handshake(StapledStream::new(Bite(read), write), NAME);
    let there = server.handshake(there).unwrap().into_future();
    let (here, there) = join(here.unwrap().into_future(), there).await;
    let (mut here, mut there) = (here.unwrap(), there.unwrap());
    there.write_all(&[7; RECORD]).await.unwrap();
    // One record, which is nothing until its last byte has been read.
    let mut read = BytesMut::new();
    let mut polls = 0;
    let mut reading = pin!(here.read_into(&mut read, NonZeroUsize::MAX));
    let count = poll_fn(|cx| {
        polls += 1;
        reading.as_mut().poll(cx)
    });
    assert_eq!(count.await.unwrap(), RECORD);
    assert!(polls > RECORD / 64, "{polls}");
}

// T5
pub(crate) async fn more_than_is_held_of_a_handshake_breaks_the_connection() {
    let authority = Authority::new();
    let client = client(&authority).build().unwrap();
    // So many tickets are one flight of a mebibyte.
    let server = server(&authority.sign(NAME)).session_tickets(8000);
    let roomy = MemoryStream::builder().capacity(1 << 24).pair();
    let (here, there) = shake(&client, &server.build().unwrap(), NAME, roomy).await;
    let (mut here, mut there) = (here.unwrap(), there.unwrap());
    there.write_all(b"x").await.unwrap();
    let mut read = BytesMut::new();
    for _ in 0..2 {
        let broken = here.read_into(&mut read, NonZeroUsize::MIN).await;
        let broken = Error::from_io(Operation::Recv, broken.unwrap_err());
        assert_eq!(broken.kind(), ErrorKind::Broken(Break::Other));
    }
}

/// Changes the last byte of whatever is written, once told so.
struct Spoiling(MemoryWriteHalf, Arc<AtomicBool>);

impl ByteSide for Spoiling {}

impl ByteWriter for Spoiling {
    fn is_write_vectored(&self) -> bool {
        false
    }
}

impl AsyncWrite for Spoiling {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut bytes = bytes.to_vec();
        if let Some(last) = bytes.last_mut()
            && self.1.load(Ordering::Relaxed)
        {
            *last ^= 1;
        }
        Pin::new(&mut self.0).poll_write(cx, &bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

// T2, T5
pub(crate) async fn an_alert_after_the_handshake_is_no_failure_of_it() {
    let authority = Authority::new();
    let client = client(&authority).build().unwrap();
    let server = server(&authority.sign(NAME)).build().unwrap();
    // One end spoils a record and is told so by an alert, as a client and as a server.
    let (spoils, tells) = (Arc::new(AtomicBool::new(false)), MemoryStream::pair());
    let (read, write) = tells.0.into_split();
    let here = client.handshake(
        StapledStream::new(read, Spoiling(write, spoils.clone())),
        NAME,
    );
    let there = server.handshake(tells.1).unwrap().into_future();
    let (here, there) = join(here.unwrap().into_future(), there).await;
    is_told(here.unwrap(), there.unwrap(), &spoils).await;

    let (spoils, tells) = (Arc::new(AtomicBool::new(false)), MemoryStream::pair());
    let (read, write) = tells.0.into_split();
    let there = server.handshake(StapledStream::new(read, Spoiling(write, spoils.clone())));
    let here = client.handshake(tells.1, NAME).unwrap().into_future();
    let (there, here) = join(there.unwrap().into_future(), here).await;
    is_told(there.unwrap(), here.unwrap(), &spoils).await;
}

/// The first end has heard of the second before it spoils what it writes.
async fn is_told(
    mut spoils: TlsStream<impl ByteStream>,
    mut tells: TlsStream<impl ByteStream>,
    now: &AtomicBool,
) {
    let mut read = BytesMut::new();
    tells.write_all(b"hello").await.unwrap();
    assert_eq!(
        spoils
            .read_into(&mut read, NonZeroUsize::MAX)
            .await
            .unwrap(),
        5
    );
    now.store(true, Ordering::Relaxed);
    spoils.write_all(b"spoilt").await.unwrap();
    let refused = tells.read_into(&mut read, NonZeroUsize::MAX).await;
    let refused = Error::from_io(Operation::Recv, refused.unwrap_err());
    assert_eq!(refused.kind(), ErrorKind::Broken(Break::Other));
    for _ in 0..2 {
        let told = spoils.read_into(&mut read, NonZeroUsize::MAX).await;
        let told = Error::from_io(Operation::Recv, told.unwrap_err());
        assert_eq!(told.kind(), ErrorKind::Broken(Break::Other), "{told:?}");
        assert!(told.is_connection() && std::error::Error::source(&told).is_some());
    }
}
