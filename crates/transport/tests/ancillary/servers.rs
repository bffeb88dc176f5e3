//! Descriptors through servers, shared transports and sockets without a peer.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::net::{UnixDatagram, UnixStream};
use bowline_backend::stream::{Address, UnixAddress};
use bowline_codec::{Framed, Lines, Raw, Text};
use bowline_concurrency::{AnyError, GroupError, TaskGroup, task_group};
use bowline_transport::{
    Ancillary, AncillaryError, DatagramEndpoint, Error, ErrorKind, MessageStream, Messages, Peer,
    Server, ServerHandle, Shared, Transport,
};
use bytes::Bytes;
use futures_util::FutureExt;

use crate::{marked, marks, on_the_kernel, watched};

on_the_kernel!(
    a_handler_gets_and_gives_descriptors,
    a_drain_ends_who_waits_for_descriptors,
    tasks_share_a_stream_of_descriptors,
    endpoints_pass_descriptors,
    what_an_endpoint_does_not_take_is_closed,
);

pub(crate) const LONG: Duration = Duration::from_secs(30);

type Client = MessageStream<UnixStream, Framed<Lines, Text>>;

fn line() -> Framed<Lines, Text> {
    Lines::lf().text()
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// An address that nobody else has.
pub(crate) fn address() -> UnixAddress {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("bowline-descriptors-{}-{number}", std::process::id());
    UnixAddress::from_abstract(name.as_str()).unwrap()
}

/// A server and what talks with it.
pub(crate) async fn in_a_group<F>(body: impl FnOnce(TaskGroup<AnyError>) -> F + Send)
where
    F: Future<Output = Result<(), AnyError>> + Send,
{
    let done: Result<(), GroupError<AnyError>> = task_group(body).await;
    done.unwrap();
}

/// Sends descriptors back with their message, in turn.
async fn give_back(peer: Peer<Client>, mut messages: Messages<Client>) -> Result<(), Error> {
    let mut came = Ancillary::new();
    while let Some(line) = messages.recv_with(&mut came).await? {
        let back: Vec<OwnedFd> = came.take_fds().into_iter().rev().collect();
        peer.send_with(&line, back.into_iter().collect()).await?;
    }
    Ok(())
}

/// A server that gives descriptors back, and a client of it.
async fn with_who_gives_back<F>(talk: impl FnOnce(Client, ServerHandle) -> F + Send)
where
    F: Future<Output = Result<(), AnyError>> + Send,
{
    in_a_group(|group| async move {
        let at = address();
        let bound = Server::unix(at.clone()).codec(line).bind().await?;
        let handle = bound.handle();
        group.spawn(async move { Ok(bound.serve_fn(give_back).await?) });
        let client = MessageStream::new(UnixStream::connect(&at).await?, line());
        talk(client, handle).await
    })
    .await;
}

// T8, SV3
async fn a_handler_gets_and_gives_descriptors() {
    with_who_gives_back(|mut client, handle| async move {
        for count in [0, 2, 64] {
            let fds = (0..count).map(|n| marked(&n.to_string()));
            let asked = format!("{count} of them");
            client.send_with(&asked, fds.collect()).await?;
            let mut came = Ancillary::new();
            assert_eq!(client.recv_with(&mut came).await?, Some(asked));
            let expected: Vec<String> = (0..count).rev().map(|n| n.to_string()).collect();
            assert_eq!(marks(came.take_fds()), expected);
        }
        client.close().await?;
        handle.drain(LONG).await;
        assert_eq!(handle.counters().completed, 1);
        Ok(())
    })
    .await;
}

// T8, SV5
async fn a_drain_ends_who_waits_for_descriptors() {
    with_who_gives_back(|mut client, handle| async move {
        client.send(&"here".to_owned()).await?;
        assert_eq!(client.recv().await?.as_deref(), Some("here"));
        let report = handle.drain(LONG).await;
        assert_eq!((report.finished, report.cancelled), (1, 0));
        assert_eq!(client.recv().await?, None);
        Ok(())
    })
    .await;
}

// T8, TR9
async fn tasks_share_a_stream_of_descriptors() {
    let (here, there) = UnixStream::pair().unwrap();
    let shared = Shared::new(MessageStream::new(here, line()));
    let mut there = MessageStream::new(there, line());
    let other = shared.clone();
    for (sender, mark) in [(&shared, "one"), (&other, "two")] {
        let ancillary = Ancillary::new().fd(marked(mark));
        sender.send_with(&mark.to_owned(), ancillary).await.unwrap();
        sender.send(&"plain".to_owned()).await.unwrap();
        sender.flush().await.unwrap(); // nobody polls it meanwhile
        let mut came = Ancillary::new();
        let received = there.recv_with(&mut came).await.unwrap();
        assert_eq!(received.as_deref(), Some(mark));
        assert_eq!(marks(came.take_fds()), [mark]);
        let received = there.recv_with(&mut came).await.unwrap();
        assert_eq!((received.as_deref(), came.fds().len()), (Some("plain"), 0));
    }
    let (mut came, mut in_vain) = (Ancillary::new(), Ancillary::new());
    let text = "back".to_owned();
    let received = {
        let mut receiving = Box::pin(shared.recv_with(&mut came));
        assert!((&mut receiving).now_or_never().is_none());
        let busy = other.recv_with(&mut in_vain).await.unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Busy);
        let ancillary = Ancillary::new().fd(marked("back"));
        there.send_with(&text, ancillary).await.unwrap();
        there.flush().await.unwrap();
        receiving.await
    };
    assert_eq!(received.unwrap().as_deref(), Some("back"));
    assert_eq!(marks(came.take_fds()), ["back"]);
    shared.close().await.unwrap();
    let (fds, watch) = watched(1);
    let closed = other.send_with(&text, fds.into_iter().collect()).await;
    assert_eq!(closed.unwrap_err().kind(), ErrorKind::Closed);
    watch.all_closed();
}

fn endpoint() -> (DatagramEndpoint<UnixDatagram, Raw>, Address) {
    let at = address();
    let endpoint = DatagramEndpoint::unix_datagram(&at, Raw::new()).unwrap();
    (endpoint, at.into())
}

// T8, T9
async fn endpoints_pass_descriptors() {
    let ((here, ours), (there, theirs)) = (endpoint(), endpoint());
    let mut came = Ancillary::new();
    for count in [0_usize, 1, 64, 0, 3] {
        let message = Bytes::from(vec![1; count * 100]);
        let fds = (0..count).map(|n| marked(&n.to_string()));
        here.send_to_with(&message, &theirs, fds.collect())
            .await
            .unwrap();
        let (received, from) = there.recv_from_with(&mut came).await.unwrap();
        assert_eq!((received, &from), (message, &ours));
        let expected: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        assert_eq!(marks(came.take_fds()), expected);
    }
}

// T8, T9
async fn what_an_endpoint_does_not_take_is_closed() {
    let ((here, ours), (there, theirs)) = (endpoint(), endpoint());
    let message = Bytes::from_static(b"some");
    let mut came = Ancillary::new().capacity(2);

    let (fds, watch) = watched(2);
    let send = here.send_to_with(&message, &theirs, fds.into_iter().collect());
    send.await.unwrap();
    there.recv_from().await.unwrap();
    watch.all_closed();

    let (fds, watch) = watched(3);
    let send = here.send_to_with(&message, &theirs, fds.into_iter().collect());
    send.await.unwrap();
    let cut = there.recv_from_with(&mut came).await.unwrap_err();
    assert_eq!((cut.kind(), cut.peer()), (ErrorKind::Decode, Some(&ours)));
    let source = std::error::Error::source(&cut).unwrap();
    let limit = 2;
    assert_eq!(
        source.downcast_ref(),
        Some(&AncillaryError::Truncated { limit })
    );
    watch.all_closed();

    let (fds, watch) = watched(65);
    let send = here.send_to_with(&message, &theirs, fds.into_iter().collect());
    let refused = send.await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.peer()),
        (ErrorKind::Config, Some(&theirs))
    );
    watch.all_closed();

    // A packet of nobody goes, with what it carries.
    let unnamed = UnixDatagram::unbound().unwrap();
    let (fds, watch) = watched(1);
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let slices = [IoSlice::new(b"whose?")];
    let sent = unnamed.send_to_with_fds(&slices, &borrowed, &theirs).await;
    sent.unwrap();
    drop(fds);
    here.send_to(&message, &theirs).await.unwrap();
    let (received, from) = there.recv_from_with(&mut came).await.unwrap();
    assert_eq!((received, from), (message, ours));
    assert_eq!((came.fds().len(), there.counters().unnamed), (0, 1));
    watch.all_closed();
}
