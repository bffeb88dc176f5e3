//! Servers of connections, on every backend.

mod accepting;
#[cfg(feature = "tls")]
#[expect(dead_code, reason = "this needs few kinds of certificates")]
#[path = "../tls/certificates.rs"]
mod certificates;
#[cfg(target_os = "linux")]
#[path = "../apart/child.rs"]
mod child;
mod closing;
mod crowds;
mod draining;
mod endings;
mod hostile;
mod limits;
mod lingering;
mod script;
#[cfg(feature = "tls")]
mod secure;
mod talking;
mod threads;

use std::future::Future;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpStream;
use bowline_codec::{Framed, Lines, Text};
use bowline_concurrency::{AnyError, GroupError, Root, TaskGroup, task_group, timeout};
use bowline_transport::{
    ConnectionHandler, Error, MessageStream, Server, ServerHandle, ServerLimits, TcpConnector,
    Transport,
};

/// One test for each backend; `in_sim` under some seeds.
macro_rules! on_every_backend {
    ($($module:ident: $($case:ident,)*;)*) => { $( mod $module {
        mod on_tokio { $(#[test] fn $case() { crate::within(crate::Backend::Tokio, crate::$module::$case()); })* }
        mod on_smol { $(#[test] fn $case() { crate::within(crate::Backend::Smol, crate::$module::$case()); })* }
        mod on_async_std { $(#[test] fn $case() { crate::within(crate::Backend::AsyncStd, crate::$module::$case()); })* }
        mod in_sim { $(#[test] fn $case() {
            for seed in 0..20 {
                let root = bowline_concurrency::Root::new().backend(crate::Backend::Sim);
                bowline_sim::block_on(seed, root.entered(crate::$module::$case()));
            }
        })* }
    } )* };
}

mod everywhere {
    on_every_backend! {
        accepting:
            failures_of_one_connection_are_skipped,
            a_broken_listener_ends_the_server,
            a_system_without_descriptors_is_waited_for,
            the_low_level_accepts_and_drains,
            what_the_low_level_served_is_counted_by_its_end,
            the_low_level_ends_with_its_group,
            accepting_that_is_polled_without_need_notes_nothing_twice,
            a_listener_that_only_fails_lets_others_run,
        ;
        closing:
            a_close_that_a_handler_gave_up_is_no_failure,
            a_connection_that_is_cut_while_it_closes_has_one_end,
            a_cut_connection_is_reset_though_somebody_has_its_peer,
            who_asks_after_the_end_without_waiting_is_told_of_it,
        ;
        draining:
            idle_connections_leave_at_once,
            busy_ones_finish,
            a_large_message_that_has_come_is_received,
            stuck_ones_are_cut_after_deadline_and_grace,
            a_server_that_stops_accepting_serves_on,
            a_server_that_was_never_served_is_drained,
        ;
        endings:
            a_handler_that_returns_closes,
            a_handler_that_fails_or_panics_costs_its_connection,
            a_handler_that_panics_at_once_costs_its_connection,
            a_connection_that_is_not_begun_has_no_end,
            peers_end_and_break,
            a_peer_outlives_its_connection,
            a_dropped_server_cancels_all,
            a_failed_task_of_the_start_ends_the_server,
        ;
        hostile:
            a_bomb_in_a_frame_costs_that_frame,
            a_bomb_that_has_no_frame_costs_its_connection,
            a_peer_that_never_reads_holds_up_nobody,
            a_peer_that_never_reads_is_cut_off,
            a_peer_that_neither_reads_nor_speaks_is_cut_off,
            who_sends_a_byte_now_and_then_is_cut_off,
        ;
        limits:
            places_come_back_on_every_exit,
            beyond_the_limit_is_reset_where_that_is_asked_for,
            who_says_nothing_is_reset_beyond_the_limit,
            a_peer_has_no_more_than_its_share,
            a_silent_peer_is_told_so,
            peers_that_trickle_are_cut_while_others_converse,
        ;
        lingering:
            the_last_answer_arrives,
            who_sends_too_much_hears_why,
            without_lingering_it_is_lost,
            who_never_ends_is_not_waited_for_longer,
            who_sends_without_end_is_not_read_for_ever,
        ;
        talking:
            what_cannot_be_decoded_reaches_the_handler,
            a_stranger_costs_a_handler_one_error,
            a_receive_that_times_out_loses_nothing,
            many_messages_in_one_write,
            every_kind_of_place,
            a_path_goes_with_its_server,
            what_a_handler_says_first_arrives_whatever_it_waits_for,
        ;
    }
}

#[cfg(feature = "tls")]
mod over_tls {
    on_every_backend! {
        secure:
            handshakes_do_not_delay_a_drain,
            no_more_handshakes_begin_than_may,
            who_speaks_late_has_less_time_for_its_handshake,
            a_flood_of_half_open_handshakes_ends_in_time,
            certificates_change_under_load,
        ;
    }
}

/// A hang is a failure with a name, not a stuck run.
fn within(backend: Backend, law: impl Future<Output = ()>) {
    let limit = Duration::from_secs(120);
    let ended = Root::new()
        .backend(backend)
        .block_on(timeout(limit, Box::pin(law)));
    ended.expect("it did not end within two minutes");
}

/// What the tests speak: lines of text.
pub(crate) type Line = Framed<Lines, Text>;

pub(crate) fn line() -> Line {
    Lines::lf().text()
}

pub(crate) type Client = MessageStream<TcpStream, Line>;

/// Connects to the server.
pub(crate) async fn connect(server: &ServerHandle) -> Client {
    let address = server.local_addrs()[0].as_inet().unwrap();
    let stream = TcpConnector::new(address).connect().await.unwrap();
    MessageStream::new(stream, line())
}

/// What the server answers to a client that says `first`; what it is reset with may already be said
/// to the connect.
pub(crate) async fn try_greet(
    server: &ServerHandle,
    first: &str,
) -> Result<(Client, Option<String>), Error> {
    let address = server.local_addrs()[0].as_inet().unwrap();
    let stream = TcpConnector::new(address).connect().await?;
    let mut client = MessageStream::new(stream, line());
    client.send(&first.to_owned()).await?;
    let answer = client.recv().await?;
    Ok((client, answer))
}

/// Runs a server and, beside it, its clients.
pub(crate) async fn beside<S, R>(server: S, clients: impl Future<Output = R> + Send) -> R
where
    S: Future<Output = Result<(), Error>> + Send + 'static,
    R: Send,
{
    // Boxed, for some backends move what they run through many frames.
    let clients = Box::pin(clients);
    let both = task_group(|group: TaskGroup<AnyError>| async move {
        group.named("serve").spawn(async move { Ok(server.await?) });
        Ok(clients.await)
    });
    let both: Result<R, GroupError<AnyError>> = both.await;
    both.unwrap()
}

/// A server of lines over TCP, with its default limits.
pub(crate) async fn start<H>(
    handler: H,
) -> (
    ServerHandle,
    impl Future<Output = Result<(), Error>> + Send + use<H>,
)
where
    H: ConnectionHandler<Client> + 'static,
{
    start_with(ServerLimits::new(), handler).await
}

pub(crate) async fn start_with<H>(
    limits: ServerLimits,
    handler: H,
) -> (
    ServerHandle,
    impl Future<Output = Result<(), Error>> + Send + use<H>,
)
where
    H: ConnectionHandler<Client> + 'static,
{
    let server = Server::tcp(("127.0.0.1", 0)).codec(line).limits(limits);
    let bound = server.bind().await.unwrap();
    (bound.handle(), bound.serve(handler))
}
