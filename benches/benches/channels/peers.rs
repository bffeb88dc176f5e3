//! The channels that are compared, behind one shape.

use std::future::Future;

use futures_util::{SinkExt, StreamExt};

/// No bound.
pub(crate) const UNBOUNDED: usize = usize::MAX;

/// A channel of numbers.
pub(crate) trait Entrant {
    const NAME: &'static str;
    /// Whether it loses nothing when a receive is cancelled.
    const LOSSLESS: bool = true;
    type Tx: Send + 'static;
    type Rx: Send + 'static;

    /// Both ends; `None` if it has no such channel.
    fn open(capacity: usize, senders: usize, receivers: usize) -> Option<(Self::Tx, Self::Rx)>;
    fn another_tx(tx: &Self::Tx) -> Self::Tx;
    fn another_rx(rx: &Self::Rx) -> Self::Rx;
    fn send(tx: &mut Self::Tx, value: u64) -> impl Future<Output = ()> + Send;
    fn recv(rx: &mut Self::Rx) -> impl Future<Output = Option<u64>> + Send;
    fn try_send(tx: &mut Self::Tx, value: u64) -> bool;
    fn try_recv(rx: &mut Self::Rx) -> Option<u64>;
}

pub(crate) struct Bowline;

impl Entrant for Bowline {
    const NAME: &'static str = "bowline";
    type Tx = bowline_channel::Sender<u64>;
    type Rx = bowline_channel::Receiver<u64>;

    fn open(capacity: usize, _: usize, _: usize) -> Option<(Self::Tx, Self::Rx)> {
        Some(if capacity == UNBOUNDED {
            bowline_channel::unbounded()
        } else {
            bowline_channel::bounded(capacity)
        })
    }
    fn another_tx(tx: &Self::Tx) -> Self::Tx {
        tx.clone()
    }
    fn another_rx(rx: &Self::Rx) -> Self::Rx {
        rx.clone()
    }
    async fn send(tx: &mut Self::Tx, value: u64) {
        tx.send(value).await.unwrap();
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv().await.ok()
    }
    fn try_send(tx: &mut Self::Tx, value: u64) -> bool {
        tx.try_send(value).is_ok()
    }
    fn try_recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.try_recv().ok()
    }
}

pub(crate) struct Flume;

impl Entrant for Flume {
    const NAME: &'static str = "flume";
    type Tx = flume::Sender<u64>;
    type Rx = flume::Receiver<u64>;

    fn open(capacity: usize, _: usize, _: usize) -> Option<(Self::Tx, Self::Rx)> {
        Some(if capacity == UNBOUNDED {
            flume::unbounded()
        } else {
            flume::bounded(capacity)
        })
    }
    fn another_tx(tx: &Self::Tx) -> Self::Tx {
        tx.clone()
    }
    fn another_rx(rx: &Self::Rx) -> Self::Rx {
        rx.clone()
    }
    async fn send(tx: &mut Self::Tx, value: u64) {
        tx.send_async(value).await.unwrap();
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv_async().await.ok()
    }
    fn try_send(tx: &mut Self::Tx, value: u64) -> bool {
        tx.try_send(value).is_ok()
    }
    fn try_recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.try_recv().ok()
    }
}

pub(crate) struct Kanal;

impl Entrant for Kanal {
    const NAME: &'static str = "kanal";
    const LOSSLESS: bool = false;
    type Tx = kanal::AsyncSender<u64>;
    type Rx = kanal::AsyncReceiver<u64>;

    fn open(capacity: usize, _: usize, _: usize) -> Option<(Self::Tx, Self::Rx)> {
        Some(if capacity == UNBOUNDED {
            kanal::unbounded_async()
        } else {
            kanal::bounded_async(capacity)
        })
    }
    fn another_tx(tx: &Self::Tx) -> Self::Tx {
        tx.clone()
    }
    fn another_rx(rx: &Self::Rx) -> Self::Rx {
        rx.clone()
    }
    async fn send(tx: &mut Self::Tx, value: u64) {
        tx.send(value).await.unwrap();
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv().await.ok()
    }
    fn try_send(tx: &mut Self::Tx, value: u64) -> bool {
        tx.try_send(value).unwrap()
    }
    fn try_recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.try_recv().unwrap()
    }
}

pub(crate) struct AsyncChannel;

impl Entrant for AsyncChannel {
    const NAME: &'static str = "async-channel";
    type Tx = async_channel::Sender<u64>;
    type Rx = async_channel::Receiver<u64>;

    fn open(capacity: usize, _: usize, _: usize) -> Option<(Self::Tx, Self::Rx)> {
        match capacity {
            0 => None,
            UNBOUNDED => Some(async_channel::unbounded()),
            capacity => Some(async_channel::bounded(capacity)),
        }
    }
    fn another_tx(tx: &Self::Tx) -> Self::Tx {
        tx.clone()
    }
    fn another_rx(rx: &Self::Rx) -> Self::Rx {
        rx.clone()
    }
    async fn send(tx: &mut Self::Tx, value: u64) {
        tx.send(value).await.unwrap();
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv().await.ok()
    }
    fn try_send(tx: &mut Self::Tx, value: u64) -> bool {
        tx.try_send(value).is_ok()
    }
    fn try_recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.try_recv().ok()
    }
}

pub(crate) struct Tokio;

impl Entrant for Tokio {
    const NAME: &'static str = "tokio";
    type Tx = tokio::sync::mpsc::Sender<u64>;
    type Rx = tokio::sync::mpsc::Receiver<u64>;

    fn open(capacity: usize, _: usize, receivers: usize) -> Option<(Self::Tx, Self::Rx)> {
        (receivers == 1 && capacity != 0 && capacity != UNBOUNDED)
            .then(|| tokio::sync::mpsc::channel(capacity))
    }
    fn another_tx(tx: &Self::Tx) -> Self::Tx {
        tx.clone()
    }
    fn another_rx(_: &Self::Rx) -> Self::Rx {
        unreachable!("it has one receiver")
    }
    async fn send(tx: &mut Self::Tx, value: u64) {
        tx.send(value).await.unwrap();
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv().await
    }
    fn try_send(tx: &mut Self::Tx, value: u64) -> bool {
        tx.try_send(value).is_ok()
    }
    fn try_recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.try_recv().ok()
    }
}

pub(crate) struct TokioUnbounded;

impl Entrant for TokioUnbounded {
    const NAME: &'static str = "tokio";
    type Tx = tokio::sync::mpsc::UnboundedSender<u64>;
    type Rx = tokio::sync::mpsc::UnboundedReceiver<u64>;

    fn open(capacity: usize, _: usize, receivers: usize) -> Option<(Self::Tx, Self::Rx)> {
        (receivers == 1 && capacity == UNBOUNDED).then(tokio::sync::mpsc::unbounded_channel)
    }
    fn another_tx(tx: &Self::Tx) -> Self::Tx {
        tx.clone()
    }
    fn another_rx(_: &Self::Rx) -> Self::Rx {
        unreachable!("it has one receiver")
    }
    async fn send(tx: &mut Self::Tx, value: u64) {
        tx.send(value).unwrap();
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv().await
    }
    fn try_send(tx: &mut Self::Tx, value: u64) -> bool {
        tx.send(value).is_ok()
    }
    fn try_recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.try_recv().ok()
    }
}

pub(crate) struct Futures;

impl Entrant for Futures {
    const NAME: &'static str = "futures";
    type Tx = futures_channel::mpsc::Sender<u64>;
    type Rx = futures_channel::mpsc::Receiver<u64>;

    /// Every sender owns one slot more.
    fn open(capacity: usize, senders: usize, receivers: usize) -> Option<(Self::Tx, Self::Rx)> {
        (receivers == 1 && senders == 1 && capacity != 0 && capacity != UNBOUNDED)
            .then(|| futures_channel::mpsc::channel(capacity - 1))
    }
    fn another_tx(tx: &Self::Tx) -> Self::Tx {
        tx.clone()
    }
    fn another_rx(_: &Self::Rx) -> Self::Rx {
        unreachable!("it has one receiver")
    }
    async fn send(tx: &mut Self::Tx, value: u64) {
        tx.send(value).await.unwrap();
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.next().await
    }
    fn try_send(tx: &mut Self::Tx, value: u64) -> bool {
        tx.try_send(value).is_ok()
    }
    fn try_recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.try_recv().ok()
    }
}

pub(crate) struct CrossfireSpsc;

impl Entrant for CrossfireSpsc {
    const NAME: &'static str = "crossfire";
    type Tx = crossfire::AsyncTx<crossfire::spsc::Array<u64>>;
    type Rx = crossfire::AsyncRx<crossfire::spsc::Array<u64>>;

    fn open(capacity: usize, senders: usize, receivers: usize) -> Option<(Self::Tx, Self::Rx)> {
        (senders == 1 && receivers == 1 && capacity != 0 && capacity != UNBOUNDED)
            .then(|| crossfire::spsc::bounded_async(capacity))
    }
    fn another_tx(_: &Self::Tx) -> Self::Tx {
        unreachable!("it has one sender")
    }
    fn another_rx(_: &Self::Rx) -> Self::Rx {
        unreachable!("it has one receiver")
    }
    async fn send(tx: &mut Self::Tx, value: u64) {
        tx.send(value).await.unwrap();
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv().await.ok()
    }
    fn try_send(tx: &mut Self::Tx, value: u64) -> bool {
        tx.try_send(value).is_ok()
    }
    fn try_recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.try_recv().ok()
    }
}

pub(crate) struct CrossfireMpmc;

impl Entrant for CrossfireMpmc {
    const NAME: &'static str = "crossfire";
    type Tx = crossfire::MAsyncTx<crossfire::mpmc::Array<u64>>;
    type Rx = crossfire::MAsyncRx<crossfire::mpmc::Array<u64>>;

    fn open(capacity: usize, senders: usize, receivers: usize) -> Option<(Self::Tx, Self::Rx)> {
        (senders * receivers > 1 && capacity != 0 && capacity != UNBOUNDED)
            .then(|| crossfire::mpmc::bounded_async(capacity))
    }
    fn another_tx(tx: &Self::Tx) -> Self::Tx {
        tx.clone()
    }
    fn another_rx(rx: &Self::Rx) -> Self::Rx {
        rx.clone()
    }
    async fn send(tx: &mut Self::Tx, value: u64) {
        tx.send(value).await.unwrap();
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv().await.ok()
    }
    fn try_send(tx: &mut Self::Tx, value: u64) -> bool {
        tx.try_send(value).is_ok()
    }
    fn try_recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.try_recv().ok()
    }
}

pub(crate) struct CrossfireUnbounded;

impl Entrant for CrossfireUnbounded {
    const NAME: &'static str = "crossfire";
    type Tx = crossfire::Tx<crossfire::spsc::List<u64>>;
    type Rx = crossfire::AsyncRx<crossfire::spsc::List<u64>>;

    fn open(capacity: usize, senders: usize, receivers: usize) -> Option<(Self::Tx, Self::Rx)> {
        (senders == 1 && receivers == 1 && capacity == UNBOUNDED)
            .then(crossfire::spsc::unbounded_async)
    }
    fn another_tx(_: &Self::Tx) -> Self::Tx {
        unreachable!("it has one sender")
    }
    fn another_rx(_: &Self::Rx) -> Self::Rx {
        unreachable!("it has one receiver")
    }
    async fn send(tx: &mut Self::Tx, value: u64) {
        tx.send(value).unwrap();
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv().await.ok()
    }
    fn try_send(tx: &mut Self::Tx, value: u64) -> bool {
        tx.try_send(value).is_ok()
    }
    fn try_recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.try_recv().ok()
    }
}
