//! Names and datagrams in the reality table of S12, and that the simulator shows all of it.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::process::Command;
use std::task::Poll;

use bowline_backend::Backend;
use bowline_backend::net::{UdpSocket, UnixDatagram, UnixListenOptions, UnixListener, UnixStream};
use bowline_backend::stream::{Address, UnixAddress};
use bowline_backend::task::{RunOptions, yield_now};
use bowline_tests::files::Files;
use bowline_tests::temp_dir::TempDir;
use bytes::BytesMut;

use crate::children::is_alone;
use crate::conformance;
use crate::reality::{Outcome, TELL, check, done};
use crate::streams::MOST;

conformance! {
    all: [names_and_datagrams_are_in_the_reality_table]
    real: []
    dropping: []
    real_dropping: []
}

/// What `operation` did within so many turns.
async fn soon<T>(operation: impl Future<Output = io::Result<T>>) -> Outcome {
    let mut operation = pin!(operation);
    for _ in 0..100 {
        let polled = poll_fn(|cx| Poll::Ready(operation.as_mut().poll(cx))).await;
        if let Poll::Ready(result) = polled {
            return done(&result);
        }
        yield_now().await;
    }
    Outcome::Waits
}

// S12
fn names_and_datagrams_are_in_the_reality_table(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let path = dir.join("listener");
        let at = UnixAddress::from_path(&path).unwrap();
        let connected = soon(UnixStream::connect(&at)).await;
        check(backend, "Unix path missing", "connect", connected);
        drop(UnixListener::bind(&at).unwrap());
        let connected = soon(UnixStream::connect(&at)).await;
        check(backend, "Unix path stale", "connect", connected);
        let none = UnixListenOptions::new().backlog(0);
        let listener = UnixListener::bind_with(&UnixAddress::autobind(), none).unwrap();
        let named = listener.local_addr().unwrap();
        let at = named.as_unix().unwrap();
        let mut held = Vec::new();
        while let Some(stream) = connected_soon(at).await {
            held.push(stream);
            assert!(held.len() < 100, "a backlog of none takes any number");
        }
        let connected = soon(UnixStream::connect(at)).await;
        check(backend, "Unix backlog full", "connect", connected);

        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let peer = UdpSocket::bind(any).unwrap();
        let ours = UdpSocket::connect(peer.local_addr().unwrap()).unwrap();
        drop(peer);
        let situation = "UDP to a closed port, connected";
        check(backend, situation, "send", done(&ours.send(b"x").await));
        let mut buffer = BytesMut::new();
        let received = soon(ours.recv_from(&mut buffer, MOST)).await;
        check(backend, situation, "recv", received);
        check(backend, situation, "send", done(&ours.send(b"x").await));

        let path = dir.join("receiver");
        let at = UnixAddress::from_path(&path).unwrap();
        let ours = UnixDatagram::unbound().unwrap();
        drop(UnixDatagram::bind(&at).unwrap());
        let to = Address::from(at);
        let situation = "Unix datagram, receiver gone";
        let sent = soon(ours.send_to(b"x", &to)).await;
        check(backend, situation, "send", sent);
        Files(backend).remove(path).unwrap();
        let sent = soon(ours.send_to(b"x", &to)).await;
        check(backend, situation, "send", sent);
    });
}

/// A stream, unless connecting waits.
async fn connected_soon(to: &UnixAddress) -> Option<UnixStream> {
    let mut connecting = pin!(UnixStream::connect(to));
    for _ in 0..100 {
        let polled = poll_fn(|cx| Poll::Ready(connecting.as_mut().poll(cx))).await;
        if let Poll::Ready(connected) = polled {
            return Some(connected.unwrap());
        }
        yield_now().await;
    }
    None
}

/// The outcomes that the tables' cases showed on a backend, in `runs` processes of other seeds.
fn shown(backend: &str, runs: u32) -> BTreeSet<String> {
    let mut others = vec![
        "tokio_one::",
        "tokio_many::",
        "smol_",
        "async_std::",
        "sim::",
    ];
    others.retain(|other| *other != backend);
    let mut shown = BTreeSet::new();
    for seed in 0..runs {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["reality_table", "--nocapture", "--test-threads=1"])
            .args(others.iter().flat_map(|other| ["--skip", other]))
            .env(TELL, "1")
            .env("BOWLINE_SIM_SEED", seed.to_string());
        let child = command.output().unwrap();
        let text = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{backend}, seed {seed}: {text}");
        let told = text.lines().filter_map(|line| line.split_once("outcome: "));
        shown.extend(told.map(|(_, outcome)| outcome.to_owned()));
    }
    shown
}

// S12
#[test]
fn the_simulator_shows_what_the_kernel_shows() {
    if !is_alone("reality_cases::the_simulator_shows_what_the_kernel_shows") {
        return;
    }
    let kernel = shown("tokio_one::", 3);
    assert!(kernel.len() > 20, "{kernel:#?}");
    let simulated = shown("sim::", 60);
    let missing: Vec<_> = kernel.difference(&simulated).collect();
    assert!(missing.is_empty(), "never simulated: {missing:#?}");
}
