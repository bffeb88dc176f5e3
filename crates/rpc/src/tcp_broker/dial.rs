//! The tasks that connect, and connect again.

#[cfg(feature = "tls")]
use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::net::TcpStream;
#[cfg(unix)]
use bowline_backend::net::UnixStream;
use bowline_backend::time;
use bowline_concurrency::{sleep, timeout};
#[cfg(feature = "tls")]
use bowline_transport::TlsFailure;

use super::attempt::{Attempt, Reach, Trying};
use super::endpoint::Place as At;
use super::link::{Place, drive};
use super::routes::Origin;
use super::wires::{Way, Wire, Wires};
use super::{Endpoint, Shared};
use crate::proto::Side;
use crate::{Error, ErrorKind};

/// How long an attempt to connect to an endpoint takes at most.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses of one endpoint that share it; more take longer.
const MAX_SHARES: usize = 5;
/// A connection that lasted so long makes the pauses short again.
const HEALTHY: Duration = Duration::from_secs(30);
/// So many attempts have the longest pause between them.
const SELDOM: usize = usize::MAX;

/// Keeps one connection to `endpoint` up. Gives up where connecting again would end the same way,
/// unless there was a connection before: what the peer is, it may be again.
pub(super) async fn dial(shared: Arc<Shared>, endpoint: Endpoint, trying: Trying) {
    let failure = keep_up(&shared, &endpoint, &trying.0).await;
    #[cfg(feature = "tracing")]
    if failure.kind() != ErrorKind::Cancelled {
        tracing::warn!(%endpoint, error = %failure, "no more attempts to connect");
    }
    trying.0.give_up(failure);
}

/// Why there is no connection and will be none.
async fn keep_up(shared: &Arc<Shared>, endpoint: &Endpoint, attempt: &Arc<Attempt>) -> Error {
    let mut attempts = 0_usize;
    let mut worked = false;
    let origin = Origin::Dialed(endpoint.to_string().into());
    loop {
        if shared.routes.dials_no_more() {
            return Error::cancelled();
        }
        let began = time::now();
        let permanent;
        let connecting = shared.routes.connecting();
        let connected = connect(&shared.wires, endpoint).await.map(|stream| {
            shared.counters.dialed.add(1);
            (stream, Place::new(shared, origin.clone()))
        });
        drop(connecting);
        let failure = match connected {
            Ok((stream, place)) => match place {
                Ok(place) => {
                    let over = drive(
                        place,
                        stream,
                        (Side::Dialer, time::now()),
                        Some(attempt.clone()),
                    )
                    .await;
                    worked |= matches!(*attempt.reach(), Reach::Connected);
                    let refused = refused(endpoint, over.error);
                    permanent = refused.is_some() || over.cause.is_permanent();
                    refused.unwrap_or_else(|| {
                        Error::connection(endpoint, shared.config.project(), over.cause)
                    })
                }
                // There is always a place but at the end of the broker.
                Err(_) => return Error::cancelled(),
            },
            Err(error) => {
                // No name to ask for again, no certificate to look at again.
                permanent = error.is_final();
                error
            }
        };
        let pause = if permanent && !shared.retry_permanent {
            if !worked {
                return failure;
            }
            #[cfg(feature = "tracing")]
            if attempts != SELDOM {
                tracing::warn!(%endpoint, error = %failure, "refused where it was let in before");
            }
            attempts = SELDOM;
            shared.reconnect.pause(SELDOM)
        } else {
            if time::now().saturating_duration_since(began) >= HEALTHY || attempts == SELDOM {
                attempts = 0;
            }
            attempts = attempts.saturating_add(1);
            shared.reconnect.pause(attempts)
        };
        attempt.failed(failure);
        sleep(pause).await;
    }
}

/// Drives the one connection of a broker, which ends with it.
#[cfg(unix)]
pub(super) async fn keep(shared: Arc<Shared>, stream: UnixStream, side: Side, trying: Trying) {
    if let Ok(place) = Place::new(&shared, Origin::Dialed("the other process".into())) {
        let over = drive(
            place,
            Wire::Unix(stream),
            (side, time::now()),
            Some(trying.0.clone()),
        )
        .await;
        let cause = over.cause;
        let error = Error::connection("the other process", shared.config.project(), cause);
        trying.0.give_up(error);
    }
    let why = "the connection ended";
    shared.ending.by(crate::CloseCause::Broken(why.into()));
    shared.routes.close("");
    shared.group.cancel(why);
}

/// One connection to `endpoint`, to the first of its addresses that takes it.
async fn connect(wires: &Wires, endpoint: &Endpoint) -> Result<Wire, Error> {
    wires.check(endpoint, Way::Out)?;
    let what = || format!("no connection to {endpoint}");
    match &endpoint.0 {
        #[cfg(unix)]
        At::Unix(address) => match timeout(CONNECT_TIMEOUT, UnixStream::connect(address)).await {
            Ok(Ok(stream)) => Ok(Wire::Unix(stream)),
            Ok(Err(error)) => Err(Error::transport(what(), error)),
            Err(late) => Err(Error::with_source(ErrorKind::Transport, what(), late)),
        },
        At::Memory(name) => {
            let network = wires.network.clone().unwrap_or_default();
            match timeout(CONNECT_TIMEOUT, network.connect(name)).await {
                Ok(Ok(stream)) => Ok(Wire::Memory(stream)),
                Ok(Err(error)) => Err(Error::with_source(ErrorKind::Transport, what(), error)),
                Err(late) => Err(Error::with_source(ErrorKind::Transport, what(), late)),
            }
        }
        #[cfg(feature = "tls")]
        At::Secure { host, .. } => {
            let stream = tcp(wires, endpoint).await?;
            let Some(client) = &wires.client else {
                return Err(Error::new(ErrorKind::Unsupported, what()));
            };
            let failed = |error| not_secured(endpoint, error);
            let handshake = client.handshake(stream, host).map_err(failed)?;
            match timeout(CONNECT_TIMEOUT, handshake.into_future()).await {
                Ok(Ok(stream)) => Ok(Wire::Tls(Box::new(stream))),
                Ok(Err(error)) => Err(failed(error)),
                Err(late) => Err(Error::with_source(ErrorKind::Transport, what(), late)),
            }
        }
        _ => Ok(Wire::Tcp(tcp(wires, endpoint).await?)),
    }
}

/// Why there is no TLS with the peer.
#[cfg(feature = "tls")]
fn not_secured(endpoint: &Endpoint, error: bowline_transport::Error) -> Error {
    let kind = match error.kind() {
        // Another attempt would end the same way.
        bowline_transport::ErrorKind::Config => ErrorKind::InvalidInput,
        bowline_transport::ErrorKind::Tls(TlsFailure::Certificate | TlsFailure::Refused) => {
            ErrorKind::Unauthenticated
        }
        _ => ErrorKind::Transport,
    };
    Error::with_source(kind, format_args!("no connection to {endpoint}"), error)
}

/// That the peer refused this side by TLS, if it did: one that asks for a certificate says what it
/// thinks of ours only after our side of its handshake is done.
#[cfg(feature = "tls")]
fn refused(endpoint: &Endpoint, error: Option<io::Error>) -> Option<Error> {
    let operation = bowline_transport::Operation::Handshake;
    let error = bowline_transport::Error::from_io(operation, error?);
    Some(not_secured(endpoint, error)).filter(Error::is_final)
}

#[cfg(not(feature = "tls"))]
fn refused(_: &Endpoint, _: Option<io::Error>) -> Option<Error> {
    None
}

async fn tcp(wires: &Wires, endpoint: &Endpoint) -> Result<TcpStream, Error> {
    let addresses = wires.addresses(endpoint).await?;
    first_that_takes(&addresses, TcpStream::connect)
        .await
        .map_err(|error| Error::transport(format_args!("no connection to {endpoint}"), error))
}

/// Tries one after the other. Those that do not answer get the same share of [`CONNECT_TIMEOUT`]
/// each: the system would wait for minutes.
async fn first_that_takes<T, F>(
    addresses: &[SocketAddr],
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let shares = addresses.len().clamp(1, MAX_SHARES);
    let each = CONNECT_TIMEOUT / shares as u32;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match timeout(each, connect(*address)).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => last = error,
            Err(_) => {
                let message = format!("{address} did not answer within {each:?}");
                last = io::Error::new(io::ErrorKind::TimedOut, message);
            }
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bowline_backend::Backend;
    use bowline_concurrency::Root;

    use super::*;

    #[test]
    fn an_address_that_does_not_answer_is_given_up_for_the_next() {
        Root::new().backend(Backend::Sim).block_on(async {
            let silent = SocketAddr::from(([192, 0, 2, 1], 80));
            let takes = SocketAddr::from(([192, 0, 2, 2], 80));
            let tries = AtomicUsize::new(0);
            let connect = |address| {
                tries.fetch_add(1, Ordering::SeqCst);
                async move {
                    if address == silent {
                        std::future::pending::<()>().await;
                    }
                    Ok(address)
                }
            };
            let began = time::now();
            let addresses = [silent, takes, silent];
            let taken = timeout(CONNECT_TIMEOUT, first_that_takes(&addresses, connect));
            assert_eq!(taken.await.expect("it gives up").unwrap(), takes);
            assert_eq!(tries.load(Ordering::SeqCst), 2);
            let error = first_that_takes(&[silent], connect).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(time::now().saturating_duration_since(began) <= CONNECT_TIMEOUT * 3 / 2);
        });
    }
}
