//! Clients: connecting when needed and again, calls, the stream of what comes in.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::{TcpListener, TcpStream};
use bowline_codec::Lines;
use bowline_concurrency::{Root, timeout};
use bowline_transport::{Client, DynTransport, Error, MessageStream};

mod attempts;
mod blocking;
mod calls;
#[cfg(target_os = "linux")]
#[path = "../apart/child.rs"]
mod child;
mod connecting;
mod found_by_calls;
mod losses;
mod meanwhile;
mod messages;
mod packets;
mod pauses;
mod reconnecting;
mod restarts;
mod settled;
mod stalls;
mod states;
mod unseen;
mod waits;

/// Nothing of these takes so long; a hang is a failure with a name, not a stuck run.
pub(crate) async fn within<T>(law: impl Future<Output = T>) -> T {
    let done = timeout(Duration::from_secs(60), law).await;
    done.expect("it did not end within a minute")
}

pub(crate) fn on(backend: Backend, law: impl Future<Output = ()>) {
    Root::new().backend(backend).block_on(within(law));
}

pub(crate) fn in_sim<T>(seed: u64, law: impl Future<Output = T>) -> T {
    let root = Root::new().backend(Backend::Sim);
    bowline_sim::block_on(seed, root.entered(within(law)))
}

/// One test for each backend.
#[macro_export]
macro_rules! on_every_backend {
    ($($case:ident,)*) => {
        mod on_tokio { $(#[test] fn $case() { $crate::on($crate::Backend::Tokio, super::$case()); })* }
        mod on_smol { $(#[test] fn $case() { $crate::on($crate::Backend::Smol, super::$case()); })* }
        mod on_async_std {
            $(#[test] fn $case() { $crate::on($crate::Backend::AsyncStd, super::$case()); })*
        }
        mod in_sim {
            $(#[test] fn $case() {
                for seed in 0..20 {
                    $crate::in_sim(seed, super::$case());
                }
            })*
        }
    };
}

pub(crate) type Text = Client<String, String>;

pub(crate) fn text(n: impl ToString) -> String {
    n.to_string()
}

pub(crate) fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

pub(crate) type Lined<S = TcpStream> =
    MessageStream<S, bowline_codec::Framed<Lines, bowline_codec::Text>>;

pub(crate) async fn accept(listener: &TcpListener) -> Lined {
    let (stream, _) = listener.accept().await.unwrap();
    MessageStream::new(stream, Lines::lf().text())
}

pub(crate) fn client(at: SocketAddr) -> Text {
    Client::new(at, || Lines::lf().text())
}

/// Counts what it is asked to.
#[derive(Clone, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn up(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Counts its drop.
pub(crate) struct OnDrop(pub(crate) Count);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.up();
    }
}

/// A waker that remembers.
#[derive(Default)]
pub(crate) struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Woken {
    /// Polls for the first time, as some other task does, which has to wait; whether it is told to go on.
    pub(crate) fn polled<F: Future + Unpin>(future: &mut F) -> Arc<Woken> {
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(woken.clone());
        let polled = Pin::new(future).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "it was to wait");
        woken
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) type Dialled = Result<DynTransport<String, String>, Error>;
