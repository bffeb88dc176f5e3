//! Secure streams over memory, TCP and Unix sockets, on every backend.
#![cfg(feature = "tls")]

mod certificates;
mod ends;
mod exporter;
mod handshakes;
mod pairs;
mod reload;
mod stalls;
mod starttls;
mod streams;

use bowline_backend::Backend;
use std::future::Future;

/// One test for each backend; `in_sim` under some seeds.
macro_rules! on_every_backend {
    ($($module:ident: $($case:ident,)*;)*) => { $( mod $module {
        mod on_tokio { $(#[test] fn $case() { crate::within(crate::Backend::Tokio, crate::$module::$case()); })* }
        mod on_smol { $(#[test] fn $case() { crate::within(crate::Backend::Smol, crate::$module::$case()); })* }
        mod on_async_std { $(#[test] fn $case() { crate::within(crate::Backend::AsyncStd, crate::$module::$case()); })* }
        mod in_sim { $(#[test] fn $case() {
            for seed in 0..5 {
                bowline_sim::block_on(seed, crate::$module::$case());
            }
        })* }
    } )* };
}

mod everywhere {
    on_every_backend! {
        handshakes:
            both_learn_what_was_agreed,
            certificates_that_are_not_accepted,
            a_client_without_a_certificate,
            protocols_and_names_that_do_not_match,
            peers_that_do_not_speak_tls,
            a_message_that_never_comes_to_an_end,
            a_stall_ends_at_its_timeout_and_delays_nobody,
        ;
        ends:
            a_strict_end_is_said,
            a_cut_end_is_broken_or_clean_as_agreed,
            nothing_is_sent_to_a_peer_that_is_done,
            who_is_done_is_answered,
            a_close_that_stalls_ends,
            a_shutdown_that_stalls_ends,
            a_shutdown_waits_for_no_word_of_the_peer,
        ;
        streams:
            a_mebibyte_both_ways_with_new_keys_over_memory,
            a_mebibyte_both_ways_with_new_keys_over_tcp,
            a_mebibyte_both_ways_with_new_keys_over_unix,
            messages_go_through,
            attributes_pass_through,
            halves_reunite_and_abort,
            reads_that_bring_nothing_let_others_run,
            more_than_is_held_of_a_handshake_breaks_the_connection,
            an_alert_after_the_handshake_is_no_failure_of_it,
        ;
        starttls:
            a_conversation_becomes_secure_over_memory,
            a_conversation_becomes_secure_over_tcp,
            a_conversation_becomes_secure_over_unix,
        ;
        exporter:
            both_ends_derive_the_same,
            what_cannot_be_derived,
        ;
        reload:
            a_new_certificate_is_for_new_connections,
            connections_go_on_while_certificates_change,
        ;
    }
}

/// A hang is a failure with a name, not a stuck run.
fn within(backend: Backend, law: impl Future<Output = ()>) {
    backend.block_on(async {
        let limit = bowline_backend::time::now() + std::time::Duration::from_secs(120);
        let limit = std::pin::pin!(bowline_backend::time::sleep_until(limit));
        let law = std::pin::pin!(law);
        if let futures_util::future::Either::Right(_) =
            futures_util::future::select(law, limit).await
        {
            panic!("it did not end within two minutes");
        }
    });
}
