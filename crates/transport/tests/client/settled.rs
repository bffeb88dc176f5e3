//! What a flush says of messages that went with their connection: to whom, once, and how many.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bowline_backend::stream::{ByteSide, ByteStream, ByteStreamExt, ByteWriter};
use bowline_codec::Lines;
use bowline_transport::{
    Client, Delivery, DynTransport, Error, ErrorKind, Listener, MemoryStream, MessageStream,
    StapledStream, Transport, TransportRecv, TransportRegistry, TransportSend,
};
use futures_io::AsyncWrite;
use futures_util::FutureExt;

use crate::losses::narrow;
use crate::reconnecting::{MS, plain};
use crate::{Dialled, Text, on_every_backend, text};

on_every_backend!(
    what_went_first_is_told_though_more_was_queued_since,
    who_flushed_hears_nothing_of_what_others_lost,
    all_that_went_is_counted,
    what_was_tried_or_permitted_is_told_as_well,
    what_went_is_told_before_that_there_is_no_connection,
    a_call_that_is_given_up_costs_what_was_not_written,
    a_peer_that_ends_is_told_with_what_it_did_not_take,
    what_the_stream_holds_back_is_not_written,
    a_shutdown_tells_of_what_had_no_connection,
);

/// More than 8 bytes.
const LONG: &str = "longer than that";

#[track_caller]
fn lost(result: Result<(), Error>, frames: usize) {
    let error = result.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error}");
    let told = (error.delivery(), error.unsent_frames());
    assert_eq!(told, (Delivery::MaybeSent, frames), "{error}");
}

// CL2
async fn what_went_first_is_told_though_more_was_queued_since() {
    let (client, peers) = narrow(8);
    client.send(&text(LONG)).await.unwrap();
    peers.lock().unwrap().pop().unwrap().abort();
    client.recv().await.unwrap_err();
    client.send(&text("here")).await.unwrap();
    lost(client.flush().await, 1);
    client.flush().await.unwrap();
}

// CL2
async fn who_flushed_hears_nothing_of_what_others_lost() {
    let (client, peers) = narrow(64);
    let other = client.clone();
    client.send(&text("short")).await.unwrap();
    client.flush().await.unwrap();
    other.send(&"x".repeat(100)).await.unwrap();
    peers.lock().unwrap().pop().unwrap().abort();
    client.recv().await.unwrap_err();
    client.flush().await.unwrap();
    lost(other.flush().await, 1);
}

// CL2
async fn all_that_went_is_counted() {
    let (client, peers) = narrow(8);
    for _ in 0..3 {
        client.send(&text(LONG)).await.unwrap();
    }
    peers.lock().unwrap().pop().unwrap().abort();
    assert_eq!(client.recv().await.unwrap_err().unsent_frames(), 3);
    lost(client.flush().await, 3);
    client.flush().await.unwrap();
}

// CL2
async fn what_was_tried_or_permitted_is_told_as_well() {
    for tries in [true, false] {
        let (client, peers) = narrow(8);
        client.connect().await.unwrap();
        match tries {
            true => client.try_send(&text(LONG)).unwrap(),
            false => {
                let permit = client.reserve().await.unwrap();
                permit.send(&text(LONG)).unwrap();
            }
        }
        peers.lock().unwrap().pop().unwrap().abort();
        client.recv().await.unwrap_err();
        lost(client.flush().await, 1);
        client.flush().await.unwrap();
    }
}

// CL2
async fn what_went_is_told_before_that_there_is_no_connection() {
    let (client, peers) = narrow(8);
    let client = client.reconnect_attempts(1);
    client.send(&text(LONG)).await.unwrap();
    peers.lock().unwrap().pop().unwrap().abort();
    client.recv().await.unwrap_err();
    lost(client.flush().await, 1);
    let over = client.flush().await.unwrap_err();
    assert_eq!(over.kind(), ErrorKind::NotConnected);
}

// CL2, CL4
async fn a_call_that_is_given_up_costs_what_was_not_written() {
    for (capacity, written) in [(8, false), (1024, true)] {
        let (client, peers) = narrow(capacity);
        client.send(&text(LONG)).await.unwrap();
        assert!(client.call(&text("?")).now_or_never().is_none());
        match written {
            true => client.flush().await.unwrap(),
            false => lost(client.flush().await, 2),
        }
        client.flush().await.unwrap();
        drop(peers);
    }
}

// CL2, TR5
async fn a_peer_that_ends_is_told_with_what_it_did_not_take() {
    let (client, peers) = narrow(8);
    for _ in 0..2 {
        client.send(&text(LONG)).await.unwrap();
    }
    let mut there = peers.lock().unwrap().pop().unwrap();
    there.shutdown().await.unwrap();
    let ended = client.recv().await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Ended);
    let told = (ended.delivery(), ended.unsent_frames());
    assert_eq!(told, (Delivery::MaybeSent, 2), "{ended}");
    lost(client.flush().await, 2);
}

/// A stream that takes everything, and has not passed it on when it is asked to: it waits, or fails.
struct Holds<W> {
    writer: W,
    fails: bool,
}

impl<W: ByteWriter> AsyncWrite for Holds<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write_vectored(cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.fails {
            true => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            false => Poll::Pending,
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_close(cx)
    }
}

impl<W: ByteSide> ByteSide for Holds<W> {
    fn abort_side(self) {
        self.writer.abort_side();
    }
}

impl<W: ByteWriter> ByteWriter for Holds<W> {
    fn is_write_vectored(&self) -> bool {
        self.writer.is_write_vectored()
    }
}

// CL2
async fn what_the_stream_holds_back_is_not_written() {
    for fails in [false, true] {
        let client: Text = Client::with_dial(move || -> std::future::Ready<Dialled> {
            let (here, there) = MemoryStream::pair();
            std::mem::forget(there);
            let (reader, writer) = here.into_split();
            let here = StapledStream::new(reader, Holds { writer, fails });
            let here = MessageStream::new(here, Lines::lf().text());
            std::future::ready(Ok(DynTransport::new(here)))
        });
        let client = client.reconnect(plain(MS));
        client.feed(&text("held back")).await.unwrap();
        assert!(client.call(&text("?")).now_or_never().is_none());
        let flushed = client.flush().await;
        let error = flushed.expect_err(if fails { "it failed" } else { "it waits" });
        assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error}");
        assert!(error.unsent_frames() > 0, "{error}");
    }
}

// CL2, TR5, TR11
async fn a_shutdown_tells_of_what_had_no_connection() {
    let registry = TransportRegistry::with_builtin(|| Lines::lf().text());
    let mut listener = registry.memory().listen("shop").unwrap();
    let transport = registry.open("mem://shop?reconnect=yes").unwrap();
    let (mut sender, mut receiver) = transport.into_split();
    sender.send(&text("first")).await.unwrap();
    let (there, _) = listener.accept().await.unwrap();
    let permit = sender.reserve().await.unwrap();
    there.abort();
    receiver.recv().await.unwrap_err();
    permit.send(&text("lost")).unwrap();
    let error = sender.shutdown().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error}");
    let told = (error.delivery(), error.unsent_frames());
    assert_eq!(told, (Delivery::NotSent, 1), "{error}");
    sender.shutdown().await.unwrap();
}
