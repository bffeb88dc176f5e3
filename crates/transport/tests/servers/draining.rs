//! How a server comes to its end.

use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::stream::Address;
use bowline_backend::time::Instant;
use bowline_codec::{Framing, LengthDelimited, Raw};
use bowline_concurrency::now;
use bowline_transport::{
    Break, DrainReport, End, Error, ErrorKind, Listener, MemoryStream, MessageStream, Server,
    ServerLimits, TcpConnector, Transport,
};
use bytes::Bytes;

use crate::endings::{ask, greet, say};
use crate::script::{Script, Scripted};
use crate::{beside, start, start_with, try_greet};

/// In the simulator, that so much time has passed; elsewhere time is what it is.
pub(crate) fn passed(since: Instant, exactly: Duration) {
    if Backend::current() == Ok(Backend::Sim) {
        let passed = now().saturating_duration_since(since);
        // What goes over the network takes a little.
        let late = passed.checked_sub(exactly);
        assert!(
            late.is_some_and(|late| late < Duration::from_millis(50)),
            "{passed:?}, not {exactly:?}"
        );
    }
}

pub(crate) fn report(finished: usize, cancelled: usize, aborted: usize) -> DrainReport {
    let mut report = DrainReport::default();
    report.finished = finished;
    report.cancelled = cancelled;
    report.aborted = aborted;
    report
}

// SV5
pub(crate) async fn idle_connections_leave_at_once() {
    let told = Scripted::new();
    let (handle, serving) = start(Script::new(&told)).await;
    beside(serving, async {
        let mut clients = Vec::new();
        for n in 0..10 {
            clients.push(greet(&handle, &n.to_string()).await);
        }
        let begun = now();
        // Whoever is not past its `on_connection` waits for a message too.
        let _silent = crate::connect(&handle).await;
        while handle.connections() < 11 {
            bowline_concurrency::checkpoint().await;
        }
        let drained = handle.drain(Duration::from_secs(100)).await;
        passed(begun, Duration::ZERO);
        // The silent one may not have come so far.
        assert_eq!(drained.finished + drained.handshaking, 11);
        assert!(drained.finished >= 10 && drained.cancelled + drained.aborted == 0);
        for client in &mut clients {
            assert_eq!(client.recv().await.unwrap(), None);
            assert_eq!(told.end().await.1, End::Drained);
        }
    })
    .await;
}

// SV5
pub(crate) async fn busy_ones_finish() {
    let told = Scripted::new();
    let (handle, serving) = start(Script::new(&told)).await;
    beside(serving, async {
        let mut busy = greet(&handle, "busy").await;
        say(&mut busy, "wait").await;
        told.waiting.recv().await.unwrap();
        // What has come by then is answered too.
        let many = 100;
        for n in 0..many {
            say(&mut busy, &n.to_string()).await;
        }
        busy.flush().await.unwrap();
        let opening = async {
            bowline_concurrency::sleep(Duration::from_millis(20)).await;
            assert_eq!((handle.connections(), handle.is_serving()), (1, true));
            told.gate.set();
        };
        let draining = handle.drain(Duration::from_secs(100));
        let (drained, ()) = futures_util::future::join(draining, opening).await;
        assert_eq!(drained, report(1, 0, 0));
        assert_eq!(busy.recv().await.unwrap().as_deref(), Some("waited"));
        for n in 0..many {
            assert_eq!(busy.recv().await.unwrap(), Some(n.to_string()));
        }
        assert_eq!(busy.recv().await.unwrap(), None);
        assert_eq!(told.end().await, ("busy".to_owned(), End::Drained));
    })
    .await;
}

/// Gives out one connection, and then no more.
struct Once(Option<MemoryStream>);

impl Listener for Once {
    type Connection = MemoryStream;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(MemoryStream, Address)>> {
        let one = self
            .0
            .take()
            .map(|stream| Ok((stream, Address::Named("one".into()))));
        one.map_or(Poll::Pending, Poll::Ready)
    }

    fn local_addrs(&self) -> io::Result<Vec<Address>> {
        Ok(Vec::new())
    }
}

/// A large message takes several turns to read: it is no idle connection that waits for its own.
// SV5, TR3
pub(crate) async fn a_large_message_that_has_come_is_received() {
    const LARGE: usize = 2_000_000;
    let codec = || LengthDelimited::u32().max_frame(LARGE).with(Raw::new());
    let (here, there) = MemoryStream::builder().capacity(2 * LARGE).pair();
    let bound = Server::over(Once(Some(there))).codec(codec).bind().await;
    let bound = bound.unwrap();
    let (handle, lengths) = (bound.handle(), Arc::new(Mutex::new(Vec::new())));
    let seen = lengths.clone();
    let serving = bound.serve_fn(move |_, mut messages| {
        let seen = seen.clone();
        async move {
            messages.draining().await;
            while let Some(message) = messages.recv().await? {
                seen.lock().unwrap().push(message.len());
            }
            Ok::<_, Error>(())
        }
    });
    beside(serving, async {
        let mut here = MessageStream::new(here, codec());
        for _ in 0..2 {
            here.send(&Bytes::from(vec![7; LARGE - 8])).await.unwrap();
        }
        here.flush().await.unwrap();
        while handle.connections() < 1 {
            bowline_concurrency::checkpoint().await;
        }
        let drained = handle.drain(Duration::from_secs(100)).await;
        assert_eq!(drained.finished + drained.handshaking, 1);
        if drained.finished == 1 {
            assert_eq!(*lengths.lock().unwrap(), [LARGE - 8; 2]);
        }
    })
    .await;
}

// SV5
pub(crate) async fn stuck_ones_are_cut_after_deadline_and_grace() {
    let told = Scripted::new();
    let (deadline, grace) = (Duration::from_millis(300), Duration::from_millis(100));
    let limits = ServerLimits::new().grace(grace);
    let (handle, serving) = start_with(limits, Script::new(&told)).await;
    beside(serving, async {
        let mut hangs = greet(&handle, "hangs").await;
        let mut listens = greet(&handle, "listens").await;
        let mut idle = greet(&handle, "idle").await;
        say(&mut hangs, "hang").await;
        say(&mut listens, "hang until told").await;
        for _ in 0..2 {
            told.waiting.recv().await.unwrap();
        }
        let begun = now();
        let drained = handle.drain(deadline).await;
        passed(begun, deadline + grace);
        assert_eq!(drained, report(1, 1, 1));
        assert_eq!(idle.recv().await.unwrap(), None);
        assert_eq!(listens.recv().await.unwrap(), None);
        let error = hangs.recv().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken(Break::Reset));
        let mut ends = [told.end().await, told.end().await, told.end().await];
        ends.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(ends[0], ("hangs".to_owned(), End::Cancelled));
        assert_eq!(ends[1], ("idle".to_owned(), End::Drained));
        assert_eq!(ends[2], ("listens".to_owned(), End::Closed));
        let counters = handle.counters();
        assert_eq!((counters.cancelled, counters.completed), (1, 2));
        // A second time there is nothing to do.
        assert_eq!(handle.drain(Duration::ZERO).await, drained);
    })
    .await;
}

// SV5
pub(crate) async fn a_server_that_stops_accepting_serves_on() {
    let told = Scripted::new();
    let (handle, serving) = start(Script::new(&told)).await;
    let address = handle.local_addrs()[0].as_inet().unwrap();
    beside(serving, async {
        let mut client = greet(&handle, "stays").await;
        handle.stop_accepting();
        // The listener is closed when the server next runs.
        while let Ok((_, answer)) = try_greet(&handle, "late").await {
            assert!(answer.is_none_or(|answer| answer == "welcome late"));
        }
        let error = loop {
            match TcpConnector::new(address).connect().await {
                Ok(_) => bowline_concurrency::checkpoint().await,
                Err(error) => break error,
            }
        };
        assert!(error.is_connection(), "{error}");
        assert_eq!(ask(&mut client, "on").await.as_deref(), Some("on"));
        assert!(handle.is_serving());
        assert_eq!(ask(&mut client, "leave").await, None);
    })
    .await; // `serve` has returned
    assert_eq!((handle.is_serving(), handle.connections()), (false, 0));
}

// SV5
pub(crate) async fn a_server_that_was_never_served_is_drained() {
    let told = Scripted::new();
    let (handle, serving) = start(Script::new(&told)).await;
    assert_eq!(
        handle.drain(Duration::from_secs(100)).await,
        report(0, 0, 0)
    );
    serving.await.unwrap(); // at once
    assert!(!handle.is_serving());
}
