//! Servers whose place is a URL.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_codec::{Framed, Lines, Text};
use bowline_concurrency::{AnyError, GroupError, Root, TaskGroup, task_group, timeout};
use bowline_transport::{
    Client, ErrorKind, MemoryNetwork, MessageStream, Operation, Server, Transport, UrlPlace,
};

fn line() -> Framed<Lines, Text> {
    Lines::lf().text()
}

/// A directory of its own, removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bowline-listen-urls-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs an echo server at `place` and beside it `talk`, with the first of its addresses.
async fn serving<F: Future<Output = Result<(), AnyError>> + Send>(
    place: impl Into<UrlPlace>,
    talk: impl FnOnce(String) -> F + Send,
) {
    let bound = Server::url(place).codec(line).bind().await.unwrap();
    let (handle, at) = (bound.handle(), bound.local_addrs()[0].to_string());
    let talk = Box::pin(talk(at));
    let both = task_group(|group: TaskGroup<AnyError>| async move {
        group.spawn(async move {
            let echo = bound.serve_each(|peer, line| async move { peer.send(&line).await });
            Ok(echo.await?)
        });
        talk.await?;
        let report = handle.drain(Duration::from_secs(10)).await;
        assert_eq!(report.cancelled + report.aborted, 0);
        assert_eq!(handle.counters().handshakes_failed, 0);
        Ok(())
    });
    let both: Result<(), GroupError<AnyError>> = both.await;
    both.unwrap();
}

async fn ask(url: String) -> Result<(), AnyError> {
    let client = Client::new(url, line);
    for word in ["hello", "again"] {
        assert_eq!(client.call(&word.to_owned()).await?, word);
    }
    Ok(client.close().await?)
}

fn on_each(law: impl AsyncFn()) {
    for backend in [
        Backend::Tokio,
        Backend::Smol,
        Backend::AsyncStd,
        Backend::Sim,
    ] {
        Root::new().backend(backend).block_on(async {
            let done = timeout(Duration::from_secs(60), law()).await;
            done.unwrap_or_else(|_| panic!("it did not end on {backend}"));
        });
    }
}

// TR11
#[test]
fn every_scheme_is_served() {
    on_each(async || {
        for url in [
            "tcp://127.0.0.1:0",
            "tcp://127.0.0.1:0?nodelay=off",
            "tcp://127.0.0.1",
        ] {
            serving(url, |at| ask(format!("tcp://{at}"))).await;
        }
        for url in ["tcp://:0", "tcp://*:0"] {
            serving(url, |at| {
                let (_, port) = at.rsplit_once(':').unwrap();
                ask(format!("tcp://localhost:{port}"))
            })
            .await;
        }
        let network = MemoryNetwork::new();
        let place = UrlPlace::from("mem://shop").network(&network);
        serving(place, async |_| {
            let stream = network.connect("shop").await?;
            let mut client = MessageStream::new(stream, line());
            client.send(&"hello".to_owned()).await?;
            assert_eq!(client.recv().await?.as_deref(), Some("hello"));
            Ok(client.close().await?)
        })
        .await;
    });
}

// TR11
#[cfg(unix)]
#[test]
fn unix_sockets_are_served() {
    on_each(async || {
        let directory = Directory::new();
        let url = format!("unix:{}", directory.path("server.sock"));
        serving(url.clone(), |_| ask(url.clone())).await;
        // The path went with its server.
        serving(url.clone(), |_| ask(url.clone())).await;
        let name = format!("unix:@bowline-listen-urls-{}", std::process::id());
        serving(name.clone(), |_| ask(name.clone())).await;
    });
}

// TR11, T7
#[cfg(unix)]
#[test]
fn a_path_is_made_as_its_url_says() {
    use bowline_backend::net::UnixListener;
    use bowline_backend::stream::UnixAddress;
    use std::os::unix::fs::PermissionsExt;

    on_each(async || {
        let directory = Directory::new();
        let path = directory.path("server.sock");
        let (url, at) = (
            format!("unix:{path}"),
            UnixAddress::from_path(&path).unwrap(),
        );
        // As a server leaves it that was killed.
        drop(UnixListener::bind(&at).unwrap());
        for query in ["", "?stale=refuse", "?mode=0660"] {
            let bound = Server::url(format!("{url}{query}")).codec(line).bind();
            let error = bound
                .await
                .err()
                .unwrap_or_else(|| panic!("{query} took it"));
            assert_eq!(error.kind(), ErrorKind::Address, "{query}: {error}");
        }
        for (query, mode) in [("?stale=replace&mode=0660", 0o660), ("?mode=600", 0o600)] {
            serving(format!("{url}{query}"), async |_| {
                if Backend::current() != Ok(Backend::Sim) {
                    let made = std::fs::metadata(&path)?.permissions();
                    assert_eq!(made.mode() & 0o777, mode);
                }
                ask(url.clone()).await
            })
            .await;
        }
        // Nobody takes it from a server that lives.
        let _living = Server::url(&url[..]).codec(line).bind().await.unwrap();
        let taking = Server::url(format!("{url}?stale=replace")).codec(line);
        let error = taking.bind().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Address);
    });
}

// TR11, T2
#[cfg(feature = "tls")]
#[test]
fn secure_places_are_served() {
    let directory = Directory::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.path("cert.pem"), directory.path("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    on_each(async || {
        let url = format!("tls://127.0.0.1:0?cert={certificate}&key={key}&alpn=lines");
        serving(url, |at| {
            ask(format!(
                "tls://{at}?ca={certificate}&sni=localhost&alpn=lines"
            ))
        })
        .await;
        let missing = format!("tls://127.0.0.1:0?cert={certificate}");
        assert!(why(&missing).await.contains("`cert` and `key` are due"));
        let swapped = format!("tls://127.0.0.1:0?cert={key}&key={certificate}");
        why(&swapped).await;
        let nowhere = format!("tls://127.0.0.1:0?cert={certificate}&key=/nowhere.pem");
        assert!(why(&nowhere).await.contains("`key` cannot be read"));
        let long = directory.path("long.pem");
        std::fs::write(&long, vec![b'x'; 1024 * 1024 + 1]).unwrap();
        let long = format!("tls://127.0.0.1:0?cert={long}&key={key}");
        assert!(why(&long).await.contains("it is longer than 1048576 bytes"));
        let close = format!("tls://127.0.0.1:0?cert={certificate}&key={key}&close=softly");
        assert!(why(&close).await.contains("`close` has to be"));
    });
}

/// What is wrong with listening at `url`.
async fn why(url: &str) -> String {
    let bound = Server::url(url).codec(line).bind().await;
    let error = bound.err().unwrap_or_else(|| panic!("{url} was taken"));
    assert_eq!(error.kind(), ErrorKind::Config, "{url}: {error}");
    assert_eq!(error.operation(), Operation::Bind, "{url}");
    error.source().expect("a reason").to_string()
}

// TR11
#[test]
fn what_can_be_no_place_is_told() {
    on_each(async || {
        for (url, expected) in [
            ("tpc://:80", "there is no transport `tpc`; there are tcp"),
            ("udp://:80", "its scheme carries packets"),
            ("tcp:/path", ""),
            ("tcp://h:70000", "port"),
            ("tcp://:0?backlog=3", "backlog"),
            ("tcp://:0?nodelay=perhaps", "nodelay"),
            ("tcp://:0?nodelay=on&nodelay=on", "nodelay"),
            ("unix://host", ""),
            (
                "unix:/path?mode=8",
                "`mode` has to be permissions in octal digits",
            ),
            ("unix:/path?mode=1777", "`mode` has to be permissions"),
            ("unix:/path?mode=0600&mode=0600", "`mode` is there twice"),
            (
                "unix:/path?stale=perhaps",
                "`stale` has to be `refuse` or `replace`",
            ),
            (
                "unix:/path?backlog=3",
                "no key `backlog`; there are stale, mode",
            ),
            ("unix:@name?mode=0660", "the key `mode` is for a path"),
            ("unix:@name?stale=replace", "the key `stale` is for a path"),
            ("mem://name?mode=0660", "no key `mode`"),
            ("mem://", ""),
            ("mem://*", ""),
            ("mem://name:1", ""),
            ("mem://name", "`UrlPlace::network` says which"),
            ("no url", ""),
            ("", ""),
        ] {
            let said = why(url).await;
            assert!(said.contains(expected), "{url}: {said}");
        }
    });
}
