//! Running out of descriptors, in child processes of this binary with a limit of their own.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::num::NonZeroUsize;
use std::process::Command;
use std::time::Duration;

use bowline::codec::Lines;
use bowline::concurrency::{AnyError, GroupError, Root, TaskGroup, checkpoint, task_group};
use bowline::transport::{MessageStream, Server, Transport};
use bowline_backend::Backend;
use bowline_backend::accept_error::AcceptErrorKind;
use bowline_backend::net::{
    Query, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream, resolve,
};
use bowline_backend::signal::{Signal, listen};
use bowline_backend::stream::{ByteStreamExt, UnixAddress};
use bowline_tests::temp_dir::TempDir;
use bytes::BytesMut;
use rustix::process::{Resource, Rlimit, setrlimit};

const CHILD: &str = "BOWLINE_TEST_FEW_DESCRIPTORS";

/// Runs the test `name` in a child process per backend, which then runs `act`.
fn in_children(name: &str, act: impl FnOnce(Backend)) {
    if let Ok(name) = std::env::var(CHILD) {
        return act(Backend::from_name(&name).unwrap());
    }
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, backend.name())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{backend}: {text}");
    }
}

/// Takes all descriptors that this process may still have.
fn take_all() -> Vec<File> {
    let limit = Rlimit {
        current: Some(64),
        maximum: Some(64),
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    taken
}

// L5
#[test]
fn accepting_goes_on_after_descriptors_ran_out() {
    in_children(
        "accepting_goes_on_after_descriptors_ran_out",
        run_out_while_accepting,
    );
}

fn run_out_while_accepting(backend: Backend) {
    backend.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let _one = TcpStream::connect(address).await.unwrap();
        let unix = UnixListener::bind(&UnixAddress::autobind()).unwrap();
        let at = unix.local_addr().unwrap().as_unix().unwrap().clone();
        let _two = UnixStream::connect(&at).await.unwrap();
        let mut taken = take_all();
        for error in [
            listener.accept().await.unwrap_err(),
            unix.accept().await.unwrap_err(),
        ] {
            assert_eq!(
                AcceptErrorKind::of(&error),
                AcceptErrorKind::Exhausted,
                "{error}"
            );
        }
        taken.clear();
        listener
            .accept()
            .await
            .expect("the connection is still queued");
        unix.accept().await.expect("the connection is still queued");
    });
}

// SV1
#[test]
fn a_server_goes_on_after_descriptors_ran_out() {
    in_children(
        "a_server_goes_on_after_descriptors_ran_out",
        run_out_while_serving,
    );
}

fn run_out_while_serving(backend: Backend) {
    let lines = || Lines::lf().text();
    Root::new().backend(backend).block_on(async move {
        let bound = Server::tcp(("127.0.0.1", 0)).codec(lines).bind().await;
        let (bound, mut taken) = (bound.unwrap(), Vec::new());
        let handle = bound.handle();
        let address = handle.local_addrs()[0].as_inet().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        taken.append(&mut take_all());
        let both = task_group(|group: TaskGroup<AnyError>| async move {
            group.spawn(async move {
                let serving = bound.serve_each(|peer, line| async move { peer.send(&line).await });
                Ok(serving.await?)
            });
            // It pauses, and tries again by itself.
            while handle.counters().accept_exhausted < 2 {
                checkpoint().await;
            }
            assert_eq!((handle.connections(), handle.is_serving()), (0, true));
            taken.clear();
            let mut client = MessageStream::new(client, lines());
            client.send(&"still there?".to_owned()).await?;
            assert_eq!(client.recv().await?.as_deref(), Some("still there?"));
            handle.drain(Duration::from_secs(10)).await;
            assert_eq!(handle.counters().accepted, 1);
            Ok(())
        });
        let both: Result<(), GroupError<AnyError>> = both.await;
        both.unwrap();
    });
}

// S19
#[test]
fn no_socket_is_made_or_lost_without_descriptors() {
    in_children(
        "no_socket_is_made_or_lost_without_descriptors",
        run_out_while_making,
    );
}

fn refused<T: Debug>(made: io::Result<T>) {
    let error = made.expect_err("there are no descriptors");
    let exhausted = rustix::io::Errno::MFILE.raw_os_error();
    assert_eq!(error.raw_os_error(), Some(exhausted), "{error}");
}

fn run_out_while_making(backend: Backend) {
    let dir = TempDir::new();
    let any = "127.0.0.1:0".parse().unwrap();
    let most = NonZeroUsize::new(64).unwrap();
    backend.block_on(async {
        let listener = TcpListener::bind(any).unwrap();
        let tcp = listener.local_addr().unwrap();
        let receiver = UnixDatagram::bind(&UnixAddress::autobind()).unwrap();
        let unix = receiver.local_addr().unwrap().as_unix().unwrap().clone();
        let path = UnixAddress::from_path(dir.join("listener")).unwrap();
        let (mut ours, mut peer) = UnixStream::pair().unwrap();
        ours.send_with_fds(&[IoSlice::new(b"x")], &[receiver.try_as_fd().unwrap()])
            .await
            .unwrap();
        let mut taken = take_all();
        // Sooner than any of them could go wrong half-way, and with one left where two are needed.
        for left in 0..2 {
            taken.truncate(taken.len() - left);
            if left == 0 {
                refused(TcpListener::bind(any));
                refused(TcpStream::connect(tcp).await);
                refused(UdpSocket::bind(any));
                refused(UdpSocket::connect(tcp));
                refused(UnixListener::bind(&path));
                refused(UnixStream::connect(&path).await);
                refused(UnixDatagram::unbound());
                refused(UnixDatagram::connect(&unix));
                assert!(!dir.join("listener").exists());
            }
            refused(UnixStream::pair());
            refused(UnixDatagram::pair());
        }
        taken.push(File::open("/dev/null").unwrap());
        refused(File::open("/dev/null"));
        // The bytes come, the descriptor does not, and that is said.
        let mut buffer = BytesMut::new();
        let received = peer.recv_with_fds(&mut buffer, most, 4).await.unwrap();
        assert_eq!((received.len, received.fds.len()), (1, 0));
        assert!(received.truncated);
        // A signal that nothing listens for yet, and a look-up, say so or do without.
        if let Err(error) = listen(Signal::User1) {
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "{error}");
        }
        let _ = resolve(Query::host("localhost", 1)).await;

        taken.clear();
        let before = open_descriptors();
        UdpSocket::connect(tcp).unwrap();
        TcpStream::connect(tcp).await.unwrap();
        listener.accept().await.unwrap();
        UnixListener::bind(&path).unwrap();
        UnixDatagram::pair().unwrap();
        peer.write_all(b"on").await.unwrap();
        assert_eq!(open_descriptors(), before);
    });
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
