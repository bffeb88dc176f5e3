//! Runs a script on the backend that is current, kernel or world alike.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::{
    Nodelay, Stale, TcpListenOptions, TcpListener, TcpOptions, TcpStream, UdpOptions, UdpSocket,
    UnixDatagram, UnixListenOptions, UnixListener, UnixOptions, UnixStream,
};
use bowline_backend::stream::Address;

use super::ends::{Datagrams, Expected, Listener, Stream};
use super::names::{Grounds, Names};
use super::outcome::{End, Outcome};
use super::quiet::{Quiet, both};
use super::script::{Beside, Op, Place, Script, Slot, Step, With};
use crate::files::Files;

const BUFFER: usize = 64 * 1024;

/// Runs `script`. What each operation did in worlds, as far as that is known, is `seen`.
pub(super) async fn run(script: &Script, grounds: &Grounds, seen: &[Vec<Outcome>]) -> Vec<Outcome> {
    let backend = Backend::current().expect("one runs");
    let quiet = Quiet::new(backend, grounds.own, grounds.most).expect("a socket for the barrier");
    let mut table = Table {
        names: Names::new(grounds, Files(backend)),
        listeners: slots(),
        streams: slots(),
        datagrams: slots(),
    };
    let mut outcomes = Vec::new();
    for step in &script.0 {
        let expected =
            |ahead: usize| Expected(seen.get(outcomes.len() + ahead).map_or(&[], |all| all));
        match *step {
            Step::One(op) => {
                let mut held = table.take(op);
                let number = outcomes.len();
                held.act(&quiet, expected(0), number).await;
                outcomes.push(table.put(held));
            }
            Step::Two(one, other) => {
                let number = outcomes.len();
                let (mut first, mut second) = (table.take(one), table.take(other));
                both(
                    first.act(&quiet, expected(0), number),
                    second.act(&quiet, expected(1), number + 1),
                )
                .await;
                outcomes.push(table.put(first));
                outcomes.push(table.put(second));
            }
        }
        quiet.settle().await;
    }
    outcomes
}

const SLOTS: usize = 8;

fn slots<T>() -> Vec<Option<T>> {
    std::iter::repeat_with(|| None).take(SLOTS).collect()
}

/// What a script has.
struct Table {
    names: Names,
    listeners: Vec<Option<Listener>>,
    streams: Vec<Option<Stream>>,
    datagrams: Vec<Option<Datagrams>>,
}

/// What an operation is done to, out of the table while it is done, and what came of it.
struct Held {
    op: Op,
    names: Names,
    listener: Option<Listener>,
    stream: Option<Stream>,
    other_stream: Option<Stream>,
    datagrams: Option<Datagrams>,
    other_datagrams: Option<Datagrams>,
    skip: bool,
    bound: Option<(Place, SocketAddr)>,
    outcome: Outcome,
}

impl Table {
    fn take(&mut self, op: Op) -> Held {
        let mut held = Held {
            op,
            names: self.names.clone(),
            listener: None,
            stream: None,
            other_stream: None,
            datagrams: None,
            other_datagrams: None,
            skip: false,
            bound: None,
            outcome: Outcome::of(End::Skipped),
        };
        let taken = |slots: &[bool], at: &[u8]| at.iter().any(|at| slots[*at as usize]);
        let full = |slots: &[Option<Stream>]| slots.iter().map(Option::is_some).collect::<Vec<_>>();
        match op {
            Op::Listen(at, ..) => held.skip = self.listeners[at as usize].is_some(),
            Op::Unlisten(at) => {
                held.listener = self.listeners[at as usize].take();
                held.skip = held.listener.is_none();
            }
            Op::Accept(at, into) => {
                held.listener = self.listeners[at as usize].take();
                held.skip = held.listener.is_none() || self.streams[into as usize].is_some();
            }
            Op::Connect(at, ..) => held.skip = taken(&full(&self.streams), &[at]),
            Op::Pair(one, other) => {
                held.skip = one == other || taken(&full(&self.streams), &[one, other]);
            }
            Op::Write(at, _)
            | Op::Read(at, _)
            | Op::Fill(at)
            | Op::Drain(at)
            | Op::Shutdown(at)
            | Op::Close(at)
            | Op::Abort(at)
            | Op::Linger(at)
            | Op::Nodelay(at)
            | Op::TakeError(at)
            | Op::Addresses(at)
            | Op::ListenAt(at, ..) => {
                held.stream = self.streams[at as usize].take();
                held.skip = held.stream.is_none();
            }
            Op::Bind(at, ..) | Op::Point(at, _) | Op::PointFrom(at, ..) | Op::Unbound(at) => {
                held.skip = self.datagrams[at as usize].is_some();
            }
            Op::PairUp(one, other) => {
                let has = |at: u8| self.datagrams[at as usize].is_some();
                held.skip = one == other || has(one) || has(other);
            }
            Op::Send(at, _)
            | Op::SendTo(at, ..)
            | Op::Recv(at, _)
            | Op::Flood(at, _)
            | Op::Empty(at)
            | Op::Hush(at)
            | Op::AskError(at)
            | Op::Names(at) => {
                held.datagrams = self.datagrams[at as usize].take();
                held.skip = held.datagrams.is_none();
            }
            Op::Unlink(_) => {}
        }
        held
    }

    /// Puts back what was held, and what it made.
    fn put(&mut self, mut held: Held) -> Outcome {
        if let Some((place, at)) = held.bound {
            self.names.ports.insert(place, at);
        }
        let mut streams = [held.stream, held.other_stream].into_iter();
        let mut datagrams = [held.datagrams, held.other_datagrams].into_iter();
        for slot in held.op.slots() {
            match slot {
                Slot::Listener(at) => put(&mut self.listeners[at as usize], held.listener.take()),
                Slot::Stream(at) => put(&mut self.streams[at as usize], streams.next().flatten()),
                Slot::Datagrams(at) => {
                    put(&mut self.datagrams[at as usize], datagrams.next().flatten())
                }
            }
        }
        held.outcome
    }
}

fn put<T>(slot: &mut Option<T>, held: Option<T>) {
    // Of two operations at once that make something for one slot the second one's goes.
    if slot.is_none() {
        *slot = held;
    }
}

impl Held {
    /// Does it.
    async fn act(&mut self, quiet: &Quiet, expected: Expected<'_>, number: usize) {
        if self.skip {
            return;
        }
        self.outcome = match self.op {
            Op::Listen(_, place, with) => self.listen(place, with),
            Op::Unlisten(_) => {
                self.listener = None;
                Outcome::of(End::Done)
            }
            Op::Accept(..) => {
                let accepting = self.listener.as_ref().expect("it is held").accept();
                match quiet.ready(accepting, expected.patience(0)).await {
                    None => Outcome::of(End::Waits),
                    Some(accepted) => {
                        let outcome = Outcome::done(&accepted);
                        self.stream = accepted.ok();
                        outcome
                    }
                }
            }
            Op::Connect(_, place, with) => self.connect(place, with, quiet, expected).await,
            Op::Pair(..) => {
                let pair = UnixStream::pair();
                let outcome = Outcome::done(&pair);
                if let Ok((one, other)) = pair {
                    self.stream = Some(Stream::unix(one));
                    self.other_stream = Some(Stream::unix(other));
                }
                outcome
            }
            Op::Bind(..) | Op::Point(..) | Op::PointFrom(..) | Op::Unbound(_) => {
                let opened = self.open();
                let outcome = Outcome::done(&opened);
                self.datagrams = opened.ok();
                outcome
            }
            Op::PairUp(..) => {
                let pair = UnixDatagram::pair();
                let outcome = Outcome::done(&pair);
                if let Ok((one, other)) = pair {
                    self.datagrams = Some(Datagrams::unix(one));
                    self.other_datagrams = Some(Datagrams::unix(other));
                }
                outcome
            }
            Op::Unlink(place) => match place {
                Place::Path(path) => Outcome::done(&self.names.files.remove(self.names.path(path))),
                _ => Outcome::of(End::Skipped),
            },
            _ if self.stream.is_some() => self.stream(quiet, expected).await,
            _ => self.datagrams(quiet, expected, number).await,
        };
    }

    fn listen(&mut self, place: Place, with: With) -> Outcome {
        let bound = match place {
            Place::Tcp(_) => {
                let at = self.names.fresh(place);
                TcpListener::bind_with(at, listen_options(with)).map(|listener| {
                    let at = listener.local_addr().expect("it is bound");
                    self.bound = Some((place, at));
                    Listener::Tcp(listener)
                })
            }
            Place::Udp(_) => return Outcome::of(End::Skipped),
            Place::Path(_) | Place::Name(_) => {
                let options = UnixListenOptions::new();
                let options = match with {
                    With::Short => options.backlog(1),
                    With::Slow => options.stale(Stale::ReplaceIfRefused),
                    _ => options,
                };
                UnixListener::bind_with(&self.names.unix(place), options).map(Listener::Unix)
            }
        };
        let outcome = Outcome::done(&bound);
        self.listener = bound.ok();
        outcome
    }

    async fn connect(
        &mut self,
        place: Place,
        with: With,
        quiet: &Quiet,
        expected: Expected<'_>,
    ) -> Outcome {
        let names = self.names.clone();
        let connecting = async {
            match place {
                Place::Tcp(_) => TcpStream::connect_with(names.inet(place), tcp_options(with))
                    .await
                    .map(Stream::tcp),
                Place::Udp(_) => Err(io::ErrorKind::Unsupported.into()),
                Place::Path(_) | Place::Name(_) => {
                    let options = match with {
                        With::Buffers => UnixOptions::new().send_buffer(BUFFER).recv_buffer(BUFFER),
                        _ => UnixOptions::new(),
                    };
                    let to = names.unix(place);
                    UnixStream::connect_with(&to, options)
                        .await
                        .map(Stream::unix)
                }
            }
        };
        match quiet.ready(connecting, expected.patience(0)).await {
            None => Outcome::of(End::Waits),
            Some(connected) => {
                let outcome = Outcome::done(&connected);
                self.stream = connected.ok();
                outcome
            }
        }
    }

    /// What is done to one stream.
    async fn stream(&mut self, quiet: &Quiet, expected: Expected<'_>) -> Outcome {
        let Some(stream) = &mut self.stream else {
            return Outcome::of(End::Skipped);
        };
        match self.op {
            Op::Write(_, bytes) => stream.write(bytes, quiet, expected).await,
            Op::Read(_, bytes) => stream.read(bytes, quiet, expected).await,
            Op::Fill(_) => stream.fill(quiet, expected).await,
            Op::Drain(_) => stream.drain(quiet, expected).await,
            Op::Shutdown(_) => Outcome::done(&stream.shutdown().await),
            Op::Close(_) => {
                self.stream = None;
                Outcome::of(End::Done)
            }
            Op::Abort(_) => {
                if let Some(stream) = self.stream.take() {
                    stream.abort();
                }
                Outcome::of(End::Done)
            }
            Op::Linger(_) => stream.linger(Some(Duration::ZERO)),
            Op::Nodelay(_) => stream.nodelay(Nodelay::On),
            Op::TakeError(_) => Outcome::told(stream.take_error()),
            Op::ListenAt(_, beside, with) => {
                let [own, peer] = stream.addresses();
                let at = match (beside, own, peer) {
                    (Beside::Own, Some(Address::Inet(at)), _) => at,
                    (Beside::Peer, _, Some(Address::Inet(at))) => at,
                    (Beside::Elsewhere, Some(Address::Inet(at)), _) => self.names.elsewhere(at),
                    _ => return Outcome::of(End::Skipped),
                };
                let bound = TcpListener::bind_with(at, listen_options(with));
                if let Err(error) = &bound
                    && error.kind() == io::ErrorKind::AddrInUse
                    && Backend::current().is_ok_and(|backend| backend != Backend::Sim)
                {
                    self.names.look_for_others(at);
                }
                Outcome::done(&bound)
            }
            _ => {
                let [local, peer] = stream.addresses();
                let tell = |address: Option<Address>| {
                    address.map_or("nowhere".to_owned(), |address| self.names.tell(&address))
                };
                Outcome::told(format!("{} to {}", tell(local), tell(peer)))
            }
        }
    }

    fn open(&mut self) -> io::Result<Datagrams> {
        let inet = |place| matches!(place, Place::Udp(_) | Place::Tcp(_));
        let names = &self.names;
        match self.op {
            Op::Bind(_, place, with) if inet(place) => {
                let options = UdpOptions::new();
                let options = match with {
                    With::Shared => options.reuse_port(),
                    With::Buffers => options.send_buffer(BUFFER).recv_buffer(BUFFER),
                    _ => options,
                };
                let socket = UdpSocket::bind_with(names.fresh(place), options)?;
                self.bound = Some((place, socket.local_addr()?));
                Ok(Datagrams::udp(socket))
            }
            Op::Bind(_, place, with) => {
                let options = UnixOptions::new();
                let options = match with {
                    With::Buffers => options.send_buffer(BUFFER),
                    With::Slow => options.stale(Stale::ReplaceIfRefused),
                    _ => options,
                };
                UnixDatagram::bind_with(&names.unix(place), options).map(Datagrams::unix)
            }
            Op::Point(_, place) if inet(place) => {
                UdpSocket::connect(names.inet(place)).map(Datagrams::udp)
            }
            Op::Point(_, place) => UnixDatagram::connect(&names.unix(place)).map(Datagrams::unix),
            Op::PointFrom(_, from, to) if inet(from) && inet(to) => {
                let options = UdpOptions::new().local(names.fresh(from));
                let socket = UdpSocket::connect_with(names.inet(to), options)?;
                self.bound = Some((from, socket.local_addr()?));
                Ok(Datagrams::udp(socket))
            }
            Op::PointFrom(_, from, to) if !inet(from) && !inet(to) => {
                let options = UnixOptions::new().local(names.unix(from));
                UnixDatagram::connect_with(&names.unix(to), options).map(Datagrams::unix)
            }
            Op::Unbound(_) => UnixDatagram::unbound().map(Datagrams::unix),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// What is done to one socket of datagrams.
    async fn datagrams(&mut self, quiet: &Quiet, expected: Expected<'_>, number: usize) -> Outcome {
        let Some(socket) = &mut self.datagrams else {
            return Outcome::of(End::Skipped);
        };
        let names = &self.names;
        let to = |place| names.address(place);
        match self.op {
            Op::Send(_, bytes) => socket.send(None, bytes, number, quiet, expected).await,
            Op::SendTo(_, place, bytes) => {
                socket
                    .send(Some(to(place)), bytes, number, quiet, expected)
                    .await
            }
            Op::Recv(_, bytes) => {
                let tell = |address: &Address| names.tell(address);
                socket.recv(bytes, tell, quiet, expected).await
            }
            Op::Flood(_, place) => socket.flood(place.map(to), quiet).await,
            Op::Empty(_) => socket.empty(quiet, expected).await,
            Op::Hush(_) => {
                self.datagrams = None;
                Outcome::of(End::Done)
            }
            Op::AskError(_) => Outcome::told(socket.take_error()),
            _ => {
                let [local, peer] = socket.addresses();
                let tell = |address: Option<Address>| {
                    address.map_or("nowhere".to_owned(), |address| names.tell(&address))
                };
                Outcome::told(format!("{} to {}", tell(local), tell(peer)))
            }
        }
    }
}

fn tcp_options(with: With) -> TcpOptions {
    let options = TcpOptions::new();
    match with {
        With::Slow => options.nodelay(Nodelay::Off),
        With::Buffers => options.send_buffer(BUFFER).recv_buffer(BUFFER),
        _ => options,
    }
}

fn listen_options(with: With) -> TcpListenOptions {
    let options = TcpListenOptions::new();
    match with {
        With::Short => options.backlog(1),
        With::NoReuse => options.no_reuse_address(),
        With::Shared => options.reuse_port(),
        With::Buffers => options.accept_options(tcp_options(with)),
        With::Plain | With::Slow => options,
    }
}
