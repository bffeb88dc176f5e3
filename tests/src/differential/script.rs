//! Scripts: what is done to sockets, in which order. As `Debug` shows one, it is Rust.

use std::fmt;

/// Where something is bound, of a script's own few places.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A port of TCP at the script's own loopback address.
    Tcp(u8),
    /// A port of UDP there.
    Udp(u8),
    /// A path in the script's own directory.
    Path(u8),
    /// An abstract name.
    Name(u8),
}

/// With what options something is opened.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum With {
    /// The defaults.
    Plain,
    /// Without what may wait: a backlog of one.
    Short,
    /// No `SO_REUSEADDR`.
    NoReuse,
    /// `SO_REUSEPORT`.
    Shared,
    /// Nagle's algorithm; of a Unix listener and a socket of datagrams, in place of a stale path.
    Slow,
    /// Buffers of 64 KiB.
    Buffers,
}

/// Where to listen, of a stream of TCP.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Beside {
    /// At its own address.
    Own,
    /// At its peer's.
    Peer,
    /// At its own port of another loopback address.
    Elsewhere,
}

/// An operation. The first number is the slot of what it is done to; one that finds its slot empty,
/// or the slot full that it is to fill, is skipped.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Binds listener 0 at a place and listens.
    Listen(u8, Place, With),
    /// Closes a listener.
    Unlisten(u8),
    /// Takes a connection of the listener as a stream.
    Accept(u8, u8),
    /// Connects a stream.
    Connect(u8, Place, With),
    /// Connects two Unix streams with each other.
    Pair(u8, u8),
    /// Writes so many bytes.
    Write(u8, usize),
    /// Reads so many bytes, or what comes before the end.
    Read(u8, usize),
    /// Writes until there is no more room; nothing is written after that.
    Fill(u8),
    /// Reads until there is no more.
    Drain(u8),
    /// Ends the sending side.
    Shutdown(u8),
    /// Drops a stream.
    Close(u8),
    /// Gives a stream up.
    Abort(u8),
    /// Sets the linger time of TCP to zero.
    Linger(u8),
    /// Turns Nagle's algorithm off.
    Nodelay(u8),
    /// Asks for the error that is held.
    TakeError(u8),
    /// Asks for both addresses.
    Addresses(u8),
    /// Listens at an address of a stream of TCP, and stops that at once.
    ListenAt(u8, Beside, With),
    /// Binds a socket of datagrams.
    Bind(u8, Place, With),
    /// Connects one, without a name of its own.
    Point(u8, Place),
    /// Connects one that is bound to the first place to the second one.
    PointFrom(u8, Place, Place),
    /// Opens one of Unix that has no name.
    Unbound(u8),
    /// Two of Unix that are connected to each other.
    PairUp(u8, u8),
    /// Sends a datagram of so many bytes to where it is connected to.
    Send(u8, usize),
    /// Sends one to a place.
    SendTo(u8, Place, usize),
    /// Receives one, at most so many bytes of it.
    Recv(u8, usize),
    /// Sends to a place, or to where it is connected to, until there is no more room.
    Flood(u8, Option<Place>),
    /// Receives all that is there.
    Empty(u8),
    /// Closes a socket of datagrams.
    Hush(u8),
    /// Asks a socket of datagrams for the error that is held.
    AskError(u8),
    /// Asks it for its addresses.
    Names(u8),
    /// Removes a path.
    Unlink(Place),
}

/// One of the few slots of a script.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// For a listener.
    Listener(u8),
    /// For a stream.
    Stream(u8),
    /// For a socket of datagrams.
    Datagrams(u8),
}

impl Op {
    /// What it is done to, and what it makes.
    pub fn slots(self) -> Vec<Slot> {
        match self {
            Op::Listen(at, ..) | Op::Unlisten(at) => vec![Slot::Listener(at)],
            Op::Accept(at, into) => vec![Slot::Listener(at), Slot::Stream(into)],
            Op::Connect(at, ..)
            | Op::Write(at, _)
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
            | Op::ListenAt(at, ..) => vec![Slot::Stream(at)],
            Op::Pair(one, other) => vec![Slot::Stream(one), Slot::Stream(other)],
            Op::Bind(at, ..)
            | Op::Point(at, _)
            | Op::PointFrom(at, ..)
            | Op::Unbound(at)
            | Op::Send(at, _)
            | Op::SendTo(at, ..)
            | Op::Recv(at, _)
            | Op::Flood(at, _)
            | Op::Empty(at)
            | Op::Hush(at)
            | Op::AskError(at)
            | Op::Names(at) => vec![Slot::Datagrams(at)],
            Op::PairUp(one, other) => vec![Slot::Datagrams(one), Slot::Datagrams(other)],
            Op::Unlink(_) => vec![],
        }
    }
}

/// One operation, or two at once.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begins when the one before has ended, or is known to wait and was given up.
    One(Op),
    /// In either order, and the second begins before the first has ended.
    Two(Op, Op),
}

impl Step {
    /// What it does.
    pub fn operations(&self) -> impl Iterator<Item = Op> {
        let (one, other) = match *self {
            Step::One(one) => (one, None),
            Step::Two(one, other) => (one, Some(other)),
        };
        std::iter::once(one).chain(other)
    }
}

/// A script.
#[derive(Clone, PartialEq, Eq)]
pub struct Script(
    /// What is done, in this order.
    pub Vec<Step>,
);

impl Script {
    /// Its operations, those of a step in the order in which they stand there.
    pub fn operations(&self) -> impl Iterator<Item = Op> {
        self.0.iter().flat_map(Step::operations)
    }

    /// Whether some operations of it race.
    pub fn has_races(&self) -> bool {
        self.0.iter().any(|step| matches!(step, Step::Two(..)))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Script(vec![")?;
        for step in &self.0 {
            writeln!(f, "    {step:?},")?;
        }
        f.write_str("])")
    }
}
