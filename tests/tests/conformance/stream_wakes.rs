//! Who is woken and who is not: S16, S18.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use bowline_backend::Backend;
use bowline_backend::stream::{ByteReader, ByteStream, ByteStreamExt};
use bowline_backend::task::{RunOptions, spawn_detached};
use bowline_tests::latch::Latch;
use bytes::BytesMut;

use crate::kinds::{Kind, on_streams};
use crate::streams::{MOST, read_some};

on_streams![
    one_half_is_woken_without_the_other,
    idle_connections_are_not_woken
];

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

// S18
fn one_half_is_woken_without_the_other<K: Kind>(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (client, mut server) = K::pair().await;
        let (mut reader, mut writer) = client.into_split();
        let idle = Arc::new(Wakes::default());
        let waker = Waker::from(idle.clone());
        let mut buffer = BytesMut::new();
        let mut cx = Context::from_waker(&waker);
        let waits = Pin::new(&mut reader).poll_read_into(&mut cx, &mut buffer, MOST);
        assert!(waits.is_pending());
        for _ in 0..50 {
            writer.write_all(b"only writes").await.unwrap();
            read_some(&mut server).await.unwrap();
        }
        let wakes = idle.0.load(Ordering::SeqCst);
        assert!(wakes <= 2, "the reader was woken {wakes} times by writes");
    });
}

// S16
fn idle_connections_are_not_woken<K: Kind>(backend: Backend, options: RunOptions) {
    const IDLE: usize = 1_000;
    backend.block_on_with(options, async {
        let (listener, at) = K::listen(None);
        let (mut clients, waiting, ended) = (Vec::new(), Latch::new(IDLE), Latch::new(IDLE));
        let polls = Arc::new(AtomicUsize::new(0));
        for _ in 0..IDLE {
            clients.push(K::connect(&at, None).await.unwrap());
            let mut server = K::accept(&listener).await.unwrap();
            let (waiting, ended, polls) = (waiting.clone(), ended.clone(), polls.clone());
            spawn_detached(async move {
                let mut buffer = BytesMut::new();
                let mut read = server.read_into(&mut buffer, MOST);
                let outcome = std::future::poll_fn(|cx| {
                    polls.fetch_add(1, Ordering::SeqCst);
                    let outcome = Pin::new(&mut read).poll(cx);
                    waiting.count_down();
                    outcome
                });
                assert_eq!(outcome.await.unwrap(), 0);
                ended.count_down();
            });
        }
        waiting.wait().await;
        let (mut busy, mut server) = K::pair().await;
        for _ in 0..200 {
            busy.write_all(b"traffic").await.unwrap();
            read_some(&mut server).await.unwrap();
        }
        assert_eq!(
            polls.load(Ordering::SeqCst),
            IDLE,
            "idle tasks were polled again"
        );
        // Each still hears its peer, by one poll more.
        drop(clients);
        ended.wait().await;
        assert_eq!(polls.load(Ordering::SeqCst), 2 * IDLE);
    });
}
