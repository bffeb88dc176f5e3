//! The other end of a broker's connection, driven by hand.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::stream::{ByteReader, ByteStreamExt, ByteWriter};
use bowline_backend::time;
use bowline_codec::OutputBatch;
use bowline_concurrency::timeout;
use bowline_rpc::proto::{
    Advertised, Command, Config, Event, IncomingCall, Machine, MethodId, Side,
};
use bowline_rpc::{Limits, TcpBroker, TcpBrokerBuilder};
use bytes::BytesMut;

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(20);
const READ: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

#[derive(Debug)]
pub(crate) struct RawPeer<S = TcpStream> {
    pub(crate) stream: S,
    pub(crate) machine: Machine,
    input: BytesMut,
}

impl RawPeer {
    /// Dials a broker of the project `example`, up to the end of the handshake.
    pub(crate) async fn dial(to: std::net::SocketAddr, limits: &Limits) -> Self {
        let stream = TcpStream::connect(to).await.expect("it listens");
        let mut peer = Self::new(stream, Side::Dialer, limits);
        peer.until(|event| matches!(event, Event::Ready(_))).await;
        peer.flush().await;
        peer
    }

    /// Takes one connection of a broker and offers it `methods`.
    pub(crate) async fn accept(listener: &TcpListener, limits: &Limits, methods: &[&str]) -> Self {
        let (stream, _) = listener.accept().await.expect("somebody connects");
        Self::offer(stream, limits, methods).await
    }
}

impl<S: ByteReader + ByteWriter> RawPeer<S> {
    /// Offers `methods` to the broker that dialed.
    pub(crate) async fn offer(stream: S, limits: &Limits, methods: &[&str]) -> Self {
        let mut peer = Self::new(stream, Side::Listener, limits);
        let offered = methods.iter().zip(1..);
        let offered = offered.map(|(name, id)| Advertised::new(MethodId(id), *name));
        peer.command(Command::Advertise(offered.collect()));
        // The broker may end in the middle; whoever waits for its calls hears of that.
        let is_ready = |event: &Event| matches!(event, Event::Ready(_));
        if peer.until_end(is_ready).await.is_some() {
            let bytes = peer.bytes();
            let _ = peer.stream.write_all(&bytes).await;
        }
        peer
    }

    fn new(stream: S, side: Side, limits: &Limits) -> Self {
        Self::with(
            stream,
            side,
            Config::new("example", [9; 16]).limits(limits.clone()),
        )
    }
}

impl<S: ByteReader + ByteWriter> RawPeer<S> {
    /// A peer that has said nothing yet.
    pub(crate) fn with(stream: S, side: Side, config: Config) -> Self {
        Self {
            stream,
            machine: Machine::new(Arc::new(config), side, time::now(), [7; 32]),
            input: BytesMut::new(),
        }
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.machine
            .command(time::now(), command)
            .expect("the machine takes it");
    }

    /// All bytes the machine has to send.
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        let mut batch = OutputBatch::new();
        while self
            .machine
            .poll_transmit(time::now(), &mut batch, usize::MAX)
        {}
        self.machine.on_transmitted(batch.len());
        batch.slices().flatten().copied().collect()
    }

    pub(crate) async fn flush(&mut self) {
        let bytes = self.bytes();
        self.stream.write_all(&bytes).await.expect("it reads");
    }

    /// What comes next, as it comes; empty at the end.
    pub(crate) async fn read(&mut self) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        timeout(LONG, self.stream.read_into(&mut bytes, READ))
            .await
            .expect("something comes")
            .expect("the connection is up");
        bytes.to_vec()
    }

    /// Gives the machine what was read.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.machine
            .handle_bytes(time::now(), &mut self.input)
            .expect("the broker keeps the rules");
    }

    /// Takes what has come in a moment, if anything has; events are dropped.
    pub(crate) async fn turn(&mut self) {
        let mut bytes = BytesMut::new();
        let read = self.stream.read_into(&mut bytes, READ);
        if timeout(Duration::from_millis(20), read).await.is_ok() {
            self.receive(&bytes);
        }
        while self.machine.poll_event().is_some() {}
    }

    /// Sends and receives until an event is the one; those before it are dropped.
    pub(crate) async fn until(&mut self, is_it: impl Fn(&Event) -> bool) -> Event {
        let event = self.until_end(is_it).await;
        event.expect("the broker closed the connection")
    }

    /// The same, or `None` once the broker closed the connection.
    pub(crate) async fn until_end(&mut self, is_it: impl Fn(&Event) -> bool) -> Option<Event> {
        loop {
            while let Some(event) = self.machine.poll_event() {
                if is_it(&event) {
                    return Some(event);
                }
            }
            let bytes = self.bytes();
            self.stream.write_all(&bytes).await.ok()?;
            if !bytes.is_empty() {
                // Some events come of what was sent.
                continue;
            }
            let mut input = BytesMut::new();
            match timeout(LONG, self.stream.read_into(&mut input, READ)).await {
                Ok(Ok(0) | Err(_)) => return None,
                Ok(Ok(_)) => self.receive(&input),
                Err(_) => panic!("nothing comes"),
            }
        }
    }
}

/// Reads to the end of the stream, which comes: how many bytes there were.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> usize {
    let mut bytes = BytesMut::new();
    loop {
        let read = stream.read_into(&mut bytes, READ);
        match timeout(LONG, read).await.expect("the stream ends") {
            // A reset is an end too.
            Ok(0) | Err(_) => return bytes.len(),
            Ok(_) => {}
        }
    }
}

/// Where a raw peer listens, and a broker that will connect there.
pub(crate) fn listener() -> (TcpListener, TcpBrokerBuilder) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpBroker::caller().project("example").connect(address);
    (listener, client)
}

/// The next call that the broker makes of `peer`.
pub(crate) async fn next_call(peer: &mut RawPeer) -> IncomingCall {
    match peer.until(|event| matches!(event, Event::Opened(_))).await {
        Event::Opened(call) => call,
        _ => unreachable!("that is what was asked for"),
    }
}
