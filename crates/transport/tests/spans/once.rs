//! Whatever a transport is hidden behind, and by whatever way it is used: one span each.

use bowline_backend::net::TcpListener;
use bowline_codec::{Framing, LengthDelimited, Raw};
use bowline_transport::{
    Client, DynTransport, MessageStream, Shared, Transport, TransportRecv, TransportRegistry,
    TransportSend,
};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join;
use std::future::poll_fn;
use tracing::{Instrument, info_span};

use crate::recorder::{Recorded, below};
use crate::{HELLO, Messages, on_every_backend, pair};

on_every_backend! {
    whatever_hides_a_transport_traces_it_once,
    every_way_to_send_is_traced_once,
    calls_are_sends_and_receives,
}

pub(crate) fn names_and_outcomes(outer: &tracing::Span) -> Vec<String> {
    let spans = below(outer);
    spans.iter().map(Recorded::name_and_outcome).collect()
}

/// Sends, receives and closes by all the ways of a transport, within `outer`.
async fn talk<T>(mut there: Messages, mut here: T, peer: &str)
where
    T: Transport<Sent = Bytes, Received = Bytes>,
{
    let outer = info_span!("outer");
    let whole = async {
        here.connect().await.unwrap();
        here.send(&HELLO).await.unwrap();
        assert_eq!(there.recv().now_or_never().unwrap().unwrap(), Some(HELLO));
        there.send(&HELLO).now_or_never().unwrap().unwrap();
        assert_eq!(here.recv().await.unwrap(), Some(HELLO));
        let (mut sender, _) = here.split();
        sender.send(&HELLO).await.unwrap();
    };
    whole.instrument(outer.clone()).await;
    let ok = |name| Recorded::new(name).peer(peer).outcome("ok");
    let mut spans = below(&outer);
    // Those of the other end, and the one connect of who dials.
    let others = [
        Recorded::new("recv").peer("here").outcome("ok"),
        Recorded::new("send").peer("here").outcome("ok"),
    ];
    spans.retain(|span| !others.contains(span) && *span != ok("connect"));
    assert_eq!(spans, [ok("send"), ok("recv"), ok("send")]);

    let (mut sender, mut receiver) = here.into_split();
    let outer = info_span!("halves");
    let halves = async {
        sender.send(&HELLO).await.unwrap();
        there.split().0.shutdown().now_or_never().unwrap().unwrap();
        assert_eq!(receiver.recv().await.unwrap(), None);
    };
    halves.instrument(outer.clone()).await;
    let ended = Recorded::new("recv").peer(peer).outcome("end");
    assert_eq!(below(&outer), [ok("send"), ended]);
}

// TR16
async fn whatever_hides_a_transport_traces_it_once() {
    let (here, there) = pair();
    talk(there, DynTransport::new(here), "there").await;

    let codec = || LengthDelimited::u32().with(Raw::new());
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_addr().unwrap();
    let registry = TransportRegistry::with_builtin(codec);
    for by_registry in [true, false] {
        let url = format!("tcp://{at}");
        let outer = info_span!("outer");
        let talking = async {
            let accepting = async {
                let (stream, _) = listener.accept().await.unwrap();
                let mut there = MessageStream::new(stream, codec()).into_split();
                // By polls, which are in nobody's span.
                let heard = poll_fn(|cx| there.1.poll_recv(cx)).await;
                assert_eq!(heard.unwrap(), Some(HELLO));
                there.0.queue(&HELLO).unwrap();
                poll_fn(|cx| there.0.poll_flush(cx)).await.unwrap();
                there
            };
            if by_registry {
                let mut here = registry.open(&url).unwrap();
                let here_talks = async {
                    here.send(&HELLO).await.unwrap();
                    assert_eq!(here.recv().await.unwrap(), Some(HELLO));
                    here.close().await.unwrap();
                };
                drop(join(here_talks, accepting).await.1);
            } else {
                let here = Client::new(at, codec);
                let here_talks = async {
                    here.send(&HELLO).await.unwrap();
                    assert_eq!(here.recv().await.unwrap(), Some(HELLO));
                    here.close().await.unwrap();
                };
                drop(join(here_talks, accepting).await.1);
            }
        };
        talking.instrument(outer.clone()).await;
        let names = names_and_outcomes(&outer);
        assert_eq!(names, ["send ok", "recv ok", "close ok"], "{by_registry}");
        // Before the first send nobody knows where it goes.
        let known = |name| Recorded::new(name).peer(&at.to_string()).outcome("ok");
        assert_eq!(below(&outer)[1..], [known("recv"), known("close")]);
    }
}

// TR16
async fn every_way_to_send_is_traced_once() {
    let (mut here, mut there) = pair();
    let large = Bytes::from(vec![0; 2 << 20]);
    let outer = info_span!("outer");
    let sending = async {
        let (sender, _) = here.split();
        sender.feed(&HELLO).await.unwrap();
        sender.reserve().await.unwrap().send(&HELLO).unwrap();
        let permit = sender.reserve().await.unwrap();
        let refused = permit.send(&large).unwrap_err();
        let shared = Shared::new(here);
        shared.feed(&HELLO).await.unwrap();
        shared.reserve().await.unwrap().send(&HELLO).unwrap();
        let permit = shared.reserve().await.unwrap();
        let told = permit.send(&large).unwrap_err();
        (refused, told, shared)
    };
    let (refused, told, shared) = sending.instrument(outer.clone()).await;
    let ok = || Recorded::new("send").peer("there").outcome("ok");
    let refused = bowline_transport::Error::from_encode(refused);
    let failed = Recorded::new("send").peer("there");
    let failed = |error: &bowline_transport::Error| {
        let kind = format!("{:?}", error.kind());
        failed.clone().error(&kind, &error.to_string())
    };
    let (refused, told) = (failed(&refused), failed(&told));
    assert_eq!(below(&outer), [ok(), ok(), refused, ok(), ok(), told]);
    shared.flush().await.unwrap();
    for _ in 0..4 {
        assert_eq!(
            poll_fn(|cx| there.split().1.poll_recv(cx)).await.unwrap(),
            Some(HELLO)
        );
    }
}

// TR16
async fn calls_are_sends_and_receives() {
    let peers = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let other = peers.clone();
    let client = Client::with_dial(move || {
        let (here, there) = pair();
        other.lock().unwrap().push(there);
        async move { Ok(DynTransport::new(here)) }
    });
    client.connect().await.unwrap();
    let mut there = peers.lock().unwrap().pop().unwrap();
    let echo = async move {
        loop {
            let (sender, receiver) = there.split();
            let heard = poll_fn(|cx| receiver.poll_recv(cx)).await;
            let Ok(Some(heard)) = heard else { return };
            sender.queue(&heard).unwrap();
        }
    };
    let outer = info_span!("outer");
    let calling = async {
        assert_eq!(client.call(&HELLO).await.unwrap(), HELLO);
        let large = Bytes::from(vec![0; 2 << 20]);
        client.call(&large).await.unwrap_err();
        let replies = client.call_all([HELLO, HELLO, HELLO], 2).await;
        assert!(
            replies
                .iter()
                .all(|reply| *reply.as_ref().unwrap() == HELLO)
        );
        client.feed(&HELLO).await.unwrap();
        client.reserve().await.unwrap().send(&HELLO).unwrap();
        client.close().await.unwrap();
    };
    join(calling.instrument(outer.clone()), echo).await;
    let of = |name: &str| {
        let all = below(&outer);
        let all = all.iter().map(Recorded::name_and_outcome);
        all.filter(|span| span.starts_with(name))
            .collect::<Vec<_>>()
    };
    let mut sends = vec!["send ok"; 6];
    sends.insert(1, "send TooLarge { limit: 1048576 }");
    assert_eq!(of("send"), sends);
    assert_eq!(of("recv"), ["recv ok"; 4]);
    assert_eq!(of("close"), ["close ok"]);
}
