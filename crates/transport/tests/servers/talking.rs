//! What handlers hear.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use bowline_backend::stream::ByteStreamExt;
use bowline_codec::{Framing, LengthDelimited, Lines, Text};
use bowline_concurrency::sync::Event;
use bowline_concurrency::{AnyError, TaskGroup, checkpoint, shield, sleep, task_group, timeout};
use bowline_transport::{
    Break, ConnectionHandler, End, Error, ErrorKind, Extra, LocalAddr, MemoryNetwork,
    MessageStream, Messages, Peer, PeerAddr, Server, TcpConnector, Transport,
};

use crate::script::{Script, Scripted};
use crate::{beside, connect, line};

async fn raw(server: &bowline_transport::ServerHandle) -> bowline_backend::net::TcpStream {
    let address = server.local_addrs()[0].as_inet().unwrap();
    TcpConnector::new(address).connect().await.unwrap()
}

// SV3
pub(crate) async fn what_cannot_be_decoded_reaches_the_handler() {
    let codec = || Lines::lf().max_frame(10).max_skip(1000).text();
    let bound = Server::tcp(("127.0.0.1", 0)).codec(codec).bind().await;
    let bound = bound.unwrap();
    let handle = bound.handle();
    let serving = bound.serve_fn(|peer, mut messages| async move {
        loop {
            match messages.recv().await {
                Ok(Some(line)) => peer.send(&line).await?,
                Ok(None) => return Ok::<(), Error>(()),
                Err(error) if error.is_message() => {
                    assert_eq!(error.kind(), ErrorKind::Decode);
                    peer.send(&"pardon?".to_owned()).await?;
                }
                Err(error) => return Err(error),
            }
        }
    });
    beside(serving, async {
        let mut stream = raw(&handle).await;
        stream
            .write_all(b"one\nfar too long for it\ntwo\n")
            .await
            .unwrap();
        stream.write_all(b"\xff\xfe\nthree\n").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut client = MessageStream::new(stream, line());
        for heard in ["one", "pardon?", "two", "pardon?", "three"] {
            assert_eq!(client.recv().await.unwrap().as_deref(), Some(heard));
        }
        assert_eq!(client.recv().await.unwrap(), None);

        // A line without an end cannot be skipped: nothing can follow.
        let mut stream = raw(&handle).await;
        stream.write_all(&[b'x'; 2000]).await.unwrap();
        let mut client = MessageStream::new(stream, line());
        let cut = client.recv().await.unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::Broken(Break::Reset));
        handle.drain(Duration::from_secs(10)).await;
        let counters = handle.counters();
        assert_eq!((counters.completed, counters.broken), (1, 1));
    })
    .await;
}

/// What a handler does with errors of `recv`.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// It answers those of one message, as in the guide.
    AnswersMessages,
    /// It answers all.
    AnswersAll,
    /// It looks at nothing, the end included.
    AsksOn,
    /// It looks at nothing while no cancel reaches it.
    AsksOnShielded,
}

/// Counts lines, and tells how its connections ended.
struct Counter {
    habit: Habit,
    ends: Sender<End>,
}

impl<T> ConnectionHandler<T> for Counter
where
    T: Transport<Sent = String, Received = String> + 'static,
{
    type Error = Error;

    async fn handle(&self, peer: &Peer<T>, messages: &mut Messages<T>) -> Result<(), Error> {
        let mut count = 0;
        if matches!(self.habit, Habit::AsksOnShielded) {
            let asked = shield(async {
                for _ in 0..10 {
                    let _ = messages.recv().await;
                }
            });
            asked.await;
        }
        loop {
            match (messages.recv().await, self.habit) {
                (Ok(Some(_)), _) => count += 1,
                (_, Habit::AsksOn | Habit::AsksOnShielded) => {}
                (Ok(None), _) => break,
                (Err(error), Habit::AnswersMessages) if !error.is_message() => return Err(error),
                (Err(_), _) => peer.send(&"pardon?".to_owned()).await?,
            }
        }
        peer.send(&format!("{count} lines")).await
    }

    async fn on_end(&self, _: &Peer<T>, end: End) {
        self.ends.send(end).unwrap();
    }
}

// SV3
pub(crate) async fn a_stranger_costs_a_handler_one_error() {
    let codec = || LengthDelimited::u32().with(Text::new());
    let broken = End::Broken(ErrorKind::Broken(Break::Undecodable));
    for (habit, answers, ends) in [
        (Habit::AnswersMessages, 0, broken),
        (Habit::AnswersAll, 2, broken),
        (Habit::AsksOn, 0, End::Cancelled),
        (Habit::AsksOnShielded, 0, End::Cancelled),
    ] {
        let server = Server::tcp(("127.0.0.1", 0)).codec(codec);
        let bound = server.bind().await.unwrap();
        let handle = bound.handle();
        let (told, heard) = channel();
        let serving = bound.serve(Counter { habit, ends: told });
        beside(serving, async {
            let mut stream = raw(&handle).await;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
            let mut client = MessageStream::new(stream, codec());
            let mut heard_back = Vec::new();
            let end = loop {
                match client.recv().await {
                    Ok(Some(line)) => heard_back.push(line),
                    end => break end.map_err(|error| error.kind()),
                }
            };
            let due = &["pardon?", "0 lines"][..answers];
            assert_eq!(heard_back, due, "{habit:?}");
            match habit {
                Habit::AnswersAll => assert_eq!(end, Ok(None)),
                _ => assert_eq!(end, Err(ErrorKind::Broken(Break::Reset)), "{habit:?}"),
            }
            drop(client);
            handle.drain(Duration::from_secs(10)).await;
            let counters = handle.counters();
            let cancelled = u64::from(matches!(habit, Habit::AsksOn | Habit::AsksOnShielded));
            assert_eq!(
                (counters.broken, counters.cancelled, counters.completed),
                (1 - cancelled, cancelled, 0)
            );
        })
        .await;
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [ends], "{habit:?}");
    }
}

// SV3
pub(crate) async fn a_receive_that_times_out_loses_nothing() {
    const LINES: usize = 60;
    let bound = Server::tcp(("127.0.0.1", 0)).codec(line).bind().await;
    let bound = bound.unwrap();
    let handle = bound.handle();
    let patient = Arc::new(Event::new());
    let told = patient.clone();
    let serving = bound.serve_fn(move |peer, mut messages| {
        let patient = told.clone();
        async move {
            let mut timeouts = 0;
            loop {
                match timeout(Duration::ZERO, messages.recv()).await {
                    Ok(received) => match received? {
                        Some(line) => peer.send(&line).await?,
                        None => return Ok::<(), Error>(()),
                    },
                    Err(_) => {
                        timeouts += 1;
                        if timeouts == 5 {
                            patient.set();
                        }
                        sleep(Duration::from_micros(50)).await;
                    }
                }
            }
        }
    });
    beside(serving, async {
        let mut stream = raw(&handle).await;
        patient.wait().await;
        for n in 0..LINES {
            stream
                .write_all(format!("line {n}").as_bytes())
                .await
                .unwrap();
            for _ in 0..n % 7 {
                checkpoint().await;
            }
            if n % 10 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            stream.write_all(b"\n").await.unwrap();
        }
        stream.shutdown().await.unwrap();
        let mut client = MessageStream::new(stream, line());
        for n in 0..LINES {
            let heard = client.recv().await.unwrap();
            assert_eq!(heard, Some(format!("line {n}")));
        }
        assert_eq!(client.recv().await.unwrap(), None);
        handle.drain(Duration::from_secs(10)).await;
        assert_eq!(handle.counters().panicked, 0);
    })
    .await;
}

// SV6
pub(crate) async fn many_messages_in_one_write() {
    const LINES: usize = 2000;
    let bound = Server::tcp(("127.0.0.1", 0)).codec(line).bind().await;
    let bound = bound.unwrap();
    let handle = bound.handle();
    let serving = bound.serve_each(|peer, line: String| async move { peer.send(&line).await });
    beside(serving, async {
        let mut stream = raw(&handle).await;
        let all: String = (0..LINES).map(|n| format!("{n}\n")).collect();
        stream.write_all(all.as_bytes()).await.unwrap();
        let mut client = MessageStream::new(stream, line());
        for n in 0..LINES {
            assert_eq!(client.recv().await.unwrap(), Some(n.to_string()));
        }
        let mut alone = connect(&handle).await;
        alone.send(&"alone".to_owned()).await.unwrap();
        assert_eq!(alone.recv().await.unwrap().as_deref(), Some("alone"));
        let report = handle.drain(Duration::from_secs(10)).await;
        assert_eq!(report.finished, 2);
    })
    .await;
}

/// Speaks with a scripted server over `stream`.
async fn speak<S>(stream: S)
where
    S: bowline_backend::stream::ByteStream + Extra,
{
    let mut client = MessageStream::new(stream, line());
    client.send(&"Ada".to_owned()).await.unwrap();
    let heard = client.recv().await.unwrap();
    assert_eq!(heard.as_deref(), Some("welcome Ada"));
    client.close().await.unwrap();
}

// SV6
pub(crate) async fn every_kind_of_place() {
    let network = MemoryNetwork::new();
    let server = Server::memory(&network, "shop").codec(line);
    let bound = server.clone().bind().await.unwrap();
    assert_eq!(bound.local_addrs()[0].to_string(), "shop");
    let taken = server.clone().bind().await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Address);
    let handle = bound.handle();
    beside(bound.serve(Script::new(&Scripted::new())), async {
        let stream = network.connect("shop").await.unwrap();
        assert_eq!(stream.extra::<PeerAddr>().unwrap().to_string(), "shop");
        let client = stream.extra::<LocalAddr>().unwrap();
        assert!(client.to_string().starts_with("shop#"), "{client}");
        speak(stream).await;
        handle.drain(Duration::from_secs(10)).await;
        let gone = network.connect("shop").await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::Refused);
    })
    .await;
    assert!(server.bind().await.is_ok());

    #[cfg(unix)]
    {
        use bowline_backend::net::{UnixListener, UnixStream};
        use bowline_backend::stream::UnixAddress;
        // A listener that was made elsewhere, with an address of its own kind.
        let name = format!("bowline-server-{}", std::process::id());
        let address = UnixAddress::from_abstract(name).unwrap();
        let listener = UnixListener::bind(&address).unwrap();
        let bound = Server::over(listener).codec(line).bind().await.unwrap();
        let handle = bound.handle();
        let clients = task_group(|group: TaskGroup<AnyError>| async move {
            let serving = bound.serve(Script::new(&Scripted::new()));
            group.spawn(async move { Ok(serving.await?) });
            speak(UnixStream::connect(&address).await?).await;
            handle.drain(Duration::from_secs(10)).await;
            Ok(())
        });
        clients.await.unwrap();
    }
}

// T7
pub(crate) async fn a_path_goes_with_its_server() {
    #[cfg(unix)]
    serve_at_a_path().await;
}

#[cfg(unix)]
async fn serve_at_a_path() {
    use std::sync::atomic::{AtomicU32, Ordering};

    use bowline_backend::net::{Stale, UnixListenOptions, UnixListener, UnixStream};
    use bowline_backend::stream::UnixAddress;
    use bowline_transport::UnixPlace;

    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("bowline-server-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let address = UnixAddress::from_path(&path).unwrap();
    // What a server that was killed left behind.
    drop(UnixListener::bind(&address).unwrap());

    let refused = Server::unix(path.as_path()).codec(line).bind().await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Address);
    let replacing = UnixListenOptions::new().stale(Stale::ReplaceIfRefused);
    let place = UnixPlace::from(address.clone()).options(replacing.unlink_at_close());
    for place in [place, UnixPlace::from(path)] {
        let bound = Server::unix(place).codec(line).bind().await.unwrap();
        let handle = bound.handle();
        beside(bound.serve(Script::new(&Scripted::new())), async {
            speak(UnixStream::connect(&address).await.unwrap()).await;
            handle.drain(Duration::from_secs(10)).await;
        })
        .await;
    }
    let gone = UnixStream::connect(&address).await.unwrap_err();
    assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);

    let long = "x".repeat(200);
    let too_long = Server::unix(long).codec(line).bind().await.unwrap_err();
    assert_eq!(too_long.kind(), ErrorKind::Address);
}

// SV6
pub(crate) async fn what_a_handler_says_first_arrives_whatever_it_waits_for() {
    let bound = Server::tcp(("127.0.0.1", 0)).codec(line).bind().await;
    let bound = bound.unwrap();
    let handle = bound.handle();
    let go_on = Arc::new(Event::new());
    let serving = {
        let go_on = go_on.clone();
        bound.serve_fn(move |peer, _messages| {
            let go_on = go_on.clone();
            async move {
                peer.send(&"welcome".to_owned()).await?;
                // Nobody reads, flushes or closes meanwhile.
                go_on.wait().await;
                Ok::<(), Error>(())
            }
        })
    };
    beside(serving, async {
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut client = connect(&handle).await;
            let welcome = timeout(Duration::from_secs(20), client.recv()).await;
            let welcome = welcome.expect("what was said stays where it was");
            assert_eq!(welcome.unwrap().as_deref(), Some("welcome"));
            clients.push(client);
        }
        go_on.set();
        handle.drain(Duration::from_secs(10)).await;
        assert_eq!(handle.counters().completed, 10);
    })
    .await;
}
