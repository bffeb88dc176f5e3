//! Unix connects from a name of their own: what is left of it where they wait or fail.

use std::io::ErrorKind;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::{
    UnixDatagram, UnixListenOptions, UnixListener, UnixOptions, UnixStream,
};
use bowline_backend::stream::{ByteStream, UnixAddress};
use bowline_backend::task::RunOptions;
use bowline_backend::time::{now, sleep_until};
use bowline_tests::files::Files;
use bowline_tests::temp_dir::TempDir;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::conformance;
use crate::unix::{now_or_never, path};

conformance! {
    all: [a_failed_connect_leaves_no_path]
    real: [
        a_named_connect_waits_at_a_full_backlog,
        a_failed_connect_removes_no_path_of_others,
    ]
    dropping: []
    real_dropping: []
}

/// A listener at a path whose backlog is full, and who fills it.
fn crowded(dir: &TempDir) -> (UnixListener, UnixAddress, Vec<Socket>) {
    let at = path(dir, "listener");
    let small = UnixListenOptions::new().backlog(1);
    let listener = UnixListener::bind_with(&at, small).unwrap();
    let to = SockAddr::unix(dir.join("listener")).unwrap();
    let mut crowd = Vec::new();
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        match socket.connect(&to) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (listener, at, crowd),
            connected => connected.unwrap(),
        }
        crowd.push(socket);
    }
}

// S12, L12
fn a_named_connect_waits_at_a_full_backlog(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let (listener, at, _crowd) = crowded(&dir);
        let ours = path(&dir, "client");
        let named = UnixOptions::new().local(ours.clone());
        let dropped = now_or_never(UnixStream::connect_with(&at, named.clone())).await;
        assert!(dropped.is_none(), "the backlog is full");
        assert!(!Files(backend).exist(dir.join("client")), "dropped");
        let mut connecting = Box::pin(UnixStream::connect_with(&at, named));
        // Over a few pauses, after each of which the listener is asked again.
        for _ in 0..3 {
            let waits = now_or_never(connecting.as_mut()).await.is_none();
            assert!(waits, "the backlog is full");
            sleep_until(now() + Duration::from_millis(5)).await;
        }
        let heard = async { while listener.accept().await.unwrap().1.as_unix() != Some(&ours) {} };
        let (client, ()) = futures_lite::future::zip(connecting, heard).await;
        assert_eq!(client.unwrap().local_addr().unwrap().as_unix(), Some(&ours));
        assert!(
            Files(backend).exist(dir.join("client")),
            "as long as nobody removes it"
        );
    });
}

// S12, L12
fn a_failed_connect_leaves_no_path(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let (missing, ours) = (path(&dir, "missing"), path(&dir, "client"));
        let named = UnixOptions::new().local(ours);
        for _ in 0..2 {
            let error = UnixStream::connect_with(&missing, named.clone())
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            let error = UnixDatagram::connect_with(&missing, named.clone()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(!Files(backend).exist(dir.join("client")));
        }
    });
}

// L12
fn a_failed_connect_removes_no_path_of_others(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let (_listener, at, _crowd) = crowded(&dir);
        let ours = path(&dir, "ours");
        let named = UnixOptions::new().local(ours.clone());
        let mut connecting = Box::pin(UnixStream::connect_with(&at, named));
        assert!(now_or_never(connecting.as_mut()).await.is_none());
        std::fs::rename(dir.join("ours"), dir.join("elsewhere")).unwrap();
        let _other = UnixListener::bind(&ours).unwrap();
        drop(connecting);
        assert!(Files(backend).exist(dir.join("ours")), "another's by now");
        UnixStream::connect(&ours).await.unwrap();
    });
}
