//! The tasks that connect, and connect again.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_backend::net::TcpStream;
use bowline_backend::time;
use bowline_channel::{OneshotReceiver, OneshotSender, oneshot};
use bowline_concurrency::{sleep, timeout};

use super::link::{Place, drive};
use super::listen::full_jitter;
use super::routes::{NoRoom, Origin};
use super::{Endpoint, Shared};
use crate::proto::Side;
use crate::{Error, ErrorKind};

/// The first pause between two attempts; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long an attempt to connect to an endpoint takes at most, and starting waits for the first.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses of one endpoint that share it; more take longer.
const MAX_SHARES: usize = 5;
/// A connection that lasted so long makes the pauses short again.
const HEALTHY: Duration = Duration::from_secs(30);

/// What is known of the first connection to an endpoint, for the one who waits for it.
pub(super) struct Attempt {
    state: Mutex<State>,
}

struct State {
    /// Told once: of the connection, or of a failure that lasts.
    waiting: Option<OneshotSender<Result<(), Error>>>,
    /// The last failure that may pass.
    last: Option<Error>,
}

impl Attempt {
    pub(super) fn new() -> (Arc<Self>, OneshotReceiver<Result<(), Error>>) {
        let (sender, receiver) = oneshot();
        (
            Arc::new(Self {
                state: Mutex::new(State {
                    waiting: Some(sender),
                    last: None,
                }),
            }),
            receiver,
        )
    }

    /// The peer's methods are known.
    pub(super) fn connected(&self) {
        self.tell(Ok(()));
    }

    /// The last failure, if there was one.
    pub(super) fn last_failure(&self) -> Option<Error> {
        self.state().last.take()
    }

    fn failed_for_good(&self, error: Error) {
        self.tell(Err(error));
    }

    fn failed(&self, error: Error) {
        let former = self.state().last.replace(error);
        drop(former);
    }

    fn tell(&self, outcome: Result<(), Error>) {
        let waiting = self.state().waiting.take();
        if let Some(sender) = waiting {
            let _ = sender.send(outcome);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one connection to `endpoint` up. Gives up where connecting again would end the same way.
pub(super) async fn dial(shared: Arc<Shared>, endpoint: Endpoint, attempt: Arc<Attempt>) {
    let mut pause = FIRST_PAUSE;
    loop {
        if shared.routes.is_closing() {
            return attempt.failed_for_good(Error::cancelled());
        }
        let began = time::now();
        match connect(&endpoint).await {
            Ok(stream) => {
                shared.counters.dialed.add(1);
                match Place::new(&shared, Origin::Dialed) {
                    Ok(place) => {
                        let cause = drive(place, stream, Side::Dialer, Some(attempt.clone())).await;
                        let permanent = cause.is_permanent();
                        let error = Error::connection(&endpoint, shared.config.project(), cause);
                        if permanent {
                            return attempt.failed_for_good(error);
                        }
                        attempt.failed(error);
                    }
                    Err(NoRoom::Closed) => return attempt.failed_for_good(Error::cancelled()),
                    Err(NoRoom::Full | NoRoom::Handshakes) => attempt.failed(Error::new(
                        ErrorKind::Transport,
                        "the broker has too many connections",
                    )),
                }
            }
            // No name to ask for again.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                return attempt.failed_for_good(error);
            }
            Err(error) => attempt.failed(error),
        }
        if time::now().saturating_duration_since(began) >= HEALTHY {
            pause = FIRST_PAUSE;
        }
        sleep(full_jitter(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One connection to the first address of `endpoint` that takes it.
async fn connect(endpoint: &Endpoint) -> Result<TcpStream, Error> {
    let addresses = endpoint.addresses().await?;
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
