//! What is left of a broker that was dropped in the middle of a call: nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bowline_channel::{Receiver, bounded};
use bowline_concurrency::sleep_forever;
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{Caller, Error, Registry, TcpBroker};
use bowline_sim::Sim;

/// A server and a client of it that waits for a call which never ends; says when the handler runs.
fn calling() -> (impl Future<Output = Result<(), Error>>, Receiver<()>) {
    let (sender, started) = bounded(1);
    let registry = Registry::new("example");
    let hang = move |(): ()| {
        let sender = sender.clone();
        async move {
            let _ = sender.try_send(());
            sleep_forever().await;
        }
    };
    registry.register_fn("hang", hang).unwrap();
    let server = TcpBroker::builder(AsyncExecutor::new(registry, 4)).listen("127.0.0.1:0");
    let running = server.run(async |server| -> Result<(), Error> {
        let client = TcpBroker::caller()
            .project("example")
            .connect(server.local_addrs()[0]);
        client
            .run(async |client| Ok(client.call_named::<()>("hang", ()).await?))
            .await
    });
    (running, started)
}

/// Polls both until the second is ready; the first must not end.
async fn while_running<A: Future + Unpin, B: Future>(first: &mut A, second: B) -> B::Output {
    let mut second = std::pin::pin!(second);
    std::future::poll_fn(|cx| {
        assert!(Pin::new(&mut *first).poll(cx).is_pending(), "it ended");
        second.as_mut().poll(cx)
    })
    .await
}

// BR16
#[cfg(target_os = "linux")]
#[test]
fn a_broker_that_is_dropped_leaves_no_socket() {
    use bowline_backend::Backend;
    use bowline_concurrency::{Root, timeout, yield_now};

    fn sockets() -> usize {
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("Linux has it");
        let targets = descriptors.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        targets
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        Root::new().backend(backend).block_on(async {
            let before = sockets();
            let (running, started) = calling();
            let mut running = Box::pin(running);
            assert_eq!(while_running(&mut running, started.recv()).await, Ok(()));
            let open = sockets() - before;
            assert!(open >= 3, "a listener and two ends of a connection: {open}");
            drop(running);
            // Longer than it takes.
            let closed = timeout(Duration::from_secs(20), async {
                while sockets() > before {
                    yield_now().await;
                }
            });
            assert!(
                closed.await.is_ok(),
                "{} sockets are left",
                sockets() - before
            );
        });
    }
}

// BR16
#[test]
fn a_broker_that_is_dropped_leaves_no_timer() {
    let dropped = Arc::new(AtomicU64::new(0));
    let at = dropped.clone();
    let mut world = Sim::builder()
        .client("all", move || {
            let at = at.clone();
            async move {
                let (running, started) = calling();
                let mut running = Box::pin(running);
                let _ = while_running(&mut running, started.recv()).await;
                drop(running);
                at.store(Sim::now().as_nanos() as u64, Ordering::SeqCst);
                std::future::pending::<Result<(), Error>>().await
            }
        })
        .build();
    // It waits for ever, which the world reports once nothing is left to happen.
    let stuck = world.run_until(|_| false);
    assert!(stuck.is_err(), "{stuck:?}");
    let dropped = Duration::from_nanos(dropped.load(Ordering::SeqCst));
    assert!(dropped > Duration::ZERO, "the handler ran");
    // The heartbeat comes after 5 s, the deadline of the call after 30 s: what is left ends the
    // connections within their round trips.
    let idle = world.now() - dropped;
    assert!(
        idle < Duration::from_secs(1),
        "something happened after {idle:?}"
    );
}
