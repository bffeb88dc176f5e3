//! How many connections there are at most.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::{TcpOptions, TcpStream};
use bowline_backend::stream::ByteStreamExt;
use bowline_concurrency::{Root, checkpoint, now, sleep};
use bowline_transport::{
    AtLimit, Bind, Bound, Break, DynTransport, Error, ErrorKind, Incoming, Listener, MessageStream,
    MessageStreamBuilder, Messages, Peer, Server, ServerHandle, ServerLimits, StreamServer,
    TcpConnector, Transport,
};
use futures_util::future::{Either, join_all, select};

use crate::endings::{ask, greet, say};
use crate::script::{Failure, Script, Scripted};
use crate::{Line, beside, connect, line, start_with, try_greet};

// SV2
pub(crate) async fn places_come_back_on_every_exit() {
    let told = Scripted::new();
    let limits = ServerLimits::new().max_connections(2);
    let (handle, serving) = start_with(limits, Script::new(&told)).await;
    beside(serving, async {
        let mut stays = greet(&handle, "stays").await;
        let mut last = greet(&handle, "first").await;
        for how in ["leave", "fail", "panic", "close", "abort", "peer", "reset"] {
            // There is no place for it: it waits in the backlog.
            let mut next = connect(&handle).await;
            say(&mut next, how).await;
            assert_eq!(ask(&mut stays, "on").await.as_deref(), Some("on"));
            assert_eq!(handle.connections(), 2);
            match how {
                "peer" => last.close().await.unwrap(),
                "reset" => last.abort(),
                how => say(&mut last, how).await,
            }
            let welcome = next.recv().await.unwrap();
            assert_eq!(welcome, Some(format!("welcome {how}")));
            last = next;
        }
        for name in ["unwanted", "unlucky"] {
            let mut client = connect(&handle).await;
            say(&mut client, name).await;
            last.abort();
            client.recv().await.unwrap_err();
            last = greet(&handle, "again").await;
        }
        handle.drain(Duration::from_secs(10)).await;
        assert_eq!(told.most.load(Ordering::Relaxed), 2);
        assert_eq!(handle.counters().refused, 0);
    })
    .await;
    assert_eq!(handle.connections(), 0);
}

/// Whether a further client is reset. A write may have heard of it before the read, which then ends.
async fn is_refused(server: &ServerHandle) -> bool {
    match try_greet(server, "refused").await {
        Ok((_, answer)) => answer.is_none(),
        Err(error) => {
            assert!(error.is_connection(), "{error}");
            true
        }
    }
}

// SV2
pub(crate) async fn beyond_the_limit_is_reset_where_that_is_asked_for() {
    let told = Scripted::new();
    let limits = ServerLimits::new();
    let limits = limits.max_connections(2).at_limit(AtLimit::Refuse);
    let (handle, serving) = start_with(limits, Script::new(&told)).await;
    beside(serving, async {
        let mut stays = greet(&handle, "stays").await;
        for how in ["leave", "fail", "panic"] {
            let mut last = loop {
                // The place of the one before may not be free yet.
                if let Ok((client, Some(_))) = try_greet(&handle, how).await {
                    break client;
                }
                checkpoint().await;
            };
            let before = handle.counters().refused;
            assert!(is_refused(&handle).await);
            assert_eq!(handle.counters().refused, before + 1);
            assert_eq!(ask(&mut stays, "on").await.as_deref(), Some("on"));
            say(&mut last, how).await;
            let (name, _) = told.end().await;
            assert_eq!(name, how);
        }
        handle.drain(Duration::from_secs(10)).await;
        assert_eq!(told.most.load(Ordering::Relaxed), 2);
    })
    .await;
}

// SV2
pub(crate) async fn who_says_nothing_is_reset_beyond_the_limit() {
    let limits = ServerLimits::new();
    let limits = limits.max_connections(1).at_limit(AtLimit::Refuse);
    let (handle, serving) = start_with(limits, Script::new(&Scripted::new())).await;
    beside(serving, async {
        let _stays = greet(&handle, "stays").await;
        let address = handle.local_addrs()[0].as_inet().unwrap();
        // The reset may be told to the connect already.
        if let Ok(stream) = TcpConnector::new(address).connect().await {
            let heard = MessageStream::new(stream, line()).recv().await;
            let reset = heard.unwrap_err().kind();
            assert_eq!(reset, ErrorKind::Broken(Break::Reset));
        }
        handle.drain(Duration::from_secs(10)).await;
    })
    .await;
}

// SV2
pub(crate) async fn a_peer_has_no_more_than_its_share() {
    let told = Scripted::new();
    let limits = ServerLimits::new().max_per_peer(2);
    let (handle, serving) = start_with(limits, Script::new(&told)).await;
    beside(serving, async {
        let mut first = greet(&handle, "first").await;
        let mut second = greet(&handle, "second").await;
        assert!(is_refused(&handle).await);
        assert_eq!(handle.counters().refused_per_peer, 1);
        assert_eq!(ask(&mut first, "leave").await, None);
        while is_refused(&handle).await {
            checkpoint().await;
        }
        assert_eq!(ask(&mut second, "on").await.as_deref(), Some("on"));
        handle.drain(Duration::from_secs(10)).await;
    })
    .await;
}

// SV3
pub(crate) async fn a_silent_peer_is_told_so() {
    let limits = ServerLimits::new().idle_timeout(Duration::from_millis(20));
    let server = Server::tcp(("127.0.0.1", 0)).codec(line).limits(limits);
    let bound = server.bind().await.unwrap();
    let handle = bound.handle();
    let serving = bound.serve_fn(|peer: Peer<_>, mut messages: Messages<_>| async move {
        let mut heard = None;
        loop {
            match messages.recv().await {
                Ok(None) => panic!("the peer waits"),
                Ok(word) => heard = word,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Elapsed);
                    // Before that the client may still have been connecting.
                    match heard.as_deref() {
                        Some("hello") => peer.send(&"are you there?".to_owned()).await?,
                        Some("silence") => return Err(error.into()),
                        _ => continue,
                    }
                }
            }
            // It is usable, and a peer that comes back is forgiven.
            if heard.as_deref() == Some("yes") {
                return Ok::<(), Failure>(());
            }
        }
    });
    beside(serving, async {
        let mut client = connect(&handle).await;
        say(&mut client, "hello").await;
        let asked = client.recv().await.unwrap();
        assert_eq!(asked.as_deref(), Some("are you there?"));
        say(&mut client, "yes").await;
        while client.recv().await.unwrap().is_some() {}
        let mut silent = connect(&handle).await;
        say(&mut silent, "silence").await;
        silent.recv().await.unwrap_err();
        handle.drain(Duration::from_secs(10)).await;
        let counters = handle.counters();
        assert_eq!(
            (counters.completed, counters.broken),
            (1, 1),
            "{counters:?}"
        );
        assert_eq!(counters.failed, 0);
    })
    .await;
}

/// Slow lorises: each sends a byte now and then of a line that never ends, and holds a connection.
// SV2, SV6, TR7
pub(crate) async fn peers_that_trickle_are_cut_while_others_converse() {
    let is_simulated = Backend::current() == Ok(Backend::Sim);
    let (limits, pause) = match is_simulated {
        true => (ServerLimits::new(), Duration::from_secs(1)), // a minute
        false => {
            let most = Duration::from_millis(300);
            (ServerLimits::new().frame_timeout(most), most / 30)
        }
    };
    let told = Scripted::new();
    let limits = limits.max_connections(11);
    let (handle, serving) = start_with(limits, Script::new(&told)).await;
    let address = handle.local_addrs()[0].as_inet().unwrap();
    beside(serving, async {
        let mut steady = greet(&handle, "steady").await;
        let begun = now();
        let trickle = async || {
            let mut stream = TcpConnector::new(address).connect().await.unwrap();
            let begun = now();
            while stream.write_all(b"x").await.is_ok() {
                sleep(pause).await;
            }
            now().saturating_duration_since(begun)
        };
        let all = join_all((0..10).map(|_| trickle()));
        let converse = async {
            loop {
                assert_eq!(ask(&mut steady, "on").await.as_deref(), Some("on"));
                sleep(pause / 2).await;
            }
        };
        let cut = match select(pin!(all), pin!(converse)).await {
            Either::Left((cut, _)) => cut,
            Either::Right((never, _)) => never,
        };
        if is_simulated {
            let minute = Duration::from_secs(60);
            for took in cut {
                assert!(took >= minute && took < minute + 4 * pause, "{took:?}");
            }
            assert!(now().saturating_duration_since(begun) < 2 * minute);
        }
        // Their places are free, and nobody else's was touched.
        let mut clients = Vec::new();
        for n in 0..10 {
            clients.push(greet(&handle, &n.to_string()).await);
        }
        assert_eq!(ask(&mut steady, "on").await.as_deref(), Some("on"));
        let counters = handle.counters();
        assert_eq!((counters.broken, counters.failed), (10, 0));
        handle.drain(Duration::from_secs(100)).await;
    })
    .await;
}

/// More than the buffers of sockets hold, at 60 kB each.
const LINES: usize = 100;

/// Who reads nothing for longer than a system waits that is told to give up, and then all.
pub(crate) async fn reads_late<B, F>(
    server: StreamServer<B, fn() -> Line>,
    over: impl FnOnce(TcpStream) -> F + Send,
) where
    B: Bind<Listener: Listener<Connection: Incoming<Stream: 'static>>>,
    F: Future<Output = DynTransport<String, String>> + Send,
{
    let bound: Bound<B::Listener, fn() -> Line> = server.bind().await.unwrap();
    let handle = bound.handle();
    let long = "x".repeat(60_000);
    let said = long.clone();
    let serving = bound.serve_fn(move |peer, mut messages: Messages<_>| {
        let said = said.clone();
        async move {
            for _ in 0..LINES {
                peer.send(&said).await?;
            }
            assert_eq!(messages.recv().await?, None);
            Ok::<_, Error>(())
        }
    });
    beside(serving, async {
        let narrow = TcpOptions::new().recv_buffer(4096);
        let address = handle.local_addrs()[0].as_inet().unwrap();
        let stream = TcpConnector::new(address).options(narrow).connect().await;
        let mut client = over(stream.unwrap()).await;
        sleep(Duration::from_secs(1200)).await;
        for _ in 0..LINES {
            assert!(client.recv().await.unwrap().as_ref() == Some(&long));
        }
        client.close().await.unwrap();
        handle.drain(Duration::from_secs(100)).await;
        let counters = handle.counters();
        assert_eq!((counters.completed, counters.broken), (1, 0));
    })
    .await;
}

pub(crate) async fn plain(stream: TcpStream) -> DynTransport<String, String> {
    DynTransport::new(MessageStream::new(stream, line()))
}

// TR7, SV6
#[test]
fn who_may_read_nothing_for_long_is_waited_for() {
    let hours = Duration::from_secs(7200);
    for stall in [None, Some(hours)] {
        let stream = || MessageStreamBuilder::default().write_stall_timeout(stall);
        let codec: fn() -> Line = line;
        let in_sim = Root::new().backend(Backend::Sim).entered(async {
            let server = Server::tcp(("127.0.0.1", 0)).codec(codec).stream(stream());
            reads_late(server, plain).await;
            for url in ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0?nodelay=no"] {
                let server = Server::url(url).codec(codec).stream(stream());
                reads_late(server, plain).await;
            }
        });
        bowline_sim::block_on(7, in_sim);
    }
}
