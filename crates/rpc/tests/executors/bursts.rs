//! Many calls that arrive at once, whose handlers compute or wait for each other.

use std::future::IntoFuture;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bowline_backend::Backend;
use bowline_backend::task::{RunOptions, Threads};
use bowline_backend::time;
use bowline_concurrency::Root;
use bowline_concurrency::sync::Barrier;
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{Caller, Error, Registry, TcpBroker};
use futures_util::future::join_all;

use crate::backends::on_every_backend;
use crate::held::{LONG, client};

/// `methods` called at once over one connection, in this order; every reply has to be `true`.
async fn all_at_once(registry: Registry, methods: Vec<&'static str>) {
    let executor = AsyncExecutor::new(registry, methods.len());
    TcpBroker::builder(executor)
        .listen("127.0.0.1:0")
        .run(async |server| -> Result<(), Error> {
            client(&server)
                .run(async |client| -> Result<(), Error> {
                    let calls = methods.iter().map(|method| {
                        let call = client.call_named::<bool>(*method, ());
                        call.no_deadline().into_future()
                    });
                    for (method, reply) in methods.iter().zip(join_all(calls).await) {
                        assert!(reply?, "{method} was held up");
                    }
                    Ok(())
                })
                .await
        })
        .await
        .unwrap();
}

/// `computing` handlers that hold a thread until a call after them has run; all with one thread more.
fn computing_holds_up_nothing(computing: usize, between: usize) {
    let threads = NonZeroUsize::new(computing + 3).unwrap();
    let options = RunOptions::default().threads(Threads::Fixed(threads));
    let root = Root::new().backend(Backend::Tokio).options(options);
    root.block_on(async move {
        let registry = Registry::new("example");
        let released = Arc::new(AtomicUsize::new(0));
        let seen = released.clone();
        registry
            .register_fn("compute", move |(): ()| {
                let seen = seen.clone();
                async move {
                    let patience = time::now() + LONG;
                    while seen.load(Ordering::SeqCst) == 0 && time::now() < patience {
                        std::thread::yield_now();
                    }
                    seen.load(Ordering::SeqCst) > 0
                }
            })
            .unwrap();
        registry
            .register_fn("quick", |(): ()| async { true })
            .unwrap();
        registry
            .register_fn("release", move |(): ()| {
                released.fetch_add(1, Ordering::SeqCst);
                async { true }
            })
            .unwrap();
        let mut methods = vec!["compute"; computing];
        methods.extend(vec!["quick"; between]);
        methods.push("release");
        all_at_once(registry, methods).await;
    });
}

#[test]
fn a_handler_that_computes_holds_up_no_other_call_of_its_connection() {
    computing_holds_up_nothing(1, 0);
}

#[test]
fn handlers_that_compute_hold_up_no_other_call_of_a_burst() {
    computing_holds_up_nothing(3, 100);
}

on_every_backend! {
    async fn handlers_that_wait_for_each_other_all_begin() {
        const TOGETHER: usize = 150;
        let registry = Registry::new("example");
        let barrier = Arc::new(Barrier::new(TOGETHER).unwrap());
        registry
            .register_fn("meet", move |(): ()| {
                let barrier = barrier.clone();
                async move {
                    barrier.wait().await;
                    true
                }
            })
            .unwrap();
        all_at_once(registry, vec!["meet"; TOGETHER]).await;
    }
}
