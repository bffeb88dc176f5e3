//! What comes in, as a stream: every error is an item, also the last one.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::stream::ByteStreamExt;
use bowline_codec::{Framing, LengthDelimited, Lines, Raw, Text};
use bowline_concurrency::sleep;
use bowline_transport::{
    Break, Client, ClientState, DatagramEndpoint, DatagramTransport, DynTransport, ErrorKind,
    Extra, Listener, LocalAddr, MemoryDatagram, MemoryStream, MessageStream, Transport,
    TransportRecv, TransportRegistry,
};
use bytes::Bytes;
use futures_util::future::join;
use futures_util::{FutureExt, StreamExt};

use crate::{accept, client, in_sim, listen, on_every_backend, text};

// CL6, T9
async fn a_packet_that_found_nobody_closes_no_client() {
    let bind = |at| DatagramEndpoint::udp(at, Text::new()).unwrap();
    let at = {
        let gone = bind("127.0.0.1:0".parse().unwrap());
        gone.extra::<LocalAddr>().unwrap().as_inet().unwrap()
    };
    let registry = Arc::new(TransportRegistry::with_builtin(|| Lines::lf().text()));
    for by_url in [false, true] {
        let registry = registry.clone();
        let client = Client::with_dial(move || {
            let registry = registry.clone();
            async move {
                match by_url {
                    true => registry.open(&format!("udp://{at}")),
                    false => Ok(DynTransport::new(DatagramTransport::udp(at, Text::new())?)),
                }
            }
        });
        // Some systems tell of it only who sends again.
        let refused = loop {
            match client.send(&text("is anybody there?")).await {
                Ok(()) => sleep(Duration::from_millis(1)).await,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), ErrorKind::Refused);
        assert_eq!(*client.state().latest(), ClientState::Ready, "{by_url}");
        let server = bind(at);
        while let Err(error) = client.send(&text("and now?")).await {
            assert_eq!(error.kind(), ErrorKind::Refused);
        }
        assert_eq!(server.recv_from().await.unwrap().0, "and now?");
        client.close().await.unwrap();
        assert_eq!(*client.state().latest(), ClientState::Closed);
    }
}

on_every_backend!(
    a_clean_end_ends_the_stream,
    a_cut_frame_is_shown,
    a_reset_is_shown,
    a_refused_frame_is_shown_and_the_next_one_follows,
    a_close_is_shown,
    a_refusal_is_shown,
    a_second_reader_is_busy,
    a_packet_that_found_nobody_closes_no_client,
);

// CL6
async fn a_clean_end_ends_the_stream() {
    let (listener, at) = listen();
    let client = client(at);
    let server = async {
        let mut peer = accept(&listener).await;
        peer.send(&text(1)).await.unwrap();
        peer.close().await.unwrap();
    };
    let read = async {
        client
            .messages()
            .map(Result::unwrap)
            .collect::<Vec<_>>()
            .await
    };
    let (read, ()) = join(read, server).await;
    assert_eq!(read, ["1"]);
    // Whoever comes later sees the same.
    assert!(client.messages().next().await.is_none());
}

// CL6
async fn a_cut_frame_is_shown() {
    let (listener, at) = listen();
    let client = Client::new(at, || LengthDelimited::u16().with(Raw::new()));
    client.connect().await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(b"\0\x02ab\0\x03c").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut messages = pin!(client.messages());
    assert_eq!(messages.next().await.unwrap().unwrap(), "ab");
    let error = messages.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken(Break::Truncated));
    assert!(messages.next().await.is_none());
}

// CL6
async fn a_reset_is_shown() {
    let (listener, at) = listen();
    let client = client(at);
    client.connect().await.unwrap();
    let mut peer = accept(&listener).await;
    peer.send(&text(1)).await.unwrap();
    peer.flush().await.unwrap();
    let mut messages = pin!(client.messages());
    assert_eq!(messages.next().await.unwrap().unwrap(), "1");
    peer.abort();
    let error = messages.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken(Break::Reset));
    assert!(messages.next().await.is_none());
    // A stream that is over keeps nobody else from receiving.
    let after = client.recv().await.unwrap_err();
    assert_eq!(after.kind(), ErrorKind::Broken(Break::Reset));
    assert!(messages.next().await.is_none());
}

// CL6
async fn a_refused_frame_is_shown_and_the_next_one_follows() {
    let (listener, at) = listen();
    let client = client(at);
    client.connect().await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(b"good\n\xff\xff\nbetter\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let read: Vec<_> = client.messages().collect().await;
    let [Ok(first), Err(refused), Ok(last)] = &read[..] else {
        panic!("{read:?}");
    };
    assert_eq!((first.as_str(), last.as_str()), ("good", "better"));
    assert_eq!(refused.kind(), ErrorKind::Decode);
}

// CL6
async fn a_close_is_shown() {
    let (listener, at) = listen();
    let client = client(at);
    client.connect().await.unwrap();
    let _peer = accept(&listener).await;
    let mut messages = pin!(client.messages());
    assert!(messages.next().now_or_never().is_none());
    let close = client.close();
    let (shown, closed) = join(messages.next(), close).await;
    closed.unwrap();
    assert_eq!(shown.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert!(messages.next().await.is_none());
}

// CL6
async fn a_refusal_is_shown() {
    let (listener, at) = listen();
    drop(listener);
    let client = client(at);
    let mut messages = pin!(client.messages());
    let refused = messages.next().await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(messages.next().await.is_none());
}

// CL6, TR9
async fn a_second_reader_is_busy() {
    let (listener, at) = listen();
    let client = client(at);
    client.connect().await.unwrap();
    let mut peer = accept(&listener).await;
    let mut second = pin!(client.messages());
    {
        let mut first = pin!(client.messages());
        assert!(first.next().now_or_never().is_none());
        let busy = second.next().await.unwrap().unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Busy);
    }
    // Nothing is over for who came second.
    peer.send(&text(1)).await.unwrap();
    peer.flush().await.unwrap();
    assert_eq!(second.next().await.unwrap().unwrap(), "1");
}

const CUT: Result<String, ErrorKind> = Err(ErrorKind::Broken(Break::Truncated));

/// What a receiver gives as a stream, to its end, errors by their kinds.
async fn streamed(receiver: impl TransportRecv<String>) -> Vec<Result<String, ErrorKind>> {
    let mut items = receiver.into_stream();
    let mut seen = Vec::new();
    while let Some(item) = items.next().await {
        seen.push(item.map_err(|error| error.kind()));
    }
    assert!(items.next().now_or_never().unwrap().is_none());
    seen
}

// CL6, TR4
#[test]
fn every_receiver_is_a_stream_that_ends_with_its_last_error() {
    in_sim(1, async {
        // Of one connection, whole or boxed: a bad line is an item, a reset the last one.
        for boxed in [false, true] {
            let (here, mut there) = MemoryStream::pair();
            let here = MessageStream::new(here, Lines::lf().text());
            there.write_all(b"one\n\xff\ntwo\nthr").await.unwrap();
            there.shutdown().await.unwrap();
            let seen = match boxed {
                true => streamed(DynTransport::new(here).into_split().1).await,
                false => streamed(here.into_split().1).await,
            };
            let bad = Err(ErrorKind::Decode);
            let due = [Ok(text("one")), bad, Ok(text("two")), CUT];
            assert_eq!(seen, due, "{boxed}");
        }
        // Where connections are replaced the stream goes on, until that is given up.
        let registry = TransportRegistry::with_builtin(|| Lines::lf().text());
        let mut listener = registry.memory().listen("shop").unwrap();
        let transport = registry.open("mem://shop?reconnect=true").unwrap();
        let (sender, receiver) = transport.into_split();
        let serve = async move {
            let mut sender = Some(sender);
            for (n, line) in ["one\ntw", "two\nthr"].into_iter().enumerate() {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(line.as_bytes()).await.unwrap();
                if n == 1 {
                    drop(sender.take()); // there will be no other one
                }
                stream.shutdown().await.unwrap();
            }
        };
        let (seen, ()) = join(streamed(receiver), serve).await;
        assert_eq!(seen, [Ok(text("one")), CUT, Ok(text("two")), CUT]);
        // A packet that nobody understands says nothing of the next one.
        let (here, there) = MemoryDatagram::pair();
        let mut raw = DatagramTransport::new(there, Raw::new());
        raw.send(&Bytes::from_static(b"\xff")).await.unwrap();
        raw.send(&Bytes::from_static(b"good")).await.unwrap();
        let here = DatagramTransport::new(here, Text::new());
        let items = here.into_split().1.into_stream().take(2);
        let seen: Vec<_> = items
            .map(|item| item.map_err(|error| error.kind()))
            .collect()
            .await;
        assert_eq!(seen, [Err(ErrorKind::Decode), Ok(text("good"))]);
    });
}
