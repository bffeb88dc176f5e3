mod filling;
mod late;
mod patience;

use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bowline_backend::stream::{Address, ByteStream};
use bowline_backend::time::Sleep;
use bowline_codec::{Codec, Decode, DecodeError, DecodeErrorKind};
use bytes::{Bytes, BytesMut};

use self::filling::READ_MIN;
use self::late::Late;
#[cfg(all(unix, feature = "ancillary"))]
use super::inbox::{Answer, Inbox};
use super::lingering::Peer;
use super::outbound::Outbound;
use crate::error::{Break, Delivery, Error, ErrorKind, Operation};
use crate::half_wakers::Half;
use crate::transport::{TransportRecv, TryRecvError};

/// After so many frames or bytes without waiting, the task yields to its siblings.
const BURST_FRAMES: usize = 32;
const BURST_BYTES: usize = 256 * 1024;

/// The receiving half of a [`MessageStream`](super::MessageStream).
///
/// While it waits it also writes what the sender queued. Its drop alone is not visible to the
/// peer.
#[must_use = "the connection ends once both halves are dropped"]
pub struct MessageReceiver<S: ByteStream, C: Codec> {
    decoder: C::Decoder,
    reading: Option<S::ReadHalf>,
    outbound: Arc<Outbound<S>>,
    buffer: BytesMut,
    read_size: usize,
    /// Bytes of the last frame, where that was a large one: the next is likely to be as large.
    foreseen: usize,
    /// The decoder asked for more bytes than there are.
    starved: bool,
    state: State,
    burst_frames: usize,
    burst_bytes: usize,
    /// Runs from when a `recv` first had to wait since the last byte, where that is limited.
    idle: Option<Pin<Box<Sleep>>>,
    /// Some bytes of a frame have come, and not all.
    in_frame: bool,
    /// How many of them the decoder has taken out of the buffer, where that is limited.
    taken: usize,
    /// How long a `recv` has waited for the rest of it, where that is limited.
    late: Late,
    /// Descriptors that came, once somebody asked for them.
    #[cfg(all(unix, feature = "ancillary"))]
    pub(super) inbox: Option<Inbox<S::ReadHalf>>,
}

/// Of a decoder of `C`: `decode` or `decode_end`.
type DecodeBy<C> = fn(
    &mut <C as Codec>::Decoder,
    &mut BytesMut,
) -> Result<Option<<C as Decode>::Item>, DecodeError>;

/// Where the incoming side stands.
enum State {
    Open,
    /// The peer ended; frames it left are still decoded.
    Draining,
    Ended,
    /// What every later call answers.
    Failed(Error),
}

impl<S: ByteStream, C: Codec> MessageReceiver<S, C> {
    pub(super) fn new(
        decoder: C::Decoder,
        reading: S::ReadHalf,
        outbound: Arc<Outbound<S>>,
    ) -> Self {
        MessageReceiver {
            decoder,
            reading: Some(reading),
            outbound,
            buffer: BytesMut::new(),
            read_size: READ_MIN,
            foreseen: 0,
            starved: true,
            state: State::Open,
            burst_frames: 0,
            burst_bytes: 0,
            idle: None,
            in_frame: false,
            taken: 0,
            late: Late::default(),
            #[cfg(all(unix, feature = "ancillary"))]
            inbox: None,
        }
    }

    pub(super) fn outbound(&self) -> &Arc<Outbound<S>> {
        &self.outbound
    }

    /// Lets go of the reading half; every later call is `Closed`.
    pub(super) fn close(&mut self) -> Option<S::ReadHalf> {
        self.state = State::Failed(self.outbound.closed(Operation::Recv));
        self.buffer = BytesMut::new();
        #[cfg(all(unix, feature = "ancillary"))]
        drop(self.inbox.take());
        self.reading.take()
    }

    /// For a close that has ended our side: lets the peer end before a reset takes what we said last.
    pub(super) async fn linger(&mut self) {
        let linger = self.outbound.setup().linger;
        let peer = match self.state {
            State::Open => Peer::Quiet,
            // Who was refused in the middle of a frame has the rest of it on the way.
            State::Failed(_) => Peer::Sends,
            State::Draining | State::Ended => return,
        };
        if let Some(reading) = &mut self.reading {
            linger.read_on(reading, peer).await;
        }
    }

    /// Lets go of the reading half, with what was read and not decoded.
    pub(super) fn take_unread(&mut self) -> Result<(Bytes, S::ReadHalf), Error> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        let unread = mem::take(&mut self.buffer).freeze();
        let reading = self.close();
        let reading = reading.ok_or_else(|| self.outbound.closed(Operation::Upgrade))?;
        Ok((unread, reading))
    }

    /// Who is at the other end, where the stream could say.
    pub fn peer_addr(&self) -> Option<&Address> {
        self.outbound.setup().attributes.peer_addr()
    }

    /// Bytes that were read and not yet decoded.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<C::Item>, Error>> {
        // What waits for the stream goes on now; what was only fed goes with what else there will be.
        if self.outbound.is_blocked() || !matches!(self.state, State::Open) {
            self.outbound.drive_and_wait(Half::Receiver, cx);
        }
        loop {
            match &self.state {
                // Bytes that make no frame do not keep the task either.
                State::Open if self.starved && self.burst_bytes >= BURST_BYTES => {
                    return self.let_others_run(cx);
                }
                State::Open if self.starved => {
                    self.outbound.drive_and_wait(Half::Receiver, cx);
                    match self.read_more(cx) {
                        Poll::Pending => match self.poll_broken(cx) {
                            Poll::Ready(error) => self.state = State::Failed(error),
                            Poll::Pending => return self.poll_idle(cx).map(Err),
                        },
                        Poll::Ready(Ok(0)) => self.state = State::Draining,
                        Poll::Ready(Ok(_)) => self.starved = false,
                        Poll::Ready(Err(error)) => self.state = State::Failed(error),
                    }
                }
                State::Open => {
                    let before = self.buffer.len();
                    let decoded = self.decode(C::Decoder::decode);
                    self.note(before, &decoded);
                    self.note_progress(&decoded);
                    match decoded {
                        Ok(Some(message)) => {
                            self.foresee(before - self.buffer.len());
                            return Poll::Ready(Ok(Some(message)));
                        }
                        Ok(None) => self.starved = true,
                        Err(error) => return Poll::Ready(Err(self.refused(error))),
                    }
                }
                State::Draining => {
                    let before = self.buffer.len();
                    let decoded = self.decode(C::Decoder::decode_end);
                    self.note(before, &decoded);
                    match decoded {
                        Ok(Some(message)) => return Poll::Ready(Ok(Some(message))),
                        Ok(None) => self.state = State::Ended,
                        Err(error) => return Poll::Ready(Err(self.refused(error))),
                    }
                }
                State::Ended => return Poll::Ready(Ok(None)),
                State::Failed(error) => return Poll::Ready(Err(error.clone())),
            }
        }
    }

    /// The next message, after letting other tasks run where there were many.
    pub(super) fn poll_in_turn(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<C::Item>, Error>> {
        if self.burst_frames >= BURST_FRAMES || self.burst_bytes >= BURST_BYTES {
            return self.let_others_run(cx);
        }
        let polled = self.poll_message(cx);
        if polled.is_ready() {
            self.burst_frames += 1;
        } else {
            (self.burst_frames, self.burst_bytes) = (0, 0);
        }
        polled
    }

    fn let_others_run<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        (self.burst_frames, self.burst_bytes) = (0, 0);
        self.outbound.drive_and_wait(Half::Receiver, cx);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Of `before` bytes the decoder took some: with them go the descriptors that came with them.
    #[cfg(all(unix, feature = "ancillary"))]
    fn note(&mut self, before: usize, decoded: &Result<Option<C::Item>, DecodeError>) {
        if let Some(inbox) = &mut self.inbox {
            let answer = match decoded {
                Ok(Some(_)) => Answer::Message,
                Ok(None) => Answer::NotYet,
                Err(_) => Answer::Refused,
            };
            inbox.decoded(before.saturating_sub(self.buffer.len()), answer);
        }
    }

    #[cfg(not(all(unix, feature = "ancillary")))]
    fn note(&mut self, _: usize, _: &Result<Option<C::Item>, DecodeError>) {}

    /// The decoder made a frame, or has one under way, or neither.
    fn note_progress(&mut self, decoded: &Result<Option<C::Item>, DecodeError>) {
        self.in_frame = matches!(decoded, Ok(None)) && self.decoder.in_frame(&self.buffer);
        if !self.in_frame {
            self.late.whole();
        }
    }

    /// Closes the descriptors of a message that nobody asked for.
    fn forget_descriptors(&mut self) {
        #[cfg(all(unix, feature = "ancillary"))]
        if let Some(inbox) = &mut self.inbox {
            drop(inbox.take());
        }
    }

    /// Decodes, and refuses a frame above the limit of the stream, whole or begun. What stands between
    /// frames is of none, so it is all one how the bytes were cut.
    fn decode(&mut self, decode: DecodeBy<C>) -> Result<Option<C::Item>, DecodeError> {
        let limit = self.outbound.setup().max_frame;
        if limit == usize::MAX {
            return decode(&mut self.decoder, &mut self.buffer);
        }
        let before = self.buffer.len() - self.decoder.padding(&self.buffer);
        let earlier = mem::take(&mut self.taken);
        let decoded = decode(&mut self.decoder, &mut self.buffer)?;
        let taken = earlier + before.saturating_sub(self.buffer.len());
        let length = match decoded {
            Some(_) => taken,
            None if self.decoder.in_frame(&self.buffer) => {
                self.taken = taken;
                taken + self.buffer.len()
            }
            None => 0,
        };
        if length <= limit {
            return Ok(decoded);
        }
        let too_long = DecodeErrorKind::TooLong {
            limit,
            declared: None,
        };
        Err(DecodeError::new(too_long).fatal())
    }

    /// Reads once, from a stream that is as it should be.
    fn read_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        self.outbound.check_panicked(Operation::Recv)?;
        let filled = ready!(self.poll_fill(cx));
        self.idle = None;
        Poll::Ready(filled.map_err(|error| self.broken(error)))
    }

    fn broken(&self, error: io::Error) -> Error {
        Error::from_io(Operation::Recv, error)
            .with_peer(self.peer_addr().cloned())
            .with_unsent_frames(self.outbound.unsent_frames())
    }

    /// The error of the decoder; one that is not recoverable is kept for every later call.
    fn refused(&mut self, error: DecodeError) -> Error {
        let recoverable = error.is_recoverable();
        let truncated = matches!(self.state, State::Draining)
            && matches!(error.kind(), DecodeErrorKind::Truncated { .. });
        let error = if truncated && !recoverable {
            Error::new(Operation::Recv, ErrorKind::Broken(Break::Truncated))
                .with_delivery(Delivery::MaybeSent)
                .with_source(error)
        } else {
            Error::from_decode(error)
        };
        let error = error.with_peer(self.peer_addr().cloned());
        if recoverable {
            return error;
        }
        let error = error.with_unsent_frames(self.outbound.unsent_frames());
        self.state = State::Failed(error.clone());
        error
    }
}

impl<S: ByteStream, C: Codec<Item: Send>> TransportRecv<C::Item> for MessageReceiver<S, C> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<C::Item>, Error>> {
        let polled = self.poll_in_turn(cx);
        self.forget_descriptors();
        polled
    }

    fn peer(&self) -> Option<Address> {
        self.peer_addr().cloned()
    }

    fn try_recv(&mut self) -> Result<Option<C::Item>, TryRecvError> {
        // A try is short: it needs no turn but its own.
        self.burst_bytes = 0;
        let polled = self.poll_message(&mut Context::from_waker(std::task::Waker::noop()));
        self.forget_descriptors();
        match polled {
            Poll::Pending => Err(TryRecvError::Empty),
            Poll::Ready(result) => result.map_err(TryRecvError::Failed),
        }
    }

    fn ends_with(&self, _: &Error) -> bool {
        matches!(self.state, State::Failed(_))
    }

    fn unsent_frames(&self) -> usize {
        self.outbound.unsent_frames()
    }
}

impl<S: ByteStream, C: Codec> Drop for MessageReceiver<S, C> {
    fn drop(&mut self) {
        if let Some(reading) = self.reading.take() {
            self.outbound.receiver_dropped(reading);
        }
    }
}

impl<S: ByteStream, C: Codec> fmt::Debug for MessageReceiver<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReceiver")
            .field("peer", &self.peer_addr())
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}
