//! Messages over sockets of datagrams: one suite for UDP, Unix and memory on each backend, and what
//! only some of them have.

use std::future::Future;
use std::num::NonZeroUsize;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::time::{now, sleep_until};
use bowline_codec::Raw;
use bowline_transport::{DatagramSocket, DatagramTransport};
use futures_util::future::{Either, select};

mod endpoint;
mod laws;
mod pairs;
mod peers;
mod scripted;
#[cfg(target_os = "linux")]
mod unix;

pub(crate) type Packets<S> = DatagramTransport<S, Raw>;

pub(crate) fn over<S: DatagramSocket>(socket: S) -> Packets<S> {
    DatagramTransport::new(socket, Raw::new())
}

pub(crate) fn bytes(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

/// Nothing here takes a minute; a hang is a failure with a name, not a stuck run.
pub(crate) async fn within(law: impl Future<Output = ()>) {
    let limit = std::pin::pin!(sleep_until(now() + Duration::from_secs(60)));
    let law = std::pin::pin!(law);
    if let Either::Right(_) = select(law, limit).await {
        panic!("it did not end within a minute");
    }
}

/// Runs a case on a backend; in the simulator over seeds.
pub(crate) fn on<F: Future<Output = ()>>(backend: Backend, case: impl Fn() -> F) {
    if backend != Backend::Sim {
        return backend.block_on(within(case()));
    }
    for seed in 0..20 {
        bowline_sim::block_on(seed, within(case()));
    }
}

/// Each case on each backend.
macro_rules! on_every_backend {
    ($($case:path as $name:ident,)*) => {
        mod on_tokio { $(#[test] fn $name() { crate::on(bowline_backend::Backend::Tokio, $case); })* }
        mod on_smol { $(#[test] fn $name() { crate::on(bowline_backend::Backend::Smol, $case); })* }
        mod on_async_std {
            $(#[test] fn $name() { crate::on(bowline_backend::Backend::AsyncStd, $case); })*
        }
        mod in_sim { $(#[test] fn $name() { crate::on(bowline_backend::Backend::Sim, $case); })* }
    };
}
pub(crate) use on_every_backend;

/// The laws, each with a pair of connected sockets.
macro_rules! suite {
    ($name:ident, $backend:expr, $pair:path) => {
        suite!(@laws $name, $backend, $pair,
            messages_go_both_ways,
            an_empty_packet_is_a_packet,
            a_cut_packet_is_an_error_and_the_next_one_is_good,
            a_message_above_the_limit_leaves_the_transport_usable,
            the_longest_packet_arrives_whole,
            no_more_room_is_made_than_a_packet_can_need,
            a_refused_packet_is_followed_by_a_good_one,
            a_close_is_idempotent_and_final,
            a_shut_down_sender_still_receives,
            halves_work_in_two_tasks_and_reunite,
            many_tasks_share_one,
            attributes_are_those_of_the_socket,
            a_permit_sends_without_waiting,
        );
    };
    (@laws $name:ident, $backend:expr, $pair:path, $($law:ident,)*) => {
        mod $name { $(
            // T9
            #[test]
            fn $law() {
                crate::on($backend, || async {
                    let (here, there) = $pair();
                    crate::laws::$law(here, there).await;
                });
            }
        )* }
    };
}

suite!(memory_on_tokio, crate::Backend::Tokio, crate::pairs::memory);
suite!(memory_on_smol, crate::Backend::Smol, crate::pairs::memory);
suite!(
    memory_on_async_std,
    crate::Backend::AsyncStd,
    crate::pairs::memory
);
suite!(memory_in_sim, crate::Backend::Sim, crate::pairs::memory);
suite!(
    stapled_on_tokio,
    crate::Backend::Tokio,
    crate::pairs::stapled
);
suite!(stapled_on_smol, crate::Backend::Smol, crate::pairs::stapled);
suite!(
    stapled_on_async_std,
    crate::Backend::AsyncStd,
    crate::pairs::stapled
);
suite!(stapled_in_sim, crate::Backend::Sim, crate::pairs::stapled);
suite!(
    stapled_udp_on_tokio,
    crate::Backend::Tokio,
    crate::pairs::stapled_udp
);
suite!(
    stapled_udp_on_smol,
    crate::Backend::Smol,
    crate::pairs::stapled_udp
);
suite!(
    stapled_udp_on_async_std,
    crate::Backend::AsyncStd,
    crate::pairs::stapled_udp
);
suite!(
    stapled_udp_in_sim,
    crate::Backend::Sim,
    crate::pairs::stapled_udp
);
#[cfg(unix)]
suite!(
    stapled_unix_on_tokio,
    crate::Backend::Tokio,
    crate::pairs::stapled_unix
);
#[cfg(unix)]
suite!(
    stapled_unix_on_smol,
    crate::Backend::Smol,
    crate::pairs::stapled_unix
);
#[cfg(unix)]
suite!(
    stapled_unix_on_async_std,
    crate::Backend::AsyncStd,
    crate::pairs::stapled_unix
);
#[cfg(unix)]
suite!(
    stapled_unix_in_sim,
    crate::Backend::Sim,
    crate::pairs::stapled_unix
);
suite!(udp_on_tokio, crate::Backend::Tokio, crate::pairs::udp);
suite!(udp_on_smol, crate::Backend::Smol, crate::pairs::udp);
suite!(
    udp_on_async_std,
    crate::Backend::AsyncStd,
    crate::pairs::udp
);
suite!(udp_in_sim, crate::Backend::Sim, crate::pairs::udp);
#[cfg(unix)]
suite!(unix_on_tokio, crate::Backend::Tokio, crate::pairs::unix);
#[cfg(unix)]
suite!(unix_on_smol, crate::Backend::Smol, crate::pairs::unix);
#[cfg(unix)]
suite!(
    unix_on_async_std,
    crate::Backend::AsyncStd,
    crate::pairs::unix
);
#[cfg(unix)]
suite!(unix_in_sim, crate::Backend::Sim, crate::pairs::unix);
