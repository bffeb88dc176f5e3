//! What the halves ask of the sending side.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use bowline_backend::stream::ByteStream;

use super::{Outbound, Phase};
use crate::error::{Delivery, Error, ErrorKind, Operation};

impl<S: ByteStream> Outbound<S> {
    /// Whether the stream took less than it was given: there is something to write once it can.
    pub(in crate::message_stream) fn is_blocked(&self) -> bool {
        self.unflushed.load(Relaxed)
    }

    /// Bytes queued and not written.
    pub(in crate::message_stream) fn unsent(&self) -> usize {
        self.lock().unsent()
    }

    /// Frames queued and not wholly written.
    pub(in crate::message_stream) fn unsent_frames(&self) -> usize {
        self.lock().unsent_frames()
    }

    /// Whether a frame may be queued: not after the side was ended, broken or closed.
    pub(in crate::message_stream) fn check_open(&self, operation: Operation) -> Result<(), Error> {
        self.has_room(operation, usize::MAX).map(|_| ())
    }

    /// Whether less than `limit` bytes are queued, where a frame may be queued at all.
    pub(in crate::message_stream) fn has_room(
        &self,
        operation: Operation,
        limit: usize,
    ) -> Result<bool, Error> {
        let state = self.lock();
        match &state.phase {
            Phase::Open => Ok(state.unsent() < limit),
            Phase::Broken(how, source) => {
                // The message asked about was not queued, whatever became of those before it.
                let error = self.broken(operation, *how, source, state.unsent_frames());
                Err(error.with_delivery(Delivery::NotSent))
            }
            Phase::Ending | Phase::Ended | Phase::Closed => Err(self.closed(operation)),
        }
    }

    /// Whether all is written.
    pub(in crate::message_stream) fn check_flushed(
        &self,
        operation: Operation,
    ) -> Poll<Result<(), Error>> {
        let state = self.lock();
        match &state.phase {
            Phase::Open | Phase::Ending if self.has_work(&state) => Poll::Pending,
            Phase::Open | Phase::Ending | Phase::Ended => Poll::Ready(Ok(())),
            Phase::Broken(how, source) => {
                let error = self.broken(operation, *how, source, state.unsent_frames());
                Poll::Ready(Err(error))
            }
            Phase::Closed => Poll::Ready(Err(self.closed(operation))),
        }
    }

    /// Whether all is written and the side ended.
    pub(in crate::message_stream) fn check_ended(
        &self,
        operation: Operation,
    ) -> Poll<Result<(), Error>> {
        if matches!(self.lock().phase, Phase::Ending) {
            return Poll::Pending;
        }
        self.check_flushed(operation)
    }

    pub(in crate::message_stream) fn is_closed(&self) -> bool {
        matches!(self.lock().phase, Phase::Closed)
    }

    pub(in crate::message_stream) fn closed(&self, operation: Operation) -> Error {
        Error::new(operation, ErrorKind::Closed)
            .with_peer(self.setup.attributes.peer_addr().cloned())
    }

    pub(super) fn broken(
        &self,
        operation: Operation,
        how: ErrorKind,
        source: &Arc<io::Error>,
        unsent_frames: usize,
    ) -> Error {
        Error::new(operation, how)
            .with_source(source.clone())
            .with_peer(self.setup.attributes.peer_addr().cloned())
            .with_delivery(Delivery::MaybeSent)
            .with_unsent_frames(unsent_frames)
    }
}
