//! Who is woken and who is not: S16, S18.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::stream::{ByteReader, ByteStream, ByteStreamExt};
use bowline_backend::task::{RunOptions, spawn_detached};
use bowline_backend::time::{now, sleep_until};
use bowline_tests::latch::Latch;
use bytes::BytesMut;
use futures_lite::AsyncWrite;

use crate::kinds::{Kind, on_streams};
use crate::streams::{MOST, read_some};

on_streams![
    a_reader_is_not_woken_by_writes,
    a_writer_is_not_woken_by_reads,
    idle_connections_are_not_woken
];

const MS: Duration = Duration::from_millis(1);

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    /// Whether it was woken since the last time it was asked.
    fn take(&self) -> bool {
        self.0.swap(0, Ordering::SeqCst) > 0
    }

    /// Waits for a wake that comes by itself, with something done now and then for it.
    async fn come(&self, mut help: impl AsyncFnMut()) {
        for _ in 0..1_000 {
            if self.take() {
                return;
            }
            help().await;
            sleep_until(now() + MS).await;
        }
        panic!("what is there to do wakes nobody");
    }
}

/// Waits now and then, so that the reactor tells what it has to.
async fn reactor_turns(round: u32) {
    if round % 5 == 4 {
        sleep_until(now() + MS).await;
    }
}

// S18
fn a_reader_is_not_woken_by_writes<K: Kind>(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (client, mut server) = K::pair().await;
        let (mut reader, mut writer) = client.into_split();
        let idle = Arc::new(Wakes::default());
        let waker = Waker::from(idle.clone());
        let mut buffer = BytesMut::new();
        let mut wait = || {
            let mut cx = Context::from_waker(&waker);
            let waits = Pin::new(&mut reader).poll_read_into(&mut cx, &mut buffer, MOST);
            assert!(waits.is_pending());
        };
        wait();
        let mut in_vain = 0;
        for round in 0..50 {
            writer.write_all(b"only writes").await.unwrap();
            read_some(&mut server).await.unwrap();
            reactor_turns(round).await;
            // As a task does that is woken: it looks, and waits again.
            if idle.take() {
                in_vain += 1;
                wait();
            }
        }
        assert!(
            in_vain <= 2,
            "the reader was woken {in_vain} times by writes"
        );
        server.write_all(b"a byte to read").await.unwrap();
        idle.come(async || ()).await;
    });
}

// S18
fn a_writer_is_not_woken_by_reads<K: Kind>(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (client, mut server) = K::pair_with(Some(16 * 1024)).await;
        let (mut reader, mut writer) = client.into_split();
        let idle = Arc::new(Wakes::default());
        let waker = Waker::from(idle.clone());
        // Writes until it waits; whether anything went in.
        let mut fill = || {
            let (mut cx, mut room) = (Context::from_waker(&waker), false);
            while let Poll::Ready(written) = Pin::new(&mut writer).poll_write(&mut cx, &[1; 4_096])
            {
                written.unwrap();
                room = true;
            }
            room
        };
        // Until nothing more goes in a while after the last that did.
        let mut quiet = 0;
        while quiet < 5 {
            quiet = if fill() { 0 } else { quiet + 1 };
            sleep_until(now() + 2 * MS).await;
        }
        idle.take();
        fill();
        let mut in_vain = 0;
        for round in 0..50 {
            server.write_all(b"only reads").await.unwrap();
            read_some(&mut reader).await.unwrap();
            reactor_turns(round).await;
            // What the peer says may bring word of some room too.
            if idle.take() && !fill() {
                in_vain += 1;
            }
        }
        assert!(
            in_vain <= 2,
            "the writer was woken {in_vain} times by reads"
        );
        idle.come(async || drop(read_some(&mut server).await.unwrap()))
            .await;
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
