//! When children start and how many, and which calls they get.

use std::time::Duration;

use bowline_concurrency::{TaskGroup, sleep, task_group, timeout};
use bowline_rpc::executor::Executor;
use bowline_rpc::{Caller, Code, Error, MemoryBroker};

use crate::methods::{LONG, SOON, Scratch, Stubborn, gone, pool};

// EX14
pub(crate) async fn a_handler_that_goes_on_ends_its_child_though_others_run_there() {
    let executor = pool(1).calls_per_worker(2).cancel_grace(SOON);
    MemoryBroker::new(executor.clone())
        .run(async |broker| -> Result<(), Error> {
            let ended = task_group(|group: TaskGroup<Error>| async move {
                // Calls that come and go at the other place of the child.
                let calling = broker.clone();
                let others = group.spawn_ok(async move {
                    loop {
                        match calling.call_named::<u32>("pid", ()).await {
                            Ok(_) => {}
                            Err(error) => assert_eq!(error.code(), Code::ConnectionLost),
                        }
                    }
                });
                for _ in 0..5 {
                    let stubborn = Scratch::new("stubborn");
                    let (calling, path) = (broker.clone(), stubborn.text());
                    let call = group.spawn_ok(async move {
                        calling.call(Stubborn(path)).no_deadline().await.is_ok()
                    });
                    let pid = stubborn.pid().await;
                    call.cancel("nobody waits");
                    gone(pid).await;
                }
                others.cancel("the case is over");
                assert!(others.join().await.is_err(), "it never ends by itself");
                assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
                let free = async {
                    while executor.capacity().running > 0 {
                        sleep(Duration::from_millis(1)).await;
                    }
                };
                timeout(LONG, free).await.expect("no place is taken");
                Ok(())
            });
            ended.await.map_err(|error| panic!("{error}"))
        })
        .await
        .expect("the case holds");
}
