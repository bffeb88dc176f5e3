//! Servers in threads of their own. Their clients are of the standard library.
#![expect(
    clippy::disallowed_types,
    reason = "the clients are in threads without a backend"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_concurrency::{AnyError, TaskGroup};
use bowline_transport::{
    ConnectionHandler, Error, ErrorKind, ListenersBuilder, Messages, Operation, Peer, Server,
    ServerHandle, ServerLimits, ServerThread, StreamServer,
};

use crate::script::{Script, Scripted};
use crate::{Client, Line, line};

const REAL: [Backend; 3] = [Backend::Tokio, Backend::Smol, Backend::AsyncStd];

type Lines = StreamServer<ListenersBuilder, fn() -> Line>;

fn at(address: SocketAddr) -> Lines {
    let limits = ServerLimits::new().grace(Duration::from_millis(1));
    Server::tcp(address)
        .codec(line as fn() -> Line)
        .limits(limits)
}

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn address(server: &ServerThread) -> SocketAddr {
    server.local_addrs()[0].as_inet().unwrap()
}

fn ask(stream: &mut BufReader<TcpStream>, line: &str) -> String {
    stream.get_mut().write_all(line.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).unwrap();
    answer
}

// SV9
#[test]
fn it_starts_stops_and_starts_again() {
    for backend in REAL {
        let script = || Script::new(&Scripted::new());
        let server = ServerThread::start(backend, at(anywhere()), script()).unwrap();
        let bound = address(&server);
        // Bound when `start` returns: nobody has to try again.
        let stream = TcpStream::connect(bound).unwrap();
        let mut stream = BufReader::new(stream);
        assert_eq!(ask(&mut stream, "Ada\n"), "welcome Ada\n");
        assert_eq!(server.handle().connections(), 1);

        let taken = ServerThread::start(backend, at(bound), script()).unwrap_err();
        assert_eq!(
            (taken.operation(), taken.kind()),
            (Operation::Bind, ErrorKind::Address)
        );

        let report = server.stop(Duration::from_secs(60)).unwrap();
        assert_eq!((report.finished, report.aborted), (1, 0), "{backend}");
        assert_eq!(ask_end(&mut stream), 0);
        TcpStream::connect(bound).unwrap_err();

        let again = ServerThread::start(backend, at(bound), script()).unwrap();
        assert_eq!(address(&again), bound);
        let stream = TcpStream::connect(bound).unwrap();
        let mut stream = BufReader::new(stream);
        assert_eq!(ask(&mut stream, "Ada\n"), "welcome Ada\n");
        stream.get_mut().write_all(b"hang\n").unwrap();
        drop(again); // at once, and it is waited for
        TcpStream::connect(bound).unwrap_err();
    }
}

fn ask_end(stream: &mut BufReader<TcpStream>) -> usize {
    stream.read_line(&mut String::new()).unwrap()
}

/// Panics as soon as it starts.
struct Clumsy;

impl ConnectionHandler<Client> for Clumsy {
    type Error = Error;

    async fn on_start(&self, _: &ServerHandle, _: &TaskGroup<AnyError>) {
        panic!("it fell");
    }

    async fn handle(&self, _: &Peer<Client>, _: &mut Messages<Client>) -> Result<(), Error> {
        Ok(())
    }
}

// SV9, TR12
#[test]
fn a_panic_of_the_thread_is_an_error() {
    for backend in REAL {
        let server = ServerThread::start(backend, at(anywhere()), Clumsy).unwrap();
        let error = server.stop(Duration::ZERO).unwrap_err();
        assert_eq!(
            (error.operation(), error.kind()),
            (Operation::Serve, ErrorKind::Panic)
        );
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.to_string().contains("it fell"), "{source}");
        assert!(!error.is_retryable() && !error.is_connection());
    }
}

// SV9
#[test]
fn a_simulated_world_waits_for_no_thread() {
    let script = Script::new(&Scripted::new());
    let error = ServerThread::start(Backend::Sim, at(anywhere()), script).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// Ends its own server.
struct Fleeting;

impl ConnectionHandler<Client> for Fleeting {
    type Error = Error;

    async fn on_start(&self, server: &ServerHandle, group: &TaskGroup<AnyError>) {
        let server = server.clone();
        group.spawn_ok(async move { server.drain(Duration::ZERO).await });
    }

    async fn handle(&self, _: &Peer<Client>, _: &mut Messages<Client>) -> Result<(), Error> {
        Ok(())
    }
}

// SV9
#[test]
fn a_thread_can_serve_by_itself() {
    at(anywhere()).serve_blocking(Fleeting).unwrap();
    let taken = std::net::TcpListener::bind(anywhere()).unwrap();
    let error = at(taken.local_addr().unwrap()).serve_blocking(Fleeting);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Address);
}
