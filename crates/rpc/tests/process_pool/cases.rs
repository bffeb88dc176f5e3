//! The cases, each on every backend that has processes.

use bowline_backend::Backend;
use bowline_concurrency::Root;

use crate::apart::{
    programs_of_handlers_have_no_socket_and_hold_up_no_end,
    signals_that_end_a_program_leave_the_calls_of_its_children_alone,
};
use crate::deaths::{
    a_broker_that_ends_while_its_child_starts_leaves_no_process,
    a_call_may_have_run_though_no_other_child_takes_it,
    a_call_that_is_given_up_while_its_child_starts_leaves_no_process,
    a_child_that_crashes_ends_its_call_and_says_how,
    a_child_that_is_killed_ends_its_call_and_nothing_else,
    children_that_crash_at_their_start_are_started_rarely,
    children_that_die_of_their_first_call_are_started_rarely,
};
use crate::ends::{
    a_cancel_reaches_the_handler_and_ends_a_child_that_goes_on,
    a_child_is_replaced_after_its_calls, a_child_that_goes_on_is_asked_to_end_before_it_is_killed,
    a_child_that_is_asked_to_end_has_a_second_for_that,
    a_child_that_may_not_be_idle_ends_with_its_call,
    an_idle_child_is_retired_and_the_least_are_kept,
    children_of_a_parent_that_is_killed_end_whatever_they_do,
    the_clean_up_of_a_handler_has_the_grace_of_its_pool,
};
use crate::nested::{
    a_child_calls_back_into_its_pool_eight_deep,
    calls_of_children_end_with_those_that_wait_for_them,
    calls_of_children_to_other_types_are_never_misread,
    children_call_through_the_broker_of_their_parent, children_hear_of_methods_that_come_and_go,
    items_and_notifications_of_children_pass_through_their_parent,
};
use crate::passed_on::{
    a_call_with_a_key_runs_again_once_its_child_is_dead,
    calls_in_a_format_of_ones_own_reach_children_and_come_from_them,
    calls_of_children_go_to_the_peer_of_their_key,
    calls_of_children_with_one_idempotency_key_run_once,
    handlers_in_children_have_what_came_with_the_call, handlers_in_children_know_who_calls,
    messages_between_parent_and_child_have_the_limits_of_their_calls,
};
use crate::rules::{
    a_child_of_another_build_or_with_other_methods_is_refused,
    a_full_queue_makes_callers_within_the_process_wait_and_refuses_peers,
    a_job_that_nobody_waits_for_never_runs, a_panic_fails_its_call_and_not_its_child,
    a_shutdown_answers_every_caller_and_a_new_broker_opens_the_pool_again,
    a_simulated_world_has_no_processes,
    a_stream_that_nobody_takes_has_its_place_until_its_deadline,
    calls_run_in_children_and_no_more_than_there_are, items_pass_through_to_children_and_back,
    methods_that_no_child_has_are_offered_by_no_broker,
};
use crate::starts::{
    a_burst_starts_as_many_children_as_its_calls_fill,
    a_call_for_a_child_that_died_idle_goes_to_another,
    a_child_may_take_longer_to_start_than_a_peer_to_greet,
    a_child_starts_though_no_caller_waits_for_so_long,
    a_handler_that_goes_on_ends_its_child_though_others_run_there,
    a_program_that_forgets_its_entry_starts_no_children_of_children,
    calls_that_follow_each_other_start_no_more_children_than_there_are_places,
};

/// Runs the cases as a test harness would, each on every backend with processes.
pub(crate) fn run() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let says = |word: &str| arguments.iter().any(|it| it == word);
    let wanted: Vec<_> = arguments
        .iter()
        .filter(|it| !it.starts_with('-') && *it != "terse")
        .collect();
    if says("--ignored") {
        return;
    }
    macro_rules! cases {
        ($($name:ident)*) => {
            $(
                for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
                    let name = format!("{}::{backend}", stringify!($name));
                    if says("--list") {
                        println!("{name}: test");
                    } else if wanted.is_empty() || wanted.iter().any(|it| name.contains(it.as_str())) {
                        Root::new().backend(backend).block_on($name());
                        println!("test {name} ... ok");
                    }
                }
            )*
        };
    }
    cases! {
        calls_run_in_children_and_no_more_than_there_are
        items_pass_through_to_children_and_back
        children_call_through_the_broker_of_their_parent
        calls_of_children_to_other_types_are_never_misread
        handlers_in_children_have_what_came_with_the_call
        handlers_in_children_know_who_calls
        messages_between_parent_and_child_have_the_limits_of_their_calls
        calls_of_children_go_to_the_peer_of_their_key
        calls_of_children_with_one_idempotency_key_run_once
        calls_in_a_format_of_ones_own_reach_children_and_come_from_them
        a_call_with_a_key_runs_again_once_its_child_is_dead
        children_hear_of_methods_that_come_and_go
        calls_of_children_end_with_those_that_wait_for_them
        items_and_notifications_of_children_pass_through_their_parent
        a_child_calls_back_into_its_pool_eight_deep
        a_panic_fails_its_call_and_not_its_child
        a_job_that_nobody_waits_for_never_runs
        a_child_that_is_killed_ends_its_call_and_nothing_else
        a_child_that_crashes_ends_its_call_and_says_how
        a_call_may_have_run_though_no_other_child_takes_it
        a_call_that_is_given_up_while_its_child_starts_leaves_no_process
        a_broker_that_ends_while_its_child_starts_leaves_no_process
        children_of_a_parent_that_is_killed_end_whatever_they_do
        a_full_queue_makes_callers_within_the_process_wait_and_refuses_peers
        children_that_crash_at_their_start_are_started_rarely
        children_that_die_of_their_first_call_are_started_rarely
        a_program_that_forgets_its_entry_starts_no_children_of_children
        a_child_is_replaced_after_its_calls
        an_idle_child_is_retired_and_the_least_are_kept
        a_child_that_may_not_be_idle_ends_with_its_call
        a_cancel_reaches_the_handler_and_ends_a_child_that_goes_on
        a_child_that_goes_on_is_asked_to_end_before_it_is_killed
        a_child_that_is_asked_to_end_has_a_second_for_that
        the_clean_up_of_a_handler_has_the_grace_of_its_pool
        a_child_of_another_build_or_with_other_methods_is_refused
        a_shutdown_answers_every_caller_and_a_new_broker_opens_the_pool_again
        a_simulated_world_has_no_processes
        methods_that_no_child_has_are_offered_by_no_broker
        a_stream_that_nobody_takes_has_its_place_until_its_deadline
        programs_of_handlers_have_no_socket_and_hold_up_no_end
        signals_that_end_a_program_leave_the_calls_of_its_children_alone
        a_child_starts_though_no_caller_waits_for_so_long
        a_child_may_take_longer_to_start_than_a_peer_to_greet
        a_burst_starts_as_many_children_as_its_calls_fill
        calls_that_follow_each_other_start_no_more_children_than_there_are_places
        a_handler_that_goes_on_ends_its_child_though_others_run_there
        a_call_for_a_child_that_died_idle_goes_to_another
    }
}
