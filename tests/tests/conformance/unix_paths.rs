//! Paths that go with their socket: what L12 says of removing, and T7.

use std::io::ErrorKind;

use bowline_backend::Backend;
use bowline_backend::net::{
    Stale, UnixDatagram, UnixListenOptions, UnixListener, UnixOptions, UnixStream,
};
use bowline_backend::stream::{ByteStream, UnixAddress};
use bowline_backend::task::RunOptions;
use bowline_tests::files::Files;
use bowline_tests::temp_dir::TempDir;

use crate::conformance;

conformance! {
    all: [
        a_path_goes_with_its_listener,
        what_another_put_there_stays,
        a_path_that_is_gone_is_nobodys,
        a_name_without_a_path_goes_too,
        a_path_goes_with_its_datagrams,
        a_path_is_taken_only_where_nobody_has_it,
    ]
    real: [a_listener_given_back_keeps_its_path]
    dropping: []
    real_dropping: []
}

fn unlinking() -> UnixListenOptions {
    UnixListenOptions::new().unlink_at_close()
}

// L12, T7
fn a_path_goes_with_its_listener(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let path = dir.join("socket");
        let at = UnixAddress::from_path(&path).unwrap();
        for _ in 0..3 {
            // Nothing is in the way of the next one.
            let listener = UnixListener::bind_with(&at, unlinking().mode(0o600)).unwrap();
            let client = UnixStream::connect(&at).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            drop(listener);
            assert!(!Files(backend).exist(&path));
            // Connections outlive the path, and their end leaves it alone.
            drop((client, server));
        }
        let listener = UnixListener::bind(&at).unwrap();
        drop(listener);
        assert!(Files(backend).exist(&path), "nobody asked for it");
    });
}

// T7
fn what_another_put_there_stays(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let path = dir.join("socket");
        let at = UnixAddress::from_path(&path).unwrap();
        let former = UnixListener::bind_with(&at, unlinking()).unwrap();
        Files(backend).remove(&path).unwrap();
        let later = UnixListener::bind_with(&at, unlinking()).unwrap();
        drop(former);
        UnixStream::connect(&at).await.unwrap();
        later.accept().await.unwrap();

        Files(backend).remove(&path).unwrap();
        Files(backend).create(&path).unwrap();
        drop(later);
        assert!(Files(backend).exist(&path), "a file is no socket");
    });
}

// T7
fn a_path_that_is_gone_is_nobodys(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let path = dir.join("socket");
        let at = UnixAddress::from_path(&path).unwrap();
        let listener = UnixListener::bind_with(&at, unlinking()).unwrap();
        Files(backend).remove(&path).unwrap();
        drop(listener);
        assert!(!Files(backend).exist(&path));
    });
}

// T7
fn a_name_without_a_path_goes_too(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        if !cfg!(any(target_os = "linux", target_os = "android")) {
            return; // no other system has them
        }
        let listener = UnixListener::bind_with(&UnixAddress::autobind(), unlinking()).unwrap();
        let at = listener.local_addr().unwrap().as_unix().unwrap().clone();
        UnixStream::connect(&at).await.unwrap();
        drop(listener);
        UnixListener::bind_with(&at, unlinking()).unwrap();
    });
}

// T7
fn a_path_goes_with_its_datagrams(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let path = dir.join("socket");
        let at = UnixAddress::from_path(&path).unwrap();
        let unlinking = || UnixOptions::new().unlink_at_close();
        let former = UnixDatagram::bind_with(&at, unlinking()).unwrap();
        let sender = UnixDatagram::connect(&at).unwrap();
        sender.send(b"heard").await.unwrap();
        drop((former, sender));
        assert!(!Files(backend).exist(&path));

        let former = UnixDatagram::bind_with(&at, unlinking()).unwrap();
        Files(backend).remove(&path).unwrap();
        let _later = UnixDatagram::bind(&at).unwrap();
        drop(former);
        assert!(Files(backend).exist(&path), "it is the later one's");
    });
}

// L12, T7
fn a_path_is_taken_only_where_nobody_has_it(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let file = dir.join("socket");
        let at = UnixAddress::from_path(&file).unwrap();
        let other = UnixAddress::from_path(dir.join("other")).unwrap();
        let receiver = UnixListener::bind(&other).unwrap();
        let replacing = || UnixOptions::new().stale(Stale::ReplaceIfRefused);
        let taken = || {
            let listening = UnixListenOptions::new().stale(Stale::ReplaceIfRefused);
            for error in [
                UnixDatagram::bind_with(&at, replacing()).unwrap_err(),
                UnixListener::bind_with(&at, listening).unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::AddrInUse);
            }
        };
        let free = || {
            let error = UnixDatagram::bind(&at).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse, "stale, and refused");
            UnixDatagram::bind_with(&at, replacing()).unwrap()
        };

        // Who only listens, or connects from there, has it as well.
        let listener = UnixListener::bind(&at).unwrap();
        taken();
        drop(listener);
        let bound = free();
        taken();
        // It hears none but its peer, and lives.
        drop(bound);
        Files(backend).remove(&file).unwrap();
        let peer = UnixDatagram::bind(&UnixAddress::from_path(dir.join("peer")).unwrap()).unwrap();
        let to = peer.local_addr().unwrap().as_unix().unwrap().clone();
        let connected = UnixDatagram::connect_with(&to, replacing().local(at.clone())).unwrap();
        taken();
        drop(connected);
        let connected = UnixDatagram::connect_with(&to, replacing().local(at.clone())).unwrap();
        connected.send(b"heard").await.unwrap();
        drop(connected);
        drop(free());

        let from = || UnixStream::connect_with(&other, replacing().local(at.clone()));
        let client = from().await.unwrap();
        taken();
        drop(client);
        let client = from().await.unwrap();
        let named = client.local_addr().unwrap();
        assert_eq!(named.as_unix(), Some(&at));
        drop((client, receiver));
        drop(free());

        Files(backend).remove(&file).unwrap();
        Files(backend).create(&file).unwrap();
        taken();
        assert!(Files(backend).exist(&file), "a file is no socket");
    });
}

// T7
fn a_listener_given_back_keeps_its_path(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let path = dir.join("socket");
        let at = UnixAddress::from_path(&path).unwrap();
        let listener = UnixListener::bind_with(&at, unlinking()).unwrap();
        let listener = listener.into_std().unwrap();
        assert!(Files(backend).exist(&path));
        UnixStream::connect(&at).await.unwrap();
        drop(listener);
    });
}
