//! Go-style channels for async Rust that lose nothing, on any runtime.
//!
//! The crate knows only [wakers](std::task::Waker), so its channels work in
//! tasks of every runtime and, through the `_blocking` operations, in plain
//! threads. Whatever is dropped, cancelled or selected away, no value
//! disappears: a receive that was promised a value and is dropped before it
//! was polled passes the value on.
//!
//! | constructor | semantics |
//! |---|---|
//! | [`rendezvous()`](rendezvous) | no buffer: a send completes when a receiver takes its value |
//! | [`bounded(n)`](bounded) | up to `n` values are buffered; `bounded(0)` is a rendezvous |
//! | [`unbounded()`](unbounded) | never waits to send, so it has no back-pressure |
//! | [`oneshot()`](oneshot) | one value, one sender, one receiver |
//! | [`watch(initial)`](watch) | the latest value, for many readers |
//! | [`broadcast(n, lag)`](broadcast) | every receiver sees every value, or is told what it missed |
//! | [`never()`](never()) | nothing ever comes |
//! | [`local`] | the same within one thread, without locked instructions |
//!
//! Operations of a [`Sender`] and a [`Receiver`] share one grammar: `send().await` waits,
//! `try_send()` never waits, `send_blocking()` parks the thread. [`select!`] waits for the first of
//! several and commits exactly one, sends included; [`Select`] does so for a set
//! put together when the program runs. Waiting senders and waiting
//! receivers are served first come, first served, and a newcomer never
//! overtakes a parked peer.
//!
//! A channel is closed by `close()` on either end or when the last clone of
//! one end is dropped. From then on sends fail and give the value back, while
//! receivers drain what is buffered and then get [`RecvError`].
//!
//! A [`Sender`] or a [`Receiver`] is cloned cheaply, can be shared by reference,
//! and is `Send` and `Sync` where `T` is `Send`. An idle channel is one allocation
//! of at most 200 bytes; its buffer grows with the values in it. Sending and
//! receiving allocate nothing once as many, up to 64, have waited before. A broadcast puts a value
//! where one was before, of which it keeps up to 64 places; a watch allocates for each value, which
//! its readers share.
//!
//! Do not use a channel as a lock, a semaphore or an event; and do not expect
//! it to bound the number of *waiting senders*: each waiting operation owns
//! its value, so its memory is bounded by the tasks that wait. And do not leak
//! (as [`std::mem::forget`] does) a receive that was polled: a value promised to
//! it waits for it for ever, since nobody can tell that it is gone, and once the
//! channel is closed those who ask for more wait with it.
//!
//! ```
//! use bowline_channel::{RecvError, bounded};
//!
//! # futures_lite::future::block_on(async {
//! let (sender, receiver) = bounded(2);
//! let worker = std::thread::spawn(move || {
//!     for n in 1..=3 {
//!         sender.send_blocking(n).unwrap();
//!     }
//! });
//!
//! let mut sum = 0;
//! while let Ok(n) = receiver.recv().await {
//!     sum += n;
//! }
//! assert_eq!(sum, 6);
//! assert_eq!(receiver.recv().await, Err(RecvError));
//! worker.join().unwrap();
//! # });
//! ```

mod flavor;
mod opening;

mod receiver;
mod sender;

mod ends;
mod guard;
mod permit;
mod recv_many;
mod send_all;
mod sink;
mod statistics;
mod weak;

mod select;

mod broadcast;
mod oneshot;
mod watch;

pub mod local;

mod exchange;
mod first_panic;
mod memory;
mod park;
mod wait_list;
mod wakes;
mod work;

mod error;

pub use broadcast::{
    BroadcastReceiver, BroadcastRecvFuture, BroadcastSendFuture, BroadcastSender, Lag, broadcast,
};
pub use error::{
    BroadcastRecvError, CapacityError, RecvError, SendAllError, SendError, TryBroadcastRecvError,
    TryRecvError, TrySendError,
};
pub use flavor::{Flavor, Local, Threads};
pub use guard::CloseGuard;
pub use oneshot::{OneshotReceiver, OneshotSender, oneshot};
pub use opening::{bounded, never, rendezvous, try_bounded, unbounded};
pub use permit::{Permit, ReserveFuture};
pub use receiver::{Receiver, RecvFuture};
pub use recv_many::RecvManyFuture;
#[doc(hidden)]
pub use select::expansion as __select;
pub use select::{ReadyFuture, Select, Selected};
pub use send_all::SendAllFuture;
pub use sender::{SendFuture, Sender};
pub use sink::SendSink;
pub use statistics::Statistics;
pub use watch::{ChangedFuture, WatchReceiver, WatchSender, watch};
pub use weak::{WeakReceiver, WeakSender};
