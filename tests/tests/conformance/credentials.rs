//! Who is at the other end of a Unix stream, where that process cannot be seen from here: L12.

use std::env;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use bowline_backend::Backend;
use bowline_backend::net::UnixStream;
use bowline_backend::stream::UnixAddress;
use bowline_tests::temp_dir::TempDir;

use crate::children::is_alone;

/// Where the listener of the parent is, for the child.
const AT: &str = "BOWLINE_TEST_LISTENER";

// L12
#[test]
fn a_peer_of_another_pid_namespace_has_no_pid() {
    if let Some(at) = env::var_os(AT) {
        return look_at_a_peer_outside(at.into());
    }
    if !is_alone("credentials::a_peer_of_another_pid_namespace_has_no_pid") {
        return;
    }
    let namespaces = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--pid", "--fork"]);
        command
    };
    // Systems may forbid it, or have no such program.
    let allowed = namespaces().arg("true").output();
    if !allowed.is_ok_and(|outcome| outcome.status.success()) {
        return;
    }
    let dir = TempDir::new();
    let at = dir.join("listener");
    let _listener = UnixListener::bind(&at).unwrap();
    let child = namespaces()
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("credentials::a_peer_of_another_pid_namespace_has_no_pid")
        .env(AT, &at)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    let errors = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}{errors}");
    assert!(said.contains("1 passed"), "{said}");
}

fn look_at_a_peer_outside(at: PathBuf) {
    let at = UnixAddress::from_path(at).unwrap();
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        backend.block_on(async {
            let stream = UnixStream::connect(&at).await.unwrap();
            let peer = stream.peer_credentials().unwrap();
            assert_eq!(peer.pid, None, "{backend}");
        });
    }
}
