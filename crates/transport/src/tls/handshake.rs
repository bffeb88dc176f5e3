use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bowline_backend::stream::{Address, ByteStream};
use bowline_concurrency::timeout;
use rustls::Connection;

use super::exporter::{KeyExporter, TlsExporter};
use super::failure;
use super::info::{TlsDetails, TlsInfo};
use super::manner::{CloseMode, Manner};
use super::session::{Session, Stage};
use super::stream::{Fetched, TlsStream};
use super::verify::Refused;
use crate::attribute::{AttributeRequest, Attributes, Extra};
use crate::error::{Error, ErrorKind, Operation, TimeLimit, TlsFailure};
use crate::span::{OperationSpan, Outcome};

/// How long a peer that was refused has to read why.
const LINGER: Duration = Duration::from_secs(1);

/// Most bytes of a refused peer that are read, so that it can read why.
const MOST_DISCARDED: usize = 64 * 1024;

/// A stream that is about to become secure: awaited, it is a [`TlsStream`].
///
/// # Errors
///
/// [`Tls`](ErrorKind::Tls), which says whose fault it is, the source having the words of rustls.
/// The peer is told by an alert, and given a second to read it. Errors of the stream below are
/// themselves.
///
/// # Cancel safety
///
/// Dropped, it closes the stream.
#[must_use = "there is no handshake until this is awaited"]
pub struct TlsHandshake<S: ByteStream> {
    stream: TlsStream<S>,
    attributes: Attributes,
    timeout: Duration,
}

impl<S: ByteStream + Extra> TlsHandshake<S> {
    pub(super) fn new(stream: S, tls: Connection, manner: &Manner) -> Self {
        let attributes = Attributes::of_stream(&stream);
        let (reading, writing) = stream.into_split();
        let session = Session::new(tls, writing, manner);
        TlsHandshake {
            stream: TlsStream::new(session, reading, attributes.clone()),
            attributes,
            timeout: manner.handshake_timeout,
        }
    }
}

impl<S: ByteStream> TlsHandshake<S> {
    /// Who is at the other end, where the stream below could say.
    pub fn peer_addr(&self) -> Option<&Address> {
        self.attributes.peer_addr()
    }

    /// Waits until the peer has said something, or never will.
    pub(crate) async fn heard(&mut self) -> Result<(), Error> {
        let fetched = poll_fn(|cx| self.stream.reader().poll_fetch(cx)).await;
        let heard = fetched.map_err(|error| Error::from_io(Operation::Handshake, error));
        heard
            .map(drop)
            .map_err(|error| error.with_peer(self.peer_addr().cloned()))
    }

    /// Gives the connection up, without a word of TLS.
    pub(crate) fn abort(self) {
        self.stream.abort();
    }

    async fn run(self) -> Result<TlsStream<S>, Error> {
        let span = OperationSpan::new(Operation::Handshake, || self.peer_addr().cloned());
        span.around(self.shake()).await
    }

    async fn shake(mut self) -> Result<TlsStream<S>, Error> {
        let peer = self.peer_addr().cloned();
        let mut begun = false;
        let shaken = poll_fn(|cx| poll_handshake(&mut self.stream, &mut begun, cx));
        let shaken = timeout(self.timeout, shaken).await.unwrap_or_else(|_| {
            let kind = ErrorKind::Tls(TlsFailure::Timeout);
            Err(Error::new(Operation::Handshake, kind)
                .with_source(TimeLimit::new("the handshake was not done", self.timeout)))
        });
        if let Err(error) = shaken {
            if matches!(error.kind(), ErrorKind::Tls(how) if how != TlsFailure::Timeout) {
                // A stream that is closed with bytes unread may take the alert with it.
                let _ = timeout(LINGER, linger(&mut self.stream)).await;
            }
            return Err(error.with_peer(peer));
        }
        let session = self.stream.session();
        let known = Secured {
            below: &self.attributes,
            details: Arc::new(session.details()),
            exporter: KeyExporter::of(session),
        };
        self.stream.set_attributes(Attributes::of(&known));
        Ok(self.stream)
    }
}

impl<S: ByteStream> Outcome for TlsStream<S> {}

/// What is known of the stream below, and what the handshake came to.
struct Secured<'a> {
    below: &'a Attributes,
    details: Arc<TlsDetails>,
    exporter: KeyExporter,
}

impl Extra for Secured<'_> {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        request.give::<TlsInfo>(|| Some(self.details.clone()));
        request.give::<TlsExporter>(|| Some(self.exporter.clone()));
        self.below.provide(request);
    }
}

fn poll_handshake<S: ByteStream>(
    stream: &mut TlsStream<S>,
    begun: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Error>> {
    loop {
        // Writes what there is, also where it waits for the peer.
        let flushed = stream.session().poll_flush(cx);
        match stream.session().handshake_stage()? {
            Stage::Done => return Poll::Ready(Ok(())),
            Stage::Writes => {
                if flushed.is_pending() {
                    return Poll::Pending;
                }
            }
            Stage::Reads => {
                let fetched = ready!(stream.reader().poll_fetch(cx));
                match fetched.map_err(|error| Error::from_io(Operation::Handshake, error))? {
                    Fetched::End => return Poll::Ready(Err(failure::truncated_handshake())),
                    Fetched::Records(first) if !*begun && !failure::begins_record(first) => {
                        // TLS makes the alert.
                        let _ = stream.reader().digest();
                        return Poll::Ready(Err(failure::plaintext()));
                    }
                    Fetched::Records(_) => *begun = true,
                }
                let digested = stream.reader().digest();
                digested.map_err(|error| failure::of_handshake(error, Refused::take()))?;
            }
        }
    }
}

/// Ends our side after the alert, and reads until the peer ends its own.
async fn linger<S: ByteStream>(stream: &mut TlsStream<S>) {
    stream.session().end(CloseMode::Lenient);
    let mut discarded = 0;
    poll_fn(|cx| {
        let ended = stream.session().poll_ended(cx);
        while discarded < MOST_DISCARDED {
            discarded += stream.reader().discard();
            match ready!(stream.reader().poll_fetch(cx)) {
                Ok(Fetched::Records(_)) => {}
                Ok(Fetched::End) | Err(_) => break,
            }
        }
        ended.map(drop)
    })
    .await;
}

impl<S: ByteStream> IntoFuture for TlsHandshake<S> {
    type Output = Result<TlsStream<S>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<S: ByteStream> fmt::Debug for TlsHandshake<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsHandshake")
            .field("peer", &self.peer_addr())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStream, TlsClientConfig};

    #[test]
    fn nothing_is_derived_before_the_handshake_is_done() {
        let client = TlsClientConfig::builder().danger_skip_verification();
        let client = client.build().unwrap();
        let (here, _there) = MemoryStream::pair();
        let handshake = client.handshake(here, "bowline.test").unwrap();
        let mut output = [7; 32];
        let early = handshake
            .stream
            .export_keying_material(b"EXPORTER-early", None, &mut output)
            .unwrap_err();
        assert_eq!(early.kind(), ErrorKind::NotConnected);
        assert!(std::error::Error::source(&early).is_some());
        assert_eq!(output, [7; 32]);
    }
}
