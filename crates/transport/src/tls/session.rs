//! What both halves of a secure stream share: the state of TLS, and the way out.

mod phase;

use std::io::{self, BufRead, IoSlice, Write};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bowline_backend::stream::{ByteStream, ByteWriter};
use bytes::{Buf, BytesMut};
use futures_io::AsyncWrite;
use rustls::{Connection, ProtocolVersion};

use phase::{Phase, again};

use super::failure::{self, Accepted};
use super::info::TlsDetails;
use super::manner::{CloseMode, Manner};
use super::records;
use crate::error::{Error, Operation};
use crate::half_wakers::{Half, HalfWakers};

/// Most plain bytes that are taken before the records made of them are written: four records.
const MOST_TAKEN: usize = 64 * 1024;

/// The state of TLS, and what it has to write.
///
/// Either half may have something to write: the reader answers alerts, key updates and the
/// handshake. So both drive the way out, and neither waits for the other.
///
/// Invariants:
/// 1. The stream below is polled outside of the lock: `writing` is absent while one half writes.
///    Who finds it absent sets `again`, and who has it then goes round once more.
/// 2. Records leave in the order in which TLS made them: they are taken from it only by who has
///    `writing`, into `records`, which is written to its end first.
/// 3. Plain bytes are taken only when all records before were written; so what waits is bounded by
///    [`MOST_TAKEN`], the answers of TLS itself, and the overhead of the records.
/// 4. The stream below is written with `write_waker` alone, which wakes both halves; a half stores
///    its waker before it drives and looks, so no change is missed.
/// 5. Reading never waits for writing.
/// 6. A stream that panics in a write has failed, and both halves are woken.
pub(super) struct Session<S: ByteStream> {
    state: Mutex<State<S>>,
    wakers: Arc<HalfWakers>,
    write_waker: Waker,
    close: CloseMode,
    close_timeout: Duration,
}

struct State<S: ByteStream> {
    tls: Connection,
    writing: Option<Writing<S::WriteHalf>>,
    again: bool,
    /// Records were made that are not written, or written and not flushed.
    unflushed: bool,
    /// Bytes that the stream below took, and what it passed on of others itself.
    passed_on: u64,
    phase: Phase,
    /// The peer said that it is done.
    peer_ended: bool,
    /// Plain bytes of the peer's came.
    heard: bool,
    /// All that is left to write is our own word that we are done.
    only_goodbye: bool,
}

struct Writing<W> {
    half: W,
    records: BytesMut,
    /// Bytes of records that the half took.
    taken: u64,
}

impl<S: ByteStream> Session<S> {
    pub(super) fn new(mut tls: Connection, half: S::WriteHalf, manner: &Manner) -> Self {
        tls.set_buffer_limit(Some(MOST_TAKEN));
        let wakers = Arc::new(HalfWakers::default());
        Session {
            state: Mutex::new(State {
                tls,
                writing: Some(Writing {
                    half,
                    records: BytesMut::new(),
                    taken: 0,
                }),
                again: false,
                unflushed: false,
                passed_on: 0,
                phase: Phase::Open,
                peer_ended: false,
                heard: false,
                only_goodbye: false,
            }),
            write_waker: Waker::from(wakers.clone()),
            wakers,
            close: manner.close,
            close_timeout: manner.close_timeout,
        }
    }

    pub(super) fn close_mode(&self) -> CloseMode {
        self.close
    }

    pub(super) fn close_timeout(&self) -> Duration {
        self.close_timeout
    }

    /// Gives up what is not written.
    pub(super) fn fail(&self, error: io::Error) {
        self.lock().phase.becomes(Phase::Failed(Arc::new(error)));
    }

    /// Writes what can be written without waiting, for a half that will wait with `cx`.
    pub(super) fn drive_and_wait(&self, half: Half, cx: &mut Context<'_>) {
        self.wakers.store(half, cx.waker());
        self.drive(half);
    }

    /// Writes what can be written without waiting.
    pub(super) fn drive(&self, half: Half) {
        loop {
            let mut state = self.lock();
            match state.phase {
                Phase::Open if !state.unflushed && !state.has_records() => return,
                Phase::Open | Phase::Ending => {}
                Phase::Ended | Phase::Failed(_) | Phase::Released => return,
            }
            let ending = matches!(state.phase, Phase::Ending);
            let Some(mut writing) = state.writing.take() else {
                state.again = true;
                return;
            };
            if writing.records.is_empty() {
                writing.records = records::take(0);
            }
            state.take_records(&mut writing.records);
            state.unflushed = true;
            drop(state);
            let written = catch_unwind(AssertUnwindSafe(|| {
                let written = self.write(&mut writing, ending);
                (written, writing.taken + writing.half.passed_on())
            }));
            let (written, passed_on) = written.unwrap_or_else(|panic| {
                let error = io::Error::other("the byte stream panicked in a write");
                self.lock().phase.becomes(Phase::Failed(Arc::new(error)));
                self.write_waker.wake_by_ref();
                resume_unwind(panic)
            });

            let mut state = self.lock();
            state.passed_on = passed_on;
            let again = mem::take(&mut state.again);
            let more = match &written {
                Poll::Pending => again,
                Poll::Ready(Ok(())) => {
                    state.unflushed = false;
                    if ending {
                        state.phase.becomes(Phase::Ended);
                    }
                    // What came up while this wrote: records, or the wish to end.
                    matches!(state.phase, Phase::Open | Phase::Ending)
                        && (state.has_records() || matches!(state.phase, Phase::Ending))
                }
                Poll::Ready(Err(_)) => false,
            };
            let changed = written.is_ready();
            if let Poll::Ready(Err(error)) = written {
                // Who is done may be gone: it need not hear that we are.
                let unheard = state.peer_ended && state.only_goodbye;
                state.phase.becomes(match unheard {
                    true => Phase::Ended,
                    false => Phase::Failed(Arc::new(error)),
                });
            }
            let over = match state.phase {
                Phase::Released => Some(writing),
                _ => state.writing.replace(writing),
            };
            drop(state);
            drop(over);
            if changed && half == Half::Receiver {
                self.wakers.wake_sender();
            }
            if !more {
                return;
            }
        }
    }

    /// Writes all of `records`, flushes, and ends the side if it is `ending`.
    fn write(&self, writing: &mut Writing<S::WriteHalf>, ending: bool) -> Poll<io::Result<()>> {
        let mut cx = Context::from_waker(&self.write_waker);
        let Writing {
            half,
            records,
            taken,
        } = writing;
        while !records.is_empty() {
            match ready!(Pin::new(&mut *half).poll_write(&mut cx, records))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    records.advance(count);
                    *taken += count as u64;
                }
            }
        }
        // A stream that waits holds no buffer.
        records::give_back(mem::take(records));
        ready!(Pin::new(&mut *half).poll_flush(&mut cx))?;
        match ending {
            true => Pin::new(half).poll_close(&mut cx),
            false => Poll::Ready(Ok(())),
        }
    }

    /// Takes plain bytes, all or some, once those before are written.
    pub(super) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.drive_and_wait(Half::Sender, cx);
        let mut state = self.lock();
        match &state.phase {
            Phase::Open => {}
            Phase::Failed(error) => return Poll::Ready(Err(again(error))),
            Phase::Ending | Phase::Ended | Phase::Released => {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
        }
        if state.peer_ended && !state.may_end_alone() {
            return Poll::Ready(Err(failure::to_io(&failure::ended())));
        }
        if state.unflushed || state.has_records() {
            return Poll::Pending;
        }
        let taken = state.tls.writer().write_vectored(slices);
        drop(state);
        self.drive(Half::Sender);
        Poll::Ready(taken)
    }

    /// Waits until all that was taken has been written.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.drive_and_wait(Half::Sender, cx);
        let state = self.lock();
        match &state.phase {
            Phase::Failed(error) => Poll::Ready(Err(again(error))),
            Phase::Ended | Phase::Released => Poll::Ready(Ok(())),
            Phase::Open | Phase::Ending if state.unflushed || state.has_records() => Poll::Pending,
            Phase::Open | Phase::Ending => Poll::Ready(Ok(())),
        }
    }

    /// Bytes that went out below, whoever drove them there.
    pub(super) fn passed_on(&self) -> u64 {
        self.lock().passed_on
    }

    /// Takes nothing more; the side ends once all is written, with a `close_notify` if that is
    /// how this `close`s.
    pub(super) fn end(&self, close: CloseMode) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Ending;
            state.only_goodbye = !state.unflushed && !state.has_records();
            if close == CloseMode::Strict {
                state.tls.send_close_notify();
            }
        }
    }

    /// Waits until the side has ended.
    pub(super) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.drive_and_wait(Half::Sender, cx);
        match &self.lock().phase {
            Phase::Open | Phase::Ending => Poll::Pending,
            Phase::Ended | Phase::Released => Poll::Ready(Ok(())),
            Phase::Failed(error) => Poll::Ready(Err(again(error))),
        }
    }

    /// Plain bytes that came; `None` where there are none yet, no bytes once the peer said that it
    /// is done.
    pub(super) fn plain(&self, take: &mut dyn FnMut(&[u8]) -> usize) -> Option<usize> {
        let mut state = self.lock();
        let mut reader = state.tls.reader();
        // The one error is that there is nothing: of an end below TLS is never told.
        let chunk = reader.fill_buf().ok()?;
        let taken = if chunk.is_empty() { 0 } else { take(chunk) };
        reader.consume(taken);
        Some(taken)
    }

    /// Hands records of the peer to TLS, until there are plain bytes or none is left.
    pub(super) fn receive(&self, records: &mut BytesMut) -> Result<(), rustls::Error> {
        let mut state = self.lock();
        while !records.is_empty() {
            let mut rest: &[u8] = records;
            let count = match state.tls.read_tls(&mut rest) {
                Ok(count) => count,
                // It holds no more of a handshake message, or of a flight of them.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(rustls::Error::General(error.to_string()));
                }
                Err(_) => return Ok(()), // its buffer of plain bytes is full: they are read first
            };
            records.advance(count);
            let came = state.tls.process_new_packets()?;
            state.peer_ended |= came.peer_has_closed();
            state.heard |= came.plaintext_bytes_to_read() > 0;
            if came.plaintext_bytes_to_read() > 0 || came.peer_has_closed() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What the peer thinks of the handshake, once it is done on our side.
    pub(super) fn accepted(&self) -> Accepted {
        let state = self.lock();
        let waits = matches!(state.tls, Connection::Client(_))
            && state.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        match waits && !state.heard {
            true => Accepted::NotYet,
            false => Accepted::Yes,
        }
    }

    pub(super) fn update_keys(&self) -> io::Result<()> {
        let updated = self.lock().tls.refresh_traffic_keys();
        self.drive(Half::Sender);
        updated.map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))
    }

    /// Whether the handshake is done and its last word written; else who has to do what.
    pub(super) fn handshake_stage(&self) -> Result<Stage, Error> {
        let state = self.lock();
        if let Phase::Failed(error) = &state.phase {
            return Err(Error::from_io(Operation::Handshake, again(error)));
        }
        Ok(match state.tls.is_handshaking() {
            true if state.tls.wants_read() => Stage::Reads,
            false if !state.unflushed && !state.has_records() => Stage::Done,
            _ => Stage::Writes,
        })
    }

    /// Derives bytes of the lengths that TLS allows.
    pub(super) fn export_keying_material(
        &self,
        label: &[u8],
        context: Option<&[u8]>,
        output: &mut [u8],
    ) -> Result<(), rustls::Error> {
        let state = self.lock();
        let derived = state.tls.export_keying_material(output, label, context);
        derived.map(drop)
    }

    pub(super) fn details(&self) -> TlsDetails {
        TlsDetails::of(&self.lock().tls)
    }

    pub(super) fn forget(&self, half: Half) {
        self.wakers.forget(half);
    }

    /// Lets go of the writing half of the stream below; whatever is unwritten is lost. `None` where
    /// the other half writes this moment, which drops it then.
    pub(super) fn release(&self) -> Option<S::WriteHalf> {
        let mut state = self.lock();
        state.phase = Phase::Released;
        state.writing.take().map(|writing| writing.half)
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a handshake waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Reads,
    Writes,
    Done,
}

impl<S: ByteStream> State<S> {
    fn has_records(&self) -> bool {
        self.tls.wants_write()
    }

    /// Whether one side may end while the other goes on: so it is since TLS 1.3 (RFC 8446, 6.1).
    fn may_end_alone(&self) -> bool {
        self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    fn take_records(&mut self, records: &mut BytesMut) {
        while self.tls.wants_write() {
            // A buffer in memory takes everything.
            let _ = self.tls.write_tls(&mut records::Joined(records));
        }
    }
}
