//! One suite that every byte stream passes: memory, TCP of each backend, simulated TCP,
//! and two of them stapled.

use std::future::Future;

use bowline_backend::Backend;
use bowline_backend::stream::ByteStream;
use bowline_transport::Extra;

mod bitten;
mod byte_stream;
#[cfg(feature = "tls")]
#[expect(dead_code, reason = "this needs few kinds of certificates")]
#[path = "../tls/certificates.rs"]
mod certificates;
mod endings;
mod many_tasks;
mod message_stream;
mod pairs;
#[cfg(feature = "tls")]
#[expect(dead_code, reason = "this has streams of its own to make secure")]
#[path = "../tls/pairs.rs"]
mod tls_pairs;

/// What carries messages.
pub(crate) trait Stream: ByteStream + Extra {}

impl<S: ByteStream + Extra> Stream for S {}

/// The laws, each with the pair of streams it is about; `run` says where.
macro_rules! suite {
    ($name:ident, $backend:expr, $pair:path) => {
        mod $name {
            use super::*;
            suite!(@all $backend, $pair);
            suite!(@laws byte_stream, $backend, $pair,
                bytes_nobody_read_may_reset_the_peer,
                a_stream_that_read_a_reset_takes_nothing,
            );
        }
    };
    // Streams whose directions know nothing of each other.
    ($name:ident, $backend:expr, $pair:path, stapled) => {
        mod $name {
            use super::*;
            suite!(@all $backend, $pair);
        }
    };
    (@all $backend:expr, $pair:path) => {
        suite!(@laws byte_stream, $backend, $pair,
            bytes_arrive_intact_in_any_pieces,
            vectored_writes_arrive_in_order,
            each_direction_ends_alone,
            the_end_is_sticky,
            a_shut_down_side_takes_nothing_more,
            a_writer_waits_for_a_reader,
            a_dropped_read_takes_nothing,
            a_waiting_read_holds_no_buffer,
            halves_end_as_the_whole_does,
            only_halves_of_one_stream_reunite,
            an_abort_resets_the_peer,
            a_closed_peer_refuses_writes,
            addresses_mirror_each_other,
        );
        messages!(@all $backend, $pair);
        suite!(@laws many_tasks, $backend, $pair,
            a_second_receiver_is_busy,
            a_hundred_senders_take_turns,
            a_close_ends_every_wait,
            an_abort_ends_every_wait,
            a_dropped_shared_close_aborts,
            a_second_close_waits_for_the_first,
            the_last_user_gets_the_transport_back,
        );
    };
    (@laws $laws:ident, $backend:expr, $pair:path, $($law:ident,)*) => { $(
        // TR3, TR14
        #[test]
        fn $law() {
            within($backend, async {
                let (here, there) = $pair().await;
                $laws::$law(here, there).await;
            });
        }
    )* };
}

/// The laws of messages alone, for streams that make bytes come in other pieces.
macro_rules! messages {
    ($name:ident, $backend:expr, $pair:path) => {
        mod $name {
            use super::*;
            messages!(@all $backend, $pair);
        }
    };
    // A peer that is done takes nothing more: TLS says so.
    ($name:ident, $backend:expr, $pair:path, secure) => {
        mod $name {
            use super::*;
            messages!(@any $backend, $pair);
        }
    };
    (@all $backend:expr, $pair:path) => {
        messages!(@any $backend, $pair);
        suite!(@laws message_stream, $backend, $pair,
            split_halves_work_in_both_directions_at_once,
            a_shut_down_sender_still_receives,
        );
        suite!(@laws endings, $backend, $pair,
            an_end_flushes_and_leaves_the_other_direction,
        );
    };
    (@any $backend:expr, $pair:path) => {
        suite!(@laws message_stream, $backend, $pair,
            messages_go_both_ways,
            an_end_between_frames_is_none_for_ever,
            an_end_inside_a_frame_is_broken,
            frames_before_a_reset_come_first,
            a_dropped_stream_is_no_clean_end,
            a_full_queue_makes_senders_wait,
            a_refused_frame_is_followed_by_a_good_one,
            a_fatal_error_repeats,
            a_message_above_the_limit_leaves_the_stream_usable,
        );
        suite!(@laws endings, $backend, $pair,
            a_close_is_idempotent_and_final,
            a_dropped_close_aborts,
            an_upgrade_loses_no_byte,
            a_stream_that_ended_is_not_upgraded,
        );
    };
}

/// Nothing of the suite takes a minute; a hang is a failure with a name, not a stuck run.
fn within(backend: Backend, law: impl Future<Output = ()>) {
    backend.block_on(async {
        let limit = bowline_backend::time::now() + std::time::Duration::from_secs(60);
        let limit = std::pin::pin!(bowline_backend::time::sleep_until(limit));
        let law = std::pin::pin!(law);
        if let futures_util::future::Either::Right(_) =
            futures_util::future::select(law, limit).await
        {
            panic!("the law did not end within a minute");
        }
    });
}

suite!(memory_on_tokio, Backend::Tokio, pairs::memory);
suite!(memory_on_smol, Backend::Smol, pairs::memory);
suite!(memory_on_async_std, Backend::AsyncStd, pairs::memory);
suite!(memory_in_sim, Backend::Sim, pairs::memory);
suite!(small_memory_in_sim, Backend::Sim, pairs::small_memory);
suite!(tcp_on_tokio, Backend::Tokio, pairs::tcp);
suite!(tcp_on_smol, Backend::Smol, pairs::tcp);
suite!(tcp_on_async_std, Backend::AsyncStd, pairs::tcp);
suite!(tcp_in_sim, Backend::Sim, pairs::tcp);
suite!(
    stapled_memory_on_tokio,
    Backend::Tokio,
    pairs::stapled_memory,
    stapled
);
suite!(
    stapled_memory_on_smol,
    Backend::Smol,
    pairs::stapled_memory,
    stapled
);
suite!(
    stapled_memory_on_async_std,
    Backend::AsyncStd,
    pairs::stapled_memory,
    stapled
);
suite!(
    stapled_memory_in_sim,
    Backend::Sim,
    pairs::stapled_memory,
    stapled
);
suite!(
    stapled_tcp_on_tokio,
    Backend::Tokio,
    pairs::stapled_tcp,
    stapled
);
suite!(
    stapled_tcp_on_smol,
    Backend::Smol,
    pairs::stapled_tcp,
    stapled
);
suite!(
    stapled_tcp_on_async_std,
    Backend::AsyncStd,
    pairs::stapled_tcp,
    stapled
);
suite!(
    stapled_tcp_in_sim,
    Backend::Sim,
    pairs::stapled_tcp,
    stapled
);

/// The laws of messages over `pair` on every backend.
macro_rules! messages_everywhere {
    ($name:ident, $pair:path $(, $kind:ident)?) => {
        mod $name {
            use super::*;
            messages!(on_tokio, Backend::Tokio, $pair $(, $kind)?);
            messages!(on_smol, Backend::Smol, $pair $(, $kind)?);
            messages!(on_async_std, Backend::AsyncStd, $pair $(, $kind)?);
            messages!(in_sim, Backend::Sim, $pair $(, $kind)?);
        }
    };
}

// TR2
messages_everywhere!(bitten_memory, pairs::bitten_memory);
messages_everywhere!(bitten_tcp, pairs::bitten_tcp);
// Records that are cut on their way, and such as hold a byte each.
#[cfg(feature = "tls")]
messages_everywhere!(tls_over_bitten_tcp, pairs::tls_over_bitten_tcp, secure);
#[cfg(feature = "tls")]
messages_everywhere!(bitten_tls, pairs::bitten_tls, secure);

// TR2
#[test]
fn messages_survive_every_cut_that_a_seed_makes() {
    for seed in 0..40 {
        bowline_sim::block_on(seed, async {
            let (here, there) = pairs::tcp().await;
            message_stream::messages_go_both_ways(here, there).await;
            let (here, there) = pairs::bitten_tcp().await;
            message_stream::an_end_inside_a_frame_is_broken(here, there).await;
            let (here, there) = pairs::tcp().await;
            endings::an_upgrade_loses_no_byte(here, there).await;
        });
    }
}

/// Each law over streams that cut what is written, and what is read, as a seed says.
macro_rules! cut_by_seeds {
    ($($laws:ident::$law:ident,)*) => {
        mod cut_by_seeds {
            $(
                // TR2
                #[test]
                fn $law() {
                    for seed in 0..60 {
                        bowline_sim::block_on(seed, async {
                            let (here, there) = super::pairs::random_tcp().await;
                            super::$laws::$law(here, there).await;
                        });
                    }
                }
            )*
        }
    };
}

cut_by_seeds!(
    byte_stream::vectored_writes_arrive_in_order,
    message_stream::messages_go_both_ways,
    message_stream::an_end_between_frames_is_none_for_ever,
    message_stream::an_end_inside_a_frame_is_broken,
    message_stream::split_halves_work_in_both_directions_at_once,
    message_stream::a_full_queue_makes_senders_wait,
    message_stream::a_refused_frame_is_followed_by_a_good_one,
    message_stream::a_message_above_the_limit_leaves_the_stream_usable,
    endings::a_close_is_idempotent_and_final,
    endings::an_upgrade_loses_no_byte,
    many_tasks::a_hundred_senders_take_turns,
);
