//! Servers of connections, on every backend.

mod endings;

use std::future::Future;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpStream;
use bowline_codec::{Framed, Lines, Text};
use bowline_concurrency::{AnyError, GroupError, Root, TaskGroup, task_group, timeout};
use bowline_transport::{MessageStream, ServerHandle, TcpConnector};

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
        endings:
            a_handler_that_returns_closes,
        ;
    }
}

/// A hang is a failure with a name, not a stuck run.
fn within(backend: Backend, law: impl Future<Output = ()>) {
    let limit = Duration::from_secs(120);
    let ended = Root::new().backend(backend).block_on(timeout(limit, law));
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

/// Runs a server and, beside it, its clients.
pub(crate) async fn beside<S, R>(server: S, clients: impl Future<Output = R> + Send) -> R
where
    S: Future<Output = Result<(), bowline_transport::Error>> + Send + 'static,
    R: Send,
{
    let both: Result<R, GroupError<AnyError>> =
        task_group(|group: TaskGroup<AnyError>| async move {
            group.named("serve").spawn(async move { Ok(server.await?) });
            Ok(clients.await)
        })
        .await;
    both.unwrap()
}
