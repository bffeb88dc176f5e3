//! A broker that runs out of descriptors, in a child process of this binary with a limit of its own.

use std::fs::File;
use std::num::NonZeroUsize;
use std::process::Command;
use std::time::Duration;

use bowline::concurrency::{Root, timeout, yield_now};
use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{Caller, Error, ErrorKind, Registry, TcpBroker};
use bowline_backend::Backend;
use bowline_backend::net::TcpStream;
use bowline_backend::stream::ByteStreamExt;
use bytes::BytesMut;

const CHILD: &str = "BOWLINE_TEST_BROKER_WITH_FEW_DESCRIPTORS";
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_broker_accepts_again_after_descriptors_ran_out() {
    if let Ok(name) = std::env::var(CHILD) {
        return run_out_of_descriptors(Backend::from_name(&name).unwrap());
    }
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "a_broker_accepts_again_after_descriptors_ran_out",
                "--exact",
                "--nocapture",
            ])
            .env(CHILD, backend.name())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{backend}: {text}");
    }
}

fn run_out_of_descriptors(backend: Backend) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let registry = Registry::new("example");
    registry
        .register_fn("add", |(a, b): (i64, i64)| async move { a + b })
        .unwrap();
    let server = TcpBroker::builder(AsyncExecutor::new(registry, 4)).listen("127.0.0.1:0");
    let ended =
        Root::new()
            .backend(backend)
            .block_on(server.run(async |server| -> Result<(), Error> {
                let address = server.local_addrs()[0];
                let client = TcpBroker::caller().project("example").connect(address);
                client
                    .run(async |client| {
                        let limit = Rlimit {
                            current: Some(64),
                            maximum: Some(64),
                        };
                        setrlimit(Resource::Nofile, limit).unwrap();
                        let mut taken = Vec::new();
                        while let Ok(file) = File::open("/dev/null") {
                            taken.push(file);
                        }
                        // The only one left is for the side that connects.
                        taken.pop();
                        let mut stranger = TcpStream::connect(address).await.unwrap();
                        stranger
                            .write_all(b"SSH-2.0-OpenSSH_9.9\r\n")
                            .await
                            .unwrap();
                        until(|| server.statistics().accept_errors.exhausted > 0).await;
                        // Whoever is connected is served.
                        assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
                        assert_eq!(server.statistics().accepted, 1);
                        taken.clear();
                        let mut answer = BytesMut::new();
                        let end = timeout(LONG, stranger.read_into(&mut answer, NonZeroUsize::MIN));
                        assert_eq!(end.await.expect("it is accepted").unwrap(), 0);
                        let seen = server.statistics();
                        assert_eq!((seen.accepted, seen.strangers.ssh), (2, 1));
                        assert_eq!((seen.accept_errors.fatal, seen.refused), (0, 0));
                        Ok(())
                    })
                    .await
            }));
    ended.unwrap();
}

#[test]
fn a_broken_listener_ends_its_broker() {
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        let server = TcpBroker::builder(AsyncExecutor::new(Registry::new("example"), 4))
            .listen("127.0.0.1:0");
        let run = server.run(async |server| -> Result<(), Error> {
            shut_down_listener(server.local_addrs()[0].port());
            std::future::pending().await
        });
        let ended = Root::new().backend(backend).block_on(timeout(LONG, run));
        let error = ended.expect("the broker ends").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(error.to_string().contains("a listener broke"), "{error}");
    }
}

/// Makes every accept of this process's listener at `port` fail with EINVAL.
fn shut_down_listener(port: u16) {
    use std::net::{SocketAddr, TcpListener};
    use std::os::fd::FromRawFd;
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        if !target.to_string_lossy().starts_with("socket:") {
            continue;
        }
        let number = entry.file_name().to_string_lossy().parse().unwrap();
        #[expect(unsafe_code, reason = "nothing safe lends a descriptor by its number")]
        // SAFETY: the directory just listed it as open, no other thread closes sockets here, and it
        // is not closed when this is dropped.
        let socket = std::mem::ManuallyDrop::new(unsafe { TcpListener::from_raw_fd(number) });
        if socket
            .local_addr()
            .is_ok_and(|at: SocketAddr| at.port() == port)
        {
            rustix::net::shutdown(&*socket, rustix::net::Shutdown::Both).unwrap();
        }
    }
}

async fn until(holds: impl Fn() -> bool) {
    let held = timeout(LONG, async {
        while !holds() {
            yield_now().await;
        }
    });
    held.await.expect("it comes to hold");
}
