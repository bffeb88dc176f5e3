//! Servers and clients of packets whose place is a URL.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::Backend;
#[cfg(unix)]
use bowline_backend::stream::UnixAddress;
use bowline_codec::{Lines, Text};
use bowline_concurrency::sync::Event;
use bowline_concurrency::{AnyError, GroupError, Root, TaskGroup, task_group, timeout};
use bowline_transport::{
    Client, ClientState, ClientTarget, DatagramTarget, ErrorKind, MemoryNetwork, Operation,
    PacketUrlPlace, Server, Url, UrlError, UrlErrorKind, UrlPlace,
};

fn on_each(law: impl AsyncFn(Backend)) {
    for backend in [
        Backend::Tokio,
        Backend::Smol,
        Backend::AsyncStd,
        Backend::Sim,
    ] {
        Root::new().backend(backend).block_on(async {
            let done = timeout(Duration::from_secs(60), law(backend)).await;
            done.unwrap_or_else(|_| panic!("it did not end on {backend}"));
        });
    }
}

/// Runs a server at `place` that answers what it is asked, and beside it `talk`, with its address.
async fn serving<F: Future<Output = Result<(), AnyError>> + Send>(
    place: impl Into<PacketUrlPlace>,
    talk: impl FnOnce(String) -> F + Send,
) {
    let bound = Server::url_datagrams(place).codec(Text::new).bind().await;
    let bound = bound.unwrap();
    let (handle, at) = (bound.handle(), bound.local_addrs()[0].to_string());
    let talk = Box::pin(talk(at));
    let both = task_group(|group: TaskGroup<AnyError>| async move {
        group.spawn(async move {
            let echo = bound
                .serve_each(|peer, asked| async move { peer.send(&format!("re {asked}")).await });
            Ok(echo.await?)
        });
        talk.await?;
        handle.drain(Duration::from_secs(10)).await;
        Ok(())
    });
    let both: Result<(), GroupError<AnyError>> = both.await;
    both.unwrap();
}

async fn ask(target: impl Into<DatagramTarget>) -> Result<(), AnyError> {
    let client = Client::datagrams(target, Text::new);
    assert_eq!(*client.state().latest(), ClientState::Idle);
    for word in ["hello", "again"] {
        assert_eq!(client.call(&word.to_owned()).await?, format!("re {word}"));
    }
    assert_eq!(*client.state().latest(), ClientState::Ready);
    assert!(client.local_addr().is_some() && client.peer_addr().is_some());
    client.close().await?;
    assert!(
        client
            .send(&"hello".to_owned())
            .await
            .unwrap_err()
            .is_closed()
    );
    Ok(())
}

// TR11, T9
#[test]
fn udp_is_served_and_reached_by_url() {
    on_each(async |_| {
        for url in ["udp://127.0.0.1:0", "udp://127.0.0.1", "udp://localhost:0"] {
            serving(url, async |at| {
                let address: std::net::SocketAddr = at.parse()?;
                ask(format!("udp://{at}?max_frame=1KiB")).await?;
                ask(format!("udp://{at}").parse::<Url>()?).await?;
                ask(&at[..]).await?;
                ask(address).await?;
                ask((address.ip().to_string(), address.port())).await
            })
            .await;
        }
        for url in ["udp://:0", "udp://*:0"] {
            serving(url, async |at| {
                let (_, port) = at.rsplit_once(':').unwrap();
                ask(format!("udp://localhost:{port}")).await?;
                ask(format!("127.0.0.1:{port}")).await?;
                ask(format!("udp://[::1]:{port}")).await
            })
            .await;
        }
    });
}

// TR11, T9
#[cfg(target_os = "linux")]
#[test]
fn unix_sockets_of_datagrams_are_served_and_reached_by_url() {
    on_each(async |backend| {
        let directory = std::env::temp_dir();
        let name = format!("bowline-packet-urls-{}-{backend}", std::process::id());
        let path = directory.join(&name);
        let url = format!("unixgram:{}", path.display());
        for _ in 0..2 {
            // The second time the path went with its server.
            serving(url.clone(), async |_| {
                ask(url.clone()).await?;
                ask(UnixAddress::from_path(&path)?).await
            })
            .await;
        }
        let url = format!("unixgram:@{name}");
        serving(url.clone(), async |_| ask(url.clone()).await).await;
        // As without a URL.
        let address = UnixAddress::from_abstract(name.as_str()).unwrap();
        let bound = Server::unix_datagram(address.clone()).codec(Text::new);
        let bound = bound.bind().await.unwrap();
        assert_eq!(bound.local_addrs(), [address.into()]);
    });
}

// TR11, T7
#[cfg(target_os = "linux")]
#[test]
fn a_path_of_packets_is_made_as_its_url_says() {
    use bowline_backend::net::UnixDatagram;
    use std::os::unix::fs::PermissionsExt;

    on_each(async |backend| {
        let name = format!("bowline-packet-paths-{}-{backend}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let url = format!("unixgram:{}", path.display());
        // As a server leaves it that was killed.
        drop(UnixDatagram::bind(&UnixAddress::from_path(&path).unwrap()).unwrap());
        for query in ["", "?stale=refuse", "?mode=0660"] {
            let bound = Server::url_datagrams(format!("{url}{query}")).codec(Text::new);
            let error = bound.bind().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Address, "{query}: {error}");
        }
        for (query, mode) in [("?stale=replace&mode=0622", 0o622), ("?mode=600", 0o600)] {
            serving(format!("{url}{query}"), async |_| {
                if backend != Backend::Sim {
                    let made = std::fs::metadata(&path)?.permissions();
                    assert_eq!(made.mode() & 0o777, mode);
                }
                ask(url.clone()).await
            })
            .await;
        }
    });
}

// TR11
#[test]
fn names_in_memory_are_reached_by_url() {
    on_each(async |_| {
        let network = MemoryNetwork::new();
        let place = UrlPlace::from("mem://shop").network(&network);
        let bound = Server::url(place).codec(|| Lines::lf().text()).bind().await;
        let bound = bound.unwrap();
        let (handle, line) = (bound.handle(), || Lines::lf().text());
        let both = task_group(|group: TaskGroup<AnyError>| async move {
            group.spawn(async move {
                let echo = bound.serve_each(|peer, asked| async move { peer.send(&asked).await });
                Ok(echo.await?)
            });
            let target = ClientTarget::from("mem://shop?max_frame=1KiB").network(&network);
            let client = Client::new(target, line);
            assert_eq!(client.call(&"hello".to_owned()).await?, "hello");
            client.close().await?;
            handle.drain(Duration::from_secs(10)).await;
            Ok(())
        });
        let both: Result<(), GroupError<AnyError>> = both.await;
        both.unwrap();
        let nowhere = Client::new("mem://shop", line).connect().await.unwrap_err();
        assert_eq!(nowhere.kind(), ErrorKind::Config);
        let why = nowhere.source().unwrap().to_string();
        assert!(why.contains("`ClientTarget::network` says which"), "{why}");
    });
}

// TR11
#[test]
fn a_url_of_the_other_kind_says_what_is_for_it() {
    let source = |error: &bowline_transport::Error| {
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let source = error.source().expect("a reason");
        *source.downcast_ref::<UrlError>().expect("of a URL")
    };
    let told = |error: bowline_transport::Error, at: &str, operation, kind, instead: &[&str]| {
        let why = source(&error);
        assert_eq!((why.kind(), why.offset()), (kind, None));
        assert_eq!(error.operation(), operation);
        assert_eq!(error.place(), Some(&format!("`{at}`")[..]));
        for instead in instead {
            assert!(why.to_string().contains(instead), "{why}");
        }
    };
    on_each(async |_| {
        let line = || Lines::lf().text();
        let mut packets = vec!["udp://host:80"];
        let mut streams = vec!["tcp://host:80", "mem://host"];
        if cfg!(unix) {
            packets.push("unixgram:/path");
            streams.push("unix:/path");
        }
        if cfg!(feature = "tls") {
            streams.push("tls://host:80");
        }
        for url in packets {
            let kind = UrlErrorKind::OfPackets;
            let instead = ["`Client::datagrams`", "`Server::url_datagrams`"];
            let error = Client::new(url, line).connect().await.unwrap_err();
            told(error, url, Operation::Connect, kind, &instead);
            let error = Server::url(url).codec(line).bind().await.unwrap_err();
            told(error, url, Operation::Bind, kind, &instead);
        }
        for url in streams {
            let kind = UrlErrorKind::OfStreams;
            let instead = ["`Client::new`", "`Server::url`"];
            let error = Client::datagrams(url, Text::new).connect().await;
            told(error.unwrap_err(), url, Operation::Connect, kind, &instead);
            let error = Server::url_datagrams(url).codec(Text::new).bind().await;
            told(error.unwrap_err(), url, Operation::Bind, kind, &instead);
        }
    });
}

// TR11, T9
#[test]
fn what_is_no_place_for_packets_is_told() {
    on_each(async |_| {
        for (url, expected) in [
            ("pdu://:80", "there is no transport `pdu`; there are udp"),
            ("udp:/path", "it names a path"),
            ("udp://h:70000", "port"),
            ("udp://:0?max_frame=3", "there is no key `max_frame`"),
            ("udp://:0?mode=0660", "there is no key `mode`"),
            ("unixgram://host", "it names no path"),
            (
                "unixgram:/path?mode=9",
                "`mode` has to be permissions in octal digits",
            ),
            (
                "unixgram:/path?stale=1",
                "`stale` has to be `refuse` or `replace`",
            ),
            (
                "unixgram:/path?max_frame=3",
                "no key `max_frame`; there are stale, mode",
            ),
            ("unixgram:@name?mode=0660", "the key `mode` is for a path"),
            ("127.0.0.1:80", ""),
            ("no url", ""),
            ("", ""),
        ] {
            let bound = Server::url_datagrams(url).codec(Text::new).bind().await;
            let error = bound.err().unwrap_or_else(|| panic!("{url} was taken"));
            assert_eq!(error.kind(), ErrorKind::Config, "{url}: {error}");
            assert_eq!(error.operation(), Operation::Bind, "{url}");
            let said = error.source().expect("a reason").to_string();
            assert!(said.contains(expected), "{url}: {said}");
        }
        for (target, expected) in [
            ("pdu://h:80", "there is no transport `pdu`; there are udp"),
            ("udp://:80", "it names no host"),
            ("udp://*:80", "it names no host"),
            ("udp://h", "it names no port"),
            ("udp://h:0", "it names no port"),
            ("udp://h:1?reconnect=on", "there is no key `reconnect`"),
            (":80", "it names no host"),
            ("*:80", "it names no host"),
            ("h:0", "it names no port"),
            ("h", "`host:port` is due"),
            ("unixgram:", "it names no path"),
        ] {
            let connected = Client::datagrams(target, Text::new).connect().await;
            let error = connected.expect_err(target);
            assert_eq!(error.kind(), ErrorKind::Config, "{target}: {error}");
            let said = error.source().expect("a reason").to_string();
            assert!(said.contains(expected), "{target}: {said}");
        }
    });
}

// T9, CL4
#[test]
fn a_late_answer_to_a_client_of_packets_is_nobodys() {
    on_each(async |_| {
        let bound = Server::url_datagrams("udp://127.0.0.1:0").codec(Text::new);
        let bound = bound.bind().await.unwrap();
        let (handle, at) = (bound.handle(), bound.local_addrs()[0].to_string());
        let (given_up, answered) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let both = task_group(|group: TaskGroup<AnyError>| async move {
            let events = (given_up.clone(), answered.clone());
            group.spawn(async move {
                let echo = bound.serve_each(move |peer, asked| {
                    let (given_up, answered) = events.clone();
                    async move {
                        if asked == "late" {
                            given_up.wait().await;
                        }
                        let sent = peer.send(&format!("re {asked}")).await;
                        answered.set();
                        sent
                    }
                });
                Ok(echo.await?)
            });
            let client = Client::datagrams(format!("udp://{at}"), Text::new);
            let (late, next) = ("late".to_owned(), "next".to_owned());
            let call = timeout(Duration::from_millis(20), client.call(&late));
            assert!(call.await.is_err());
            given_up.set();
            answered.wait().await;
            assert_eq!(client.call(&next).await?, "re next");
            client.close().await?;
            handle.drain(Duration::from_secs(10)).await;
            Ok(())
        });
        let both: Result<(), GroupError<AnyError>> = both.await;
        both.unwrap();
    });
}

// CL2, T9
#[test]
fn a_refused_packet_is_told_and_another_socket_made_where_that_is_wanted() {
    on_each(async |_| {
        let closed = Server::url_datagrams("udp://127.0.0.1:0").codec(Text::new);
        let at = closed.bind().await.unwrap().local_addrs()[0].to_string();
        for replaced in [false, true] {
            let client = Client::datagrams(format!("udp://{at}"), Text::new);
            let client = match replaced {
                true => client.reconnecting(),
                false => client,
            };
            let refused = async {
                loop {
                    let _ = client.send(&"anybody?".to_owned()).await;
                    let most = Duration::from_millis(20);
                    if let Ok(received) = timeout(most, client.recv()).await {
                        return received.unwrap_err();
                    }
                }
            };
            assert_eq!(refused.await.kind(), ErrorKind::Refused);
            if !replaced {
                assert_eq!(*client.state().latest(), ClientState::Ready);
            }
            client.connect().await.unwrap();
            assert_eq!(*client.state().latest(), ClientState::Ready);
        }
    });
}

// TR11, T2
#[cfg(feature = "tls")]
#[test]
fn packets_are_not_made_secure() {
    on_each(async |_| {
        let config = bowline_transport::TlsClientConfig::builder().danger_skip_verification();
        let client = Client::datagrams("udp://127.0.0.1:9", Text::new);
        let client = client.tls(config.build().unwrap());
        let error = client.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let why = error.source().unwrap().to_string();
        assert!(why.contains("TLS is for streams"), "{why}");
    });
}
