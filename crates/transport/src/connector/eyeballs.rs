//! Happy Eyeballs (RFC 8305): attempts that start one after the other and go on side by side.

use std::mem;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bowline_backend::net::{TcpOptions, TcpStream};
use bowline_concurrency::sync::Event;
use bowline_concurrency::{race, timeout};

use crate::error::{Attempt, Error, Operation};

/// The attempts that failed, in the order in which they did.
pub(super) type Failed = Mutex<Vec<Attempt>>;

/// The families by turns, IPv6 first; each keeps its order.
pub(crate) fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut ordered = Vec::with_capacity(v6.len() + v4.len());
    loop {
        let before = ordered.len();
        ordered.extend(v6.next());
        ordered.extend(v4.next());
        if ordered.len() == before {
            return ordered;
        }
    }
}

/// The first connection to any of `addresses`, from `local` if given; `race` drops the other attempts
/// before it returns.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    local: Option<SocketAddr>,
    options: &TcpOptions,
    head_start: Duration,
    failed: &Failed,
) -> Result<TcpStream, Error> {
    let options = &match local {
        Some(local) => options.clone().local(local),
        None => options.clone(),
    };
    let over: Vec<Event> = addresses.iter().map(|_| Event::new()).collect();
    let attempts = addresses.iter().enumerate().map(|(n, address)| {
        let over = &over;
        async move {
            for earlier in &over[..n] {
                // Either way it is the turn of the next.
                let _ = timeout(head_start, earlier.wait()).await;
            }
            let attempt = TcpStream::connect_with(*address, options.clone()).await;
            attempt.map_err(|error| {
                let attempt = Attempt::new(*address, error);
                failed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(attempt);
                over[n].set();
            })
        }
    });
    let connected = race(attempts).await;
    connected.map_err(|_| Error::of_attempts(Operation::Connect, taken(failed), local))
}

pub(super) fn taken(failed: &Failed) -> Vec<Attempt> {
    mem::take(&mut *failed.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::in_turns;
    use std::net::SocketAddr;

    #[test]
    fn families_take_turns_and_keep_their_order() {
        let parse = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let found = ["1.1.1.1:1", "1.1.1.2:1", "[::1]:1", "1.1.1.3:1", "[::2]:1"];
        let ordered = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "1.1.1.3:1"];
        assert_eq!(in_turns(parse(&found)), parse(&ordered));
        assert_eq!(in_turns(Vec::new()), Vec::new());
    }
}
