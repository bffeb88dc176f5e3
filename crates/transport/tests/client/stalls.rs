//! A server that takes nothing: whoever waits for a reply learns of it.

use std::net::SocketAddr;
use std::time::Duration;

use bowline_backend::net::TcpStream;
use bowline_codec::{Framed, Framing, LengthDelimited, Raw};
use bowline_transport::{
    Break, Client, Delivery, DynTransport, Error, ErrorKind, MessageStream, MessageStreamBuilder,
    Operation, Transport,
};
use bytes::Bytes;
use futures_util::future::join;

use crate::reconnecting::{MS, plain};
use crate::{listen, on_every_backend};

on_every_backend!(
    a_call_that_does_not_go_out_is_not_waited_for,
    a_receiver_learns_that_nothing_goes_out,
    another_server_is_called_after_one_that_takes_nothing,
);

/// More messages of a mebibyte than the buffers of sockets hold.
const MANY: usize = 32;

fn codec() -> Framed<LengthDelimited, Raw> {
    LengthDelimited::u32().with(Raw::new())
}

/// A client that has queued far more than goes out to a server that reads nothing.
async fn stuck(client: &Client<Bytes, Bytes>) {
    let large = Bytes::from(vec![1; 1 << 20]);
    for _ in 0..MANY {
        client.feed(&large).await.unwrap();
    }
}

fn impatient(at: SocketAddr) -> Client<Bytes, Bytes> {
    Client::with_dial(move || async move {
        let stream = TcpStream::connect(at).await.unwrap();
        let builder = MessageStreamBuilder::default().high_water(usize::MAX);
        let builder = builder.write_stall_timeout(Duration::from_millis(100));
        Ok(DynTransport::new(builder.over(stream, codec())))
    })
}

#[track_caller]
fn stalled(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Broken(Break::Stalled), "{error}");
    assert_eq!(error.operation(), Operation::Recv, "{error}");
    assert_eq!(error.delivery(), Delivery::MaybeSent, "{error}");
    assert!(error.unsent_frames() > 0, "{error}");
}

// TR7, CL4
async fn a_call_that_does_not_go_out_is_not_waited_for() {
    let (listener, at) = listen();
    let client = impatient(at);
    stuck(&client).await;
    let (there, _) = listener.accept().await.unwrap();
    let question = Bytes::from_static(b"question");
    stalled(&client.call(&question).await.unwrap_err());
    let error = client.call(&question).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
    // Many calls fail with their connection.
    let client = impatient(at);
    stuck(&client).await;
    let answers = client.call_all([question.clone(), question], 2).await;
    assert_eq!(answers.len(), 2);
    for answer in answers {
        stalled(&answer.unwrap_err());
    }
    drop(there);
}

// TR7
async fn a_receiver_learns_that_nothing_goes_out() {
    let (listener, at) = listen();
    let client = impatient(at);
    stuck(&client).await;
    let (there, _) = listener.accept().await.unwrap();
    for _ in 0..2 {
        stalled(&client.recv().await.unwrap_err());
    }
    drop(there);
}

// TR7, CL2
async fn another_server_is_called_after_one_that_takes_nothing() {
    let (listener, at) = listen();
    let client = impatient(at).reconnect(plain(MS));
    let question = Bytes::from_static(b"question");
    let ask = async {
        stuck(&client).await;
        let error = client.call(&question).await.unwrap_err();
        stalled(&error);
        // None of what was queued goes to the next one, which hears each question once.
        let answer = client.call(&question).await.unwrap();
        assert_eq!(answer, question);
        // The same where somebody only receives.
        stuck(&client).await;
        stalled(&client.recv().await.unwrap_err());
        assert_eq!(client.call(&question).await.unwrap(), question);
        client.close().await.unwrap();
    };
    let serve = async {
        let (deaf, _) = listener.accept().await.unwrap();
        let mut peers = Vec::new();
        for _ in 0..2 {
            let (stream, _) = listener.accept().await.unwrap();
            let mut peer = MessageStream::new(stream, codec());
            assert_eq!(peer.recv().await.unwrap().as_ref(), Some(&question));
            peer.send(&question).await.unwrap();
            peer.flush().await.unwrap();
            peers.push(peer); // which reads nothing more
        }
        assert_eq!(peers[1].recv().await.unwrap(), None);
        drop(deaf);
    };
    join(ask, serve).await;
}
