//! Connecting again: when, and how often.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use bowline_concurrency::{Backoff, now, sleep, timeout};
use bowline_transport::{
    Client, ClientState, Error, ErrorKind, Operation, Transport, TryRecvError, TrySendError,
};
use futures_util::FutureExt;
use futures_util::future::join;

use crate::reconnecting::{MS, Peers, SECOND, connected, plain};
use crate::{Dialled, Text, in_sim, text};

pub(crate) fn refused() -> Error {
    Error::new(Operation::Connect, ErrorKind::Refused)
}

/// A client in memory: each dial is answered by `dial`, by its number from one. Answers when each
/// was, in milliseconds from the beginning.
pub(crate) fn dialled(
    dial: impl Fn(usize) -> Dialled + Send + Sync + 'static,
) -> (Text, Arc<Mutex<Vec<u128>>>) {
    slow(move |number| Some(dial(number)))
}

/// As `dialled`, but that a dial without an answer never ends.
fn slow(
    dial: impl Fn(usize) -> Option<Dialled> + Send + Sync + 'static,
) -> (Text, Arc<Mutex<Vec<u128>>>) {
    let (times, begun) = (Arc::new(Mutex::new(Vec::new())), now());
    let noted = times.clone();
    let client = Client::with_dial(move || {
        let number = {
            let mut noted = noted.lock().unwrap();
            noted.push((now() - begun).as_millis());
            noted.len()
        };
        let made = dial(number);
        async move {
            match made {
                Some(made) => made,
                None => std::future::pending().await,
            }
        }
    });
    (client, times)
}

// CL2
#[test]
fn pauses_follow_the_backoff_until_it_gives_up() {
    in_sim(1, async {
        let (client, times) = dialled(|_| Err(refused()));
        let client = client
            .reconnect(plain(100 * MS).max(SECOND))
            .reconnect_attempts(7);
        let error = client.connect().await.unwrap_err();
        assert_eq!(*times.lock().unwrap(), [0, 100, 300, 700, 1500, 2500, 3500]);
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        let cause = error.source().unwrap().downcast_ref::<Error>().unwrap();
        assert_eq!(cause.kind(), ErrorKind::Refused);
        assert!(!error.is_retryable(), "a loop around it would spin");
        assert_eq!(*client.state().latest(), ClientState::Closed);
        // It stays so.
        let again = client.send(&text(1)).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::NotConnected);
        let again = client.recv().await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::NotConnected);
        assert_eq!(times.lock().unwrap().len(), 7);
        client.close().await.unwrap();
        assert_eq!(client.recv().await.unwrap_err().kind(), ErrorKind::Closed);
    });
}

// CL2
#[test]
fn a_try_makes_no_connection() {
    in_sim(1, async {
        let peers = Peers::default();
        let met = peers.clone();
        let (client, times) = dialled(move |_| connected(&met));
        let client = client.reconnect(plain(100 * MS)).reconnect_attempts(1);
        for _ in 0..5 {
            let tried = client.try_send(&text(1));
            assert!(matches!(tried, Err(TrySendError::Full)), "{tried:?}");
            let tried = client.try_recv();
            assert!(matches!(tried, Err(TryRecvError::Empty)), "{tried:?}");
        }
        assert!(times.lock().unwrap().is_empty());
        assert_eq!(*client.state().latest(), ClientState::Idle);
        client.connect().await.unwrap();
        client.try_send(&text(2)).unwrap();
        assert_eq!(times.lock().unwrap().len(), 1);
        let mut peer = peers.lock().unwrap().pop().unwrap();
        assert_eq!(peer.recv().await.unwrap(), Some(text(2)));
    });
}

// CL2
#[test]
fn jitter_spreads_pauses_within_their_bounds() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        in_sim(seed, async {
            let (client, times) = dialled(|_| Err(refused()));
            let backoff = Backoff::exponential(100 * MS).max(SECOND);
            let client = client.reconnect(backoff).reconnect_attempts(6);
            client.connect().await.unwrap_err();
            let times = times.lock().unwrap();
            for (n, pair) in times.windows(2).enumerate() {
                let bound = backoff.bound(n + 1).as_millis();
                assert!(pair[1] - pair[0] <= bound + 1, "{n}: {times:?}");
                seen.insert((n, (pair[1] - pair[0]) * 4 / bound));
            }
        });
    }
    // Every pause falls into each quarter of its bound, in some world.
    for n in 0..5 {
        let quarters = (0..4)
            .filter(|quarter| seen.contains(&(n, *quarter)))
            .count();
        assert_eq!(quarters, 4, "pause {n}: {seen:?}");
    }
}

// CL2
#[test]
fn all_of_it_takes_no_longer_than_it_may() {
    in_sim(2, async {
        let (client, times) = dialled(|_| Err(refused()));
        let client = client
            .reconnect(plain(SECOND).factor(1))
            .reconnect_overall(4 * SECOND);
        let begun = now();
        client.connect().await.unwrap_err();
        // A pause that would end behind the limit is not begun.
        assert_eq!(*times.lock().unwrap(), [0, 1000, 2000, 3000]);
        assert_eq!(now() - begun, 3 * SECOND);

        // An attempt that hangs is cut there.
        let hanging: Text = Client::with_dial(std::future::pending);
        let hanging = hanging
            .reconnect(plain(SECOND))
            .reconnect_overall(4 * SECOND);
        let begun = now();
        let error = hanging.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert_eq!(now() - begun, 4 * SECOND);
    });
}

// CL2, CL3
#[test]
fn an_attempt_that_is_given_up_keeps_its_pause_and_costs_no_other() {
    in_sim(3, async {
        let peers = Peers::default();
        let other = peers.clone();
        let (client, times) = slow(move |n| match n {
            1..=3 => None,
            6 => Some(connected(&other)),
            _ => Some(Err(refused())),
        });
        let client = client.reconnect(plain(100 * MS));
        let client = client.reconnect_attempts(3).reconnect_overall(5 * SECOND);
        for _ in 0..7 {
            timeout(30 * MS, client.recv()).await.unwrap_err();
        }
        assert_eq!(*times.lock().unwrap(), [0, 100, 200]);
        assert_eq!(*client.state().latest(), ClientState::Idle);
        // Longer than all of it may take: it has not begun yet.
        sleep(10 * SECOND).await;
        client.connect().await.unwrap();
        assert_eq!(times.lock().unwrap()[3..], [10_210, 10_310, 10_510]);

        // Between others that fail it has the pause of those.
        let (client, times) = slow(|n| (n != 3).then(|| Err(refused())));
        let client = client.reconnect(plain(100 * MS)).reconnect_attempts(4);
        timeout(310 * MS, client.connect()).await.unwrap_err();
        assert_eq!(*times.lock().unwrap(), [0, 100, 300]);
        let error = client.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert_eq!(times.lock().unwrap()[3..], [500, 900]);
    });
}

// CL2
#[test]
fn a_good_connection_begins_the_count_again() {
    in_sim(3, async {
        let peers = Peers::default();
        let other = peers.clone();
        let (client, times) = dialled(move |n| match n {
            2 | 5 | 7 => connected(&other),
            _ => Err(refused()),
        });
        let client = client.reconnect(plain(SECOND));
        let mut state = client.state();
        client.connect().await.unwrap(); // 0, 1
        sleep(9 * SECOND).await;
        peers.lock().unwrap().clear(); // a break at 10, after 9
        client.recv().await.unwrap_err();
        let until = now() + 2 * SECOND;
        let mut waiting = pin!(client.connect());
        assert!((&mut waiting).now_or_never().is_none());
        assert_eq!(*state.changed().await.unwrap(), ClientState::Waiting(until));
        waiting.await.unwrap(); // 12, 16, 24
        assert_eq!(*times.lock().unwrap(), [0, 1000, 12_000, 16_000, 24_000]);
        sleep(10 * SECOND).await;
        peers.lock().unwrap().clear(); // a break at 34, after 10
        client.recv().await.unwrap_err();
        client.connect().await.unwrap(); // 35, 37
        assert_eq!(times.lock().unwrap()[5..], [35_000, 37_000]);
        assert_eq!(*state.changed().await.unwrap(), ClientState::Ready);
    });
}

// CL2, CL4
#[test]
fn calls_that_are_given_up_back_off() {
    in_sim(5, async {
        let peers = Peers::default();
        let other = peers.clone();
        let (client, times) = dialled(move |_| connected(&other));
        let client = client.reconnect(plain(SECOND).max(4 * SECOND));
        let asked = text("?");
        let begun = now();
        while now() - begun < 20 * SECOND {
            timeout(100 * MS, client.call(&asked)).await.unwrap_err();
        }
        let before = [0, 100, 1100, 3100, 7100, 11_100, 15_100, 19_100];
        assert_eq!(*times.lock().unwrap(), before);
        // One that lasted for 10 s begins the count again.
        sleep(10 * SECOND).await;
        client.connect().await.unwrap(); // the pause is over
        let begun = times.lock().unwrap()[8];
        sleep(10 * SECOND).await;
        for _ in 0..3 {
            timeout(100 * MS, client.call(&asked)).await.unwrap_err();
        }
        let late = begun + 10_100;
        assert_eq!(times.lock().unwrap()[9..], [late]);
        client.connect().await.unwrap();
        assert_eq!(times.lock().unwrap()[10..], [late + 1000]);
    });
}

// CL2, CL4
#[test]
fn a_late_reply_does_not_count_against_who_answers() {
    in_sim(6, async {
        let peers = Peers::default();
        let other = peers.clone();
        let (client, times) = dialled(move |_| connected(&other));
        let client = client.reconnect(plain(SECOND)).reconnect_attempts(3);
        let client = client.reconnect_overall(10 * SECOND);
        let asked = text("?");
        for round in 0..200 {
            let answer = async {
                let mut peer = peers.lock().unwrap().pop().expect("it is made at once");
                peer.recv().await.unwrap();
                peer.send(&text(round)).await.unwrap();
                peer.flush().await.unwrap();
                peer
            };
            let (reply, _peer) = join(client.call(&asked), answer).await;
            assert_eq!(reply.unwrap(), text(round));
            timeout(100 * MS, client.call(&asked)).await.unwrap_err();
        }
        let each: Vec<_> = (0..200).map(|round| round * 100).collect();
        assert_eq!(*times.lock().unwrap(), each);
        // One that has become silent is given up, as before.
        let error = loop {
            if let Ok(called) = timeout(100 * MS, client.call(&asked)).await {
                break called.unwrap_err();
            }
        };
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert_eq!(times.lock().unwrap()[200..], [20_000, 20_100, 21_100]);
    });
}

// CL2
#[test]
fn every_step_is_shown() {
    in_sim(4, async {
        let peers = Peers::default();
        let other = peers.clone();
        let (client, _) = dialled(move |n| match n {
            1 => Err(refused()),
            _ => connected(&other),
        });
        let client = client.reconnect(plain(SECOND));
        let mut state = client.state();
        let begun = now();
        let seen = Mutex::new(Vec::new());
        let watch = async {
            while let Ok(state) = state.changed().await {
                seen.lock().unwrap().push(*state);
                if *state == ClientState::Closed {
                    return;
                }
            }
        };
        let live = async {
            client.connect().await.unwrap();
            sleep(MS).await;
            peers.lock().unwrap().clear();
            client.recv().await.unwrap_err();
            sleep(MS).await;
            client.close().await.unwrap();
        };
        join(watch, live).await;
        use ClientState::{Closed, Connecting, Idle, Ready, Waiting};
        // What changes within one poll is not seen.
        let waited = Waiting(begun + SECOND);
        assert_eq!(*seen.lock().unwrap(), [waited, Ready, Idle, Closed]);
        assert_eq!(Connecting(1), Connecting(1));
    });
}
