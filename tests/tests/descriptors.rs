//! Running out of descriptors, in a child process of this binary with a limit of its own.

use std::fs::File;
use std::process::Command;

use bowline_backend::Backend;
use bowline_backend::accept_error::AcceptErrorKind;
use bowline_backend::net::{TcpListener, TcpStream};

const CHILD: &str = "BOWLINE_TEST_FEW_DESCRIPTORS";

// L5
#[test]
fn accepting_goes_on_after_descriptors_ran_out() {
    if let Ok(name) = std::env::var(CHILD) {
        return run_out_of_descriptors(Backend::from_name(&name).unwrap());
    }
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "accepting_goes_on_after_descriptors_ran_out",
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
    backend.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let _one = TcpStream::connect(address).await.unwrap();
        let limit = Rlimit {
            current: Some(64),
            maximum: Some(64),
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut taken = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            taken.push(file);
        }
        let error = listener.accept().await.unwrap_err();
        assert_eq!(
            AcceptErrorKind::of(&error),
            AcceptErrorKind::Exhausted,
            "{error}"
        );
        taken.clear();
        listener
            .accept()
            .await
            .expect("the connection is still queued");
    });
}
