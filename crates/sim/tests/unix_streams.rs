//! Simulated Unix streams and their listeners: names, ends, limits.

use bowline_sim::net::{UnixAddress, UnixListenOptions, UnixListener, UnixOptions, UnixStream};
use bowline_sim::{HostLimits, Sim, block_on, host};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, Mutex};
use std::task::Poll;

fn path(text: &str) -> UnixAddress {
    UnixAddress::Path(text.into())
}

fn name(text: &str) -> UnixAddress {
    UnixAddress::Abstract(text.into())
}

fn listen(at: &UnixAddress) -> io::Result<UnixListener> {
    UnixListener::bind(at, UnixListenOptions::default())
}

async fn dial(at: &UnixAddress) -> io::Result<UnixStream> {
    UnixStream::connect(at.clone(), UnixOptions::default()).await
}

async fn accept(listener: &UnixListener) -> io::Result<(UnixStream, UnixAddress)> {
    poll_fn(|cx| listener.poll_accept(cx)).await
}

async fn read(stream: &UnixStream) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 4096];
    let read = poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await?;
    buffer.truncate(read);
    Ok(buffer)
}

async fn read_to_end(stream: &UnixStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let part = read(stream).await?;
        if part.is_empty() {
            return Ok(all);
        }
        all.extend(part);
    }
}

async fn write(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| stream.poll_write(cx, bytes)).await?;
        bytes = &bytes[written..];
    }
    Ok(())
}

async fn shutdown(stream: &UnixStream) {
    poll_fn(|cx| stream.poll_shutdown(cx))
        .await
        .expect("never fails");
}

async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())).await
}

async fn settle() {
    host::Sleep::new(host::now() + 1_000_000_000).await;
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("it fails").kind()
}

// SIM71
#[test]
fn bytes_arrive_intact_and_in_order() {
    for seed in 0..24 {
        block_on(seed, async {
            let at = path("/run/echo");
            let mut options = UnixListenOptions::default();
            options.send_buffer = Some(1 << (seed % 12));
            let listener = UnixListener::bind(&at, options).expect("free");
            host::spawn(async move {
                let (stream, from) = accept(&listener).await.expect("one connects");
                assert_eq!(from, UnixAddress::Unnamed);
                loop {
                    let bytes = read(&stream).await.expect("open");
                    if bytes.is_empty() {
                        shutdown(&stream).await;
                        break;
                    }
                    write(&stream, &bytes).await.expect("open");
                }
            });
            let mut options = UnixOptions::default();
            options.send_buffer = Some(777);
            let stream = UnixStream::connect(at.clone(), options).await;
            let stream = Arc::new(stream.expect("it listens"));
            assert_eq!(stream.peer_addr().expect("connected"), at);
            assert_eq!(stream.local_addr().expect("open"), UnixAddress::Unnamed);
            let sent: Vec<u8> = (0..5000_u32)
                .flat_map(|i| (i as u16).to_le_bytes())
                .collect();
            let (writer, bytes) = (Arc::clone(&stream), sent.clone());
            host::spawn(async move {
                let mut at = 0;
                while at < bytes.len() {
                    let slices: Vec<_> = bytes[at..].chunks(97).map(IoSlice::new).collect();
                    at += poll_fn(|cx| writer.poll_write_vectored(cx, &slices))
                        .await
                        .expect("open");
                }
                shutdown(&writer).await;
            });
            assert_eq!(read_to_end(&stream).await.expect("open"), sent);
        });
    }
}

// SIM71
#[test]
fn names_refuse_as_the_kernel_does() {
    block_on(1, async {
        let at = path("/run/socket");
        assert_eq!(kind(dial(&at).await), ErrorKind::NotFound);
        assert_eq!(kind(dial(&name("x")).await), ErrorKind::ConnectionRefused);
        let listener = listen(&at).expect("free");
        assert_eq!(listener.local_addr().expect("bound"), at);
        assert_eq!(kind(listen(&at)), ErrorKind::AddrInUse);
        let made = host::file("/run/socket").expect("bound");
        assert!(made.is_socket);
        assert_eq!(made.mode, 0o755);
        drop(dial(&at).await.expect("it listens"));
        // The path outlives its socket: connecting is refused, binding too, unless asked for.
        drop(listener);
        assert_eq!(kind(dial(&at).await), ErrorKind::ConnectionRefused);
        assert_eq!(kind(listen(&at)), ErrorKind::AddrInUse);
        let mut replace = UnixListenOptions::default();
        replace.replace_stale = true;
        replace.mode = Some(0o600);
        let listener = UnixListener::bind(&at, replace).expect("nobody listens");
        let again = host::file("/run/socket").expect("bound");
        assert_ne!(again.inode, made.inode);
        assert_eq!(again.mode, 0o600);
        // Never from under a listener, and never a file.
        assert_eq!(kind(UnixListener::bind(&at, replace)), ErrorKind::AddrInUse);
        // Who looked was noticed by nobody.
        let client = dial(&at).await.expect("it listens");
        let (server, _) = accept(&listener).await.expect("the first one");
        write(&client, b"heard").await.expect("open");
        shutdown(&client).await;
        assert_eq!(read_to_end(&server).await.expect("open"), b"heard");
        host::create_file("/run/file").expect("nothing there");
        assert_eq!(
            kind(UnixListener::bind(&path("/run/file"), replace)),
            ErrorKind::AddrInUse
        );
        assert!(!host::file("/run/file").expect("it stays").is_socket);
        assert_eq!(
            kind(dial(&path("/run/file")).await),
            ErrorKind::ConnectionRefused
        );
        // Unlinked, nobody finds it; who is connected goes on.
        let stream = dial(&at).await.expect("it listens");
        host::remove_file("/run/socket").expect("it is there");
        assert_eq!(kind(host::remove_file("/run/socket")), ErrorKind::NotFound);
        assert_eq!(kind(dial(&at).await), ErrorKind::NotFound);
        let (server, _) = accept(&listener).await.expect("it waits");
        write(&server, b"still here").await.expect("open");
        shutdown(&server).await;
        assert_eq!(read_to_end(&stream).await.expect("open"), b"still here");
        // Nobody connects where the owner may not write.
        replace.mode = Some(0o500);
        let _closed = UnixListener::bind(&path("/run/closed"), replace).expect("free");
        assert_eq!(
            kind(dial(&path("/run/closed")).await),
            ErrorKind::PermissionDenied
        );
        for bad in ["", "/run/\0", &"/x".repeat(54)] {
            assert_eq!(kind(listen(&path(bad))), ErrorKind::InvalidInput, "{bad:?}");
            assert_eq!(kind(dial(&path(bad)).await), ErrorKind::InvalidInput);
        }
        drop(listen(&path(&"x".repeat(107))).expect("as long as can be"));
    });
}

// SIM71
#[test]
fn abstract_names_go_with_their_socket() {
    block_on(1, async {
        let at = name("bowline");
        for _ in 0..3 {
            let listener = listen(&at).expect("free again");
            assert_eq!(kind(listen(&at)), ErrorKind::AddrInUse);
            let stream = dial(&at).await.expect("it listens");
            drop(listener);
            assert_eq!(kind(dial(&at).await), ErrorKind::ConnectionRefused);
            drop(stream);
        }
        // Bound to no name, it draws one.
        let (one, other) = (listen(&UnixAddress::Unnamed), listen(&UnixAddress::Unnamed));
        let (one, other) = (one.expect("free"), other.expect("free"));
        let at = one.local_addr().expect("bound");
        assert_ne!(at, other.local_addr().expect("bound"));
        assert!(
            matches!(&at, UnixAddress::Abstract(name) if name.len() == 5),
            "{at}"
        );
        drop(dial(&at).await.expect("it listens"));
    });
}

// SIM71
#[test]
fn who_connects_may_have_a_name_and_has_credentials() {
    block_on(1, async {
        let at = path("/run/server");
        let listener = listen(&at).expect("free");
        let mut options = UnixOptions::default();
        options.local = Some(path("/run/client"));
        let stream = UnixStream::connect(at.clone(), options.clone()).await;
        let stream = stream.expect("it listens");
        let (server, from) = accept(&listener).await.expect("it waits");
        assert_eq!(from, path("/run/client"));
        assert_eq!(server.local_addr().expect("open"), at);
        for end in [&stream, &server] {
            let credentials = end.peer_credentials().expect("open");
            let numbers = (credentials.pid, credentials.uid, credentials.gid);
            assert_eq!(numbers, (1000, 1000, 1000));
        }
        let taken = UnixStream::connect(at, options).await;
        assert_eq!(kind(taken), ErrorKind::AddrInUse);
    });
}

// SIM71
#[test]
fn a_full_backlog_makes_connects_wait() {
    for seed in 0..20 {
        block_on(seed, async {
            let at = name("busy");
            let mut options = UnixListenOptions::default();
            options.backlog = 1;
            let listener = UnixListener::bind(&at, options).expect("free");
            let two = (dial(&at).await, dial(&at).await);
            let mut third = Box::pin(dial(&at));
            settle().await;
            assert!(
                is_pending(&mut third).await,
                "one more than the backlog fits"
            );
            accept(&listener).await.expect("one waits");
            let third = third.await.expect("there is room");
            drop(two);
            accept(&listener).await.expect("one waits");
            accept(&listener).await.expect("one waits");
            // Who waits when the listener goes is refused, who was queued is reset.
            let queued = (
                dial(&at).await.expect("room"),
                dial(&at).await.expect("room"),
            );
            let mut waits = Box::pin(dial(&at));
            assert!(is_pending(&mut waits).await);
            drop(listener);
            assert_eq!(kind(waits.await), ErrorKind::ConnectionRefused);
            assert_eq!(kind(read(&queued.0).await), ErrorKind::ConnectionReset);
            assert_eq!(read(&queued.0).await.expect("told once"), b"");
            assert_eq!(kind(write(&queued.1, b"x").await), ErrorKind::BrokenPipe);
            assert_eq!(read(&third).await.expect("its server end is gone"), b"");
        });
    }
}

// SIM71
#[test]
fn ends_are_the_kernels() {
    block_on(1, async {
        // Closed after reading all: the end, then a broken pipe at once.
        let (ours, peer) = UnixStream::pair().expect("two");
        write(&peer, b"last words").await.expect("open");
        drop(peer);
        assert_eq!(read_to_end(&ours).await.expect("no reset"), b"last words");
        assert_eq!(kind(write(&ours, b"x").await), ErrorKind::BrokenPipe);
        // Closed with our bytes unread: what was sent before, then a reset, once.
        let (ours, peer) = UnixStream::pair().expect("two");
        write(&peer, b"before").await.expect("open");
        write(&ours, b"unread").await.expect("open");
        drop(peer);
        let mut seen = Vec::new();
        let error = loop {
            match read(&ours).await {
                Ok(bytes) => seen.extend(bytes),
                Err(error) => break error,
            }
        };
        assert_eq!(seen, b"before");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(read(&ours).await.expect("told once"), b"");
        assert!(ours.take_error().expect("open").is_none());
        shutdown(&ours).await;
        // Half-closed: the other direction goes on.
        let (ours, peer) = UnixStream::pair().expect("two");
        shutdown(&peer).await;
        assert_eq!(read(&ours).await.expect("the end"), b"");
        assert_eq!(kind(write(&peer, b"late").await), ErrorKind::BrokenPipe);
        write(&ours, b"still").await.expect("open");
        assert_eq!(read(&peer).await.expect("open").first(), Some(&b's'));
        shutdown(&ours).await;
        shutdown(&ours).await;
    });
}

// SIM71
#[test]
fn a_writer_waits_for_its_reader() {
    for seed in 0..20 {
        block_on(seed, async {
            let at = name("slow");
            let listener = listen(&at).expect("free");
            let mut options = UnixOptions::default();
            options.send_buffer = Some(1000);
            let writer = UnixStream::connect(at, options).await.expect("it listens");
            let (reader, _) = accept(&listener).await.expect("it waits");
            let filled = Arc::new(Mutex::new(0));
            let count = Arc::clone(&filled);
            host::spawn(async move {
                while let Ok(wrote) = poll_fn(|cx| writer.poll_write(cx, &[7; 300])).await {
                    *count.lock().expect("whole") += wrote;
                }
            });
            settle().await;
            assert_eq!(*filled.lock().expect("whole"), 1000);
            let read = read(&reader).await.expect("open").len();
            settle().await;
            assert_eq!(*filled.lock().expect("whole"), 1000 + read);
            drop(reader);
        });
    }
}

// SIM44, SIM71
#[test]
fn descriptors_run_out_and_come_back() {
    let mut limits = HostLimits::default();
    limits.descriptors = 3;
    let world = Sim::builder().client("small", || async {
        let out_of_descriptors = |error: io::Error| match cfg!(target_os = "linux") {
            true => assert_eq!(error.raw_os_error(), Some(24)),
            false => assert_eq!(error.kind(), ErrorKind::Other),
        };
        let at = name("small");
        for _ in 0..3 {
            let listener = listen(&at)?;
            let held = (dial(&at).await?, dial(&at).await?);
            out_of_descriptors(dial(&at).await.expect_err("three are open"));
            out_of_descriptors(UnixStream::pair().expect_err("three are open"));
            out_of_descriptors(accept(&listener).await.expect_err("three are open"));
            drop(held.1);
            // Still queued; the second one's client is gone, so its end reads so.
            let (first, _) = accept(&listener).await?;
            drop(held.0);
            let (second, _) = accept(&listener).await?;
            assert_eq!(read(&first).await?, b"");
            assert_eq!(read(&second).await?, b"");
            out_of_descriptors(UnixStream::pair().expect_err("one is left"));
        }
        Ok::<(), io::Error>(())
    });
    world
        .limits("small", limits)
        .run()
        .expect("nothing is lost");
}

// SIM71
#[test]
fn hosts_have_their_own_names() {
    let serve = |word: &'static [u8]| {
        move || async move {
            let listener = listen(&path("/run/it"))?;
            let abstract_one = listen(&name("it"))?;
            let stream = dial(&path("/run/it")).await?;
            write(&accept(&listener).await?.0, word).await?;
            assert_eq!(read_to_end(&stream).await?, word);
            settle().await;
            drop(abstract_one);
            Ok::<(), io::Error>(())
        }
    };
    let world = Sim::builder()
        .client("a", serve(b"of a"))
        .client("b", serve(b"of b"))
        // Paths outlive their sockets.
        .ignore_leaks();
    let hashes: BTreeSet<u64> = (0..20)
        .map(|seed| world.clone().seed(seed).run().expect("apart").trace_hash)
        .collect();
    assert_eq!(hashes.len(), 20);
    world.compare().expect("equal seeds, equal runs");
}
