//! What the memory broker promises about calls nobody answers, and about its end.

#[path = "suite/backends.rs"]
#[allow(dead_code, unused_imports, unused_macros)]
mod backends;
#[path = "suite/held.rs"]
#[allow(dead_code)]
mod held;

use backends::{on_every_backend, registry};
use bowline_concurrency::{TaskGroup, task_group, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{Broker, Caller, Certainty, Code, Error, MemoryBroker};
use futures_util::FutureExt;
use held::LONG;

on_every_backend! {
    // BR7
    async fn calls_of_a_method_nobody_offers_are_bounded_and_end_with_their_broker() {
        task_group(|group: TaskGroup<Error>| async move {
            let broker = MemoryBroker::new(AsyncExecutor::new(registry(), 1)).start(&group).await?;
            let call = || broker.call_named::<i64>("nobody", ()).no_deadline().into_future();
            let mut waiting: Vec<_> = (0..1024).map(|_| call()).collect();
            for call in &mut waiting {
                assert!(call.now_or_never().is_none());
            }
            let error = call().await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::Overloaded, Certainty::NeverSent));
            // A call that is given up makes room for one more, and known methods are as ever.
            drop(waiting.pop());
            let mut last = call();
            assert!((&mut last).now_or_never().is_none());
            assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
            waiting.push(last);
            broker.close();
            for call in waiting {
                let ended = timeout(LONG, call).await.expect("it ends with its broker");
                let error = ended.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::Cancelled, Certainty::NeverSent));
            }
            group.cancel("done");
            Ok(())
        }).await.unwrap();
    }
}
