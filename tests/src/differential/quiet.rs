//! When an operation is known to wait, and when what was sent has arrived.
//!
//! A world is asked by its clock: what has not come after some of its time will not come. On a
//! kernel no time would be long enough on a machine that is busy, so nothing is told from time there
//! but that a test has failed. Everything a script does comes from one thread that stays on one
//! processor, and what that processor has to deliver between sockets of this machine it delivers in
//! the order of its queue: once a datagram to oneself is back, all that was sent before it has
//! arrived. What answered to that is behind it, so this is done for as many answers as there are in a
//! row at most: connecting takes three. Of what can end an operation everything is then known to the
//! kernel, and after one turn of the reactor to the runtime too.
//!
//! Whether it is worth while to wait longer the worlds say, which run first: where the operation ends
//! in none of them, no longer.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::entropy::random_u64;
use bowline_backend::time::{now, sleep_until};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// Answers in a row, and one more.
const ROUNDS: usize = 4;
/// In a world: far more than packets take, far less than a connect that is asked again.
const SETTLED: Duration = Duration::from_millis(50);
/// Up to 255 times this lie between two operations at once, in a world: as far as packets go.
const GAP: Duration = Duration::from_nanos(400);
/// A turn of the reactor.
const TURN: Duration = Duration::from_micros(200);

/// How long to wait for an operation on a kernel.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It ends in no world: until all has arrived.
    Little,
    /// In some it ends.
    Some,
    /// It ends in all.
    Much,
}

/// Knows when nothing more will happen by itself.
#[derive(Debug)]
pub(super) struct Quiet {
    /// On a kernel.
    echo: Option<UdpSocket>,
    /// Until an operation that ends in every world is given up as one that waits.
    most: Duration,
}

impl Quiet {
    /// For scripts on the backend that runs here, from the address `own`.
    pub(super) fn new(backend: Backend, own: Ipv4Addr, most: Duration) -> io::Result<Quiet> {
        let echo = match backend {
            Backend::Sim => None,
            _ => {
                let echo = UdpSocket::bind((own, 0))?;
                echo.connect(echo.local_addr()?)?;
                echo.set_read_timeout(Some(Duration::from_secs(60)))?;
                Some(echo)
            }
        };
        Ok(Quiet { echo, most })
    }

    /// Comes back when all that was sent has arrived.
    pub(super) async fn settle(&self) {
        match &self.echo {
            None => sleep_until(now() + SETTLED).await,
            Some(echo) => {
                for round in 0..ROUNDS {
                    let sent = [round as u8];
                    let mut heard = [u8::MAX];
                    echo.send(&sent).expect("a datagram to oneself");
                    echo.recv(&mut heard).expect("it is back");
                    assert_eq!(sent, heard);
                }
            }
        }
    }

    /// What `operation` gives, unless it waits.
    pub(super) async fn ready<T>(
        &self,
        operation: impl Future<Output = T>,
        patience: Patience,
    ) -> Option<T> {
        let mut operation = pin!(operation);
        let first = poll_fn(|cx| Poll::Ready(operation.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = first {
            return Some(output);
        }
        let enough = async {
            match (&self.echo, patience) {
                (None, _) => self.settle().await,
                (Some(_), Patience::Much) => sleep_until(now() + self.most).await,
                (Some(_), Patience::Little) => self.turns(2).await,
                (Some(_), Patience::Some) => self.turns(20).await,
            }
        };
        let mut enough = pin!(enough);
        poll_fn(|cx| {
            let over = enough.as_mut().poll(cx).is_ready();
            match operation.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if over => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    async fn turns(&self, turns: usize) {
        for _ in 0..turns {
            self.settle().await;
            sleep_until(now() + TURN).await;
        }
    }
}

/// Both of `one` and `other` at once, as drawn: which of them first, and in a world also how much of
/// its time lies between. On a kernel that is what the one call takes which the first one makes.
pub(super) async fn both(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let draw = random_u64();
    let gap = match Backend::current() {
        Ok(Backend::Sim) if !draw.is_multiple_of(3) => GAP * (draw >> 32 & 0xff) as u32,
        _ => Duration::ZERO,
    };
    let (mut one, mut other) = (pin!(one), pin!(other));
    let mut open: [Option<Pin<&mut dyn Future<Output = ()>>>; 2] =
        [Some(one.as_mut()), Some(other.as_mut())];
    if draw >> 16 & 1 == 1 {
        open.swap(0, 1);
    }
    let mut between = pin!(sleep_until(now() + gap));
    let mut begun = gap.is_zero();
    poll_fn(|cx| {
        for place in &mut open {
            if let Some(future) = place
                && future.as_mut().poll(cx).is_ready()
            {
                *place = None;
            }
            begun = begun || between.as_mut().poll(cx).is_ready();
            if !begun {
                return Poll::Pending;
            }
        }
        match open.iter().all(Option::is_none) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// Keeps this thread on the processor it runs on, until it is dropped.
#[derive(Debug)]
pub(super) struct Pinned(CpuSet);

impl Pinned {
    pub(super) fn here() -> io::Result<Pinned> {
        let before = sched_getaffinity(None)?;
        let mut one = CpuSet::new();
        one.set(sched_getcpu());
        sched_setaffinity(None, &one)?;
        Ok(Pinned(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // Where it fails the thread stays where it is.
        let _ = sched_setaffinity(None, &self.0);
    }
}
