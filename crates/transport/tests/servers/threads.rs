//! Servers in threads of their own. Their clients are of the standard library.
#![expect(
    clippy::disallowed_types,
    reason = "the clients are in threads without a backend"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::UdpSocket as BackendUdp;
use bowline_codec::Text;
use bowline_concurrency::{AnyError, TaskGroup};
use bowline_transport::{
    ConnectionHandler, DatagramTransport, Error, ErrorKind, ListenersBuilder, Messages, Operation,
    PacketHandler, PacketPeer, PacketServer, PacketServerHandle, Packets, Peer, Server,
    ServerHandle, ServerLimits, ServerThread, StreamServer, Transport, UdpPlace,
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

/// Answers every packet, and drains its own server once one says so.
struct Packeted(OnceLock<PacketServerHandle>);

impl PacketHandler<BackendUdp, Text> for Packeted {
    type Error = Error;

    async fn on_start(&self, server: &PacketServerHandle, group: &TaskGroup<AnyError>) {
        let _ = self.0.set(server.clone());
        // Somebody who cannot know the port otherwise.
        let at = server.local_addrs()[0].as_inet().unwrap();
        if at.ip() == Ipv4Addr::new(127, 0, 0, 2) {
            group.spawn(async move {
                let mut client = DatagramTransport::udp(at, Text::new())?;
                client.send(&"end".to_owned()).await?;
                Ok(())
            });
        }
    }

    async fn handle(
        &self,
        peer: &PacketPeer<BackendUdp, Text>,
        packets: &mut Packets<BackendUdp, Text>,
    ) -> Result<(), Error> {
        while let Some(text) = packets.recv().await? {
            if text == "end"
                && let Some(server) = self.0.get()
            {
                server.stop_accepting();
            }
            peer.send(&format!("welcome {text}")).await?;
        }
        Ok(())
    }
}

fn packets_at(at: SocketAddr) -> PacketServer<UdpPlace, Text> {
    Server::udp(at).codec(Text::new)
}

// SV9
#[test]
fn a_server_of_packets_has_a_thread_too() {
    for backend in REAL {
        let handler = || Packeted(OnceLock::new());
        let server = ServerThread::start_packets(backend, packets_at(anywhere()), handler());
        let server = server.unwrap();
        let bound = server.local_addrs()[0].as_inet().unwrap();
        let socket = UdpSocket::bind(anywhere()).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        socket.send_to(b"Ada", bound).unwrap();
        let mut answer = [0; 20];
        let (count, _) = socket.recv_from(&mut answer).unwrap();
        assert_eq!(&answer[..count], b"welcome Ada");
        assert_eq!(server.handle().peers(), 1);

        let taken = ServerThread::start_packets(backend, packets_at(bound), handler());
        let taken = taken.unwrap_err();
        assert_eq!(
            (taken.operation(), taken.kind()),
            (Operation::Bind, ErrorKind::Address)
        );
        let report = server.stop(Duration::from_secs(60)).unwrap();
        assert_eq!((report.finished, report.aborted), (1, 0), "{backend}");
        drop(UdpSocket::bind(bound).unwrap());
    }
    let nowhere = packets_at(anywhere());
    let error = ServerThread::start_packets(Backend::Sim, nowhere, Packeted(OnceLock::new()));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
}

// SV9
#[cfg(target_os = "linux")] // all of 127.0.0.0/8 is this host
#[test]
fn a_thread_can_serve_packets_by_itself() {
    let other: SocketAddr = "127.0.0.2:0".parse().unwrap();
    packets_at(other)
        .serve_blocking(Packeted(OnceLock::new()))
        .unwrap();
    let taken = UdpSocket::bind(anywhere()).unwrap().local_addr().unwrap();
    let socket = UdpSocket::bind(taken).unwrap();
    let error = packets_at(taken).serve_blocking(Packeted(OnceLock::new()));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Address);
    drop(socket);
}

/// Stops its server, or drops it, from a handler.
struct Stops {
    server: Arc<Mutex<Option<ServerThread>>>,
    drops: bool,
    told: Sender<Option<ErrorKind>>,
}

impl<T: Transport<Sent = String, Received = String> + 'static> ConnectionHandler<T> for Stops {
    type Error = Error;

    async fn handle(&self, _: &Peer<T>, messages: &mut Messages<T>) -> Result<(), Error> {
        messages.recv().await?;
        let server = self.server.lock().unwrap().take().unwrap();
        let refused = match self.drops {
            true => None,
            false => server.stop(Duration::from_secs(60)).err(),
        };
        self.told.send(refused.map(|error| error.kind())).unwrap();
        Ok(())
    }
}

// SV9
#[test]
fn a_handler_that_stops_its_own_server_waits_for_nobody() {
    for backend in REAL {
        for (drops, refused) in [(false, Some(ErrorKind::Unsupported)), (true, None)] {
            let (told, heard) = channel();
            let server = Arc::new(Mutex::new(None));
            let handler = Stops {
                server: server.clone(),
                drops,
                told,
            };
            let mut place = server.lock().unwrap();
            let thread = ServerThread::start(backend, at(anywhere()), handler).unwrap();
            let bound = address(&thread);
            *place = Some(thread);
            drop(place);
            let mut stream = BufReader::new(TcpStream::connect(bound).unwrap());
            stream.get_mut().write_all(b"go\n").unwrap();
            assert_eq!(heard.recv().unwrap(), refused, "{backend}");
            // Its thread ends all the same, and with it the handler.
            let _ = stream.read_line(&mut String::new());
            assert!(heard.recv().is_err());
            TcpStream::connect(bound).unwrap_err();
        }
    }
}
