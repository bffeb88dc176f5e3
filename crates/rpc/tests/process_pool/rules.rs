//! The rules that every executor has, where handlers run in children.

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::time::Duration;

use bowline_backend::{Backend, time};
use bowline_concurrency::{Root, TaskGroup, TaskHandle, sleep, task_group, timeout};
use bowline_rpc::executor::{Capacity, Executor, Job, ProcessPoolExecutor, Refusal, Ticket};
use bowline_rpc::{
    Broker, CallError, Caller, Certainty, Code, DynBroker, Error, ErrorKind, MemoryBroker, NoError,
    Registry, TcpBroker, TcpBrokerBuilder,
};

use crate::methods::{
    Endless, Held, LONG, SOON, Scratch, Stubborn, UntilTold, ended, gone, pool, registry,
};

// EX1, EX2, EX3
pub(crate) async fn calls_run_in_children_and_no_more_than_there_are() {
    let executor = pool(4).queue(100);
    TcpBroker::builder(executor.clone())
        .listen("127.0.0.1:0")
        .run(async |server| -> Result<(), Error> {
            client(&server)
                .run(async |client| -> Result<(), Error> {
                    assert_eq!(client.call_named::<i64>("mul", (1, 2, 3)).await?, 6);
                    let crowds = task_group(|group: TaskGroup<CallError>| async move {
                        let calls: Vec<_> = (0..100)
                            .map(|_| {
                                let client = client.clone();
                                let crowd = async move {
                                    client.call_named::<(u32, usize)>("crowd", ()).await
                                };
                                group.spawn(crowd)
                            })
                            .collect();
                        let mut crowds = Vec::new();
                        for call in calls {
                            crowds.extend(call.join().await.ok());
                        }
                        Ok(crowds)
                    })
                    .await
                    .expect("each is answered");
                    assert_eq!(crowds.len(), 100);
                    // Each child runs one at a time.
                    assert!(crowds.iter().all(|(_, there)| *there == 1), "{crowds:?}");
                    let pids: BTreeSet<_> = crowds.into_iter().map(|(pid, _)| pid).collect();
                    assert!((1..=4).contains(&pids.len()), "{pids:?}");
                    assert!(!pids.contains(&std::process::id()));
                    Ok(())
                })
                .await
        })
        .await
        .expect("the case holds");
}

// EX6
pub(crate) async fn a_panic_fails_its_call_and_not_its_child() {
    MemoryBroker::new(pool(1))
        .run(async |broker| -> Result<(), Error> {
            let pid = broker.call_named::<u32>("pid", ()).await?;
            assert_eq!(
                ended(broker.call_named::<()>("fall", ()).await),
                (Code::Panic, Certainty::Executed)
            );
            assert_eq!(broker.call_named::<u32>("pid", ()).await?, pid);
            // What does not decode is found in the child.
            assert_eq!(
                ended(broker.call_named::<i64>("add", ("a", 1)).await),
                (Code::BadArguments, Certainty::Refused)
            );
            Ok(())
        })
        .await
        .expect("the case holds");
}

// EX7, EX17
pub(crate) async fn a_job_that_nobody_waits_for_never_runs() {
    let (running, late, given_up) = (
        Scratch::new("running"),
        Scratch::new("late"),
        Scratch::new("given-up"),
    );
    MemoryBroker::new(pool(1).queue(10))
        .run(async |broker| -> Result<(), Error> {
            let ended_by = task_group(|group: TaskGroup<Error>| async move {
                let (calling, path) = (broker.clone(), running.text());
                let call = group
                    .spawn_ok(async move { calling.call(UntilTold(path)).no_deadline().await });
                running.pid().await;
                // The only child is busy: one whose deadline passes, and one whose caller goes.
                let outcome = broker.call(UntilTold(late.text())).timeout(SOON).await;
                assert_eq!(ended(outcome), (Code::DeadlineExceeded, Certainty::Refused));
                let gone = broker.call(UntilTold(given_up.text())).into_future();
                assert!(timeout(SOON, gone).await.is_err(), "it ended");
                call.cancel("it is over");
                assert!(call.join().await.is_err(), "it ended");
                // Whatever was in the queue had its turn before this one.
                assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
                for scratch in [&late, &given_up] {
                    assert!(!scratch.0.exists(), "it ran");
                }
                Ok(())
            })
            .await;
            ended_by.map_err(|error| panic!("{error}"))
        })
        .await
        .expect("the case holds");
}

// EX15
pub(crate) async fn a_child_of_another_build_or_with_other_methods_is_refused() {
    let copy = Scratch::new("copy");
    let mut program = std::fs::read("/proc/self/exe").expect("it is readable");
    let write = |program: &[u8]| {
        std::fs::write(&copy.0, program).expect("the place is writable");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&copy.0, mode).expect("it is ours");
    };
    // Another file with the same bytes is the same build.
    write(&program);
    MemoryBroker::new(pool(1).program(&copy.0))
        .run(async |broker| -> Result<(), Error> {
            let pid = broker.call_named::<u32>("pid", ()).timeout(LONG).await?;
            assert_ne!(pid, std::process::id());
            Ok(())
        })
        .await
        .expect("it fits");
    std::fs::remove_file(&copy.0).expect("it is ours");
    program.push(0);
    write(&program);
    let other_methods = ProcessPoolExecutor::new(registry(), "other", 1);
    for executor in [pool(1).program(&copy.0), other_methods] {
        let started =
            MemoryBroker::new(executor.clone()).run(async |_| -> Result<(), Error> { Ok(()) });
        let error = started.await.expect_err("it does not fit");
        assert_eq!(error.kind(), ErrorKind::WorkerMismatch);
        let server = TcpBroker::builder(executor).listen("127.0.0.1:0");
        let error = server
            .run(async |_| -> Result<(), Error> { Ok(()) })
            .await
            .expect_err("it does not fit");
        assert_eq!(error.kind(), ErrorKind::WorkerMismatch);
    }
}

/// Calls `held` from a task of its own.
fn hold(
    group: &TaskGroup<Error>,
    broker: &impl Broker,
    scratch: &Scratch,
) -> TaskHandle<Result<u32, CallError<NoError>>> {
    let (broker, path) = (broker.clone(), scratch.text());
    group.spawn_ok(async move { broker.call(Held(path)).no_deadline().await })
}

async fn outcome<T: Send>(task: TaskHandle<T>) -> T {
    let ended = timeout(LONG, task.join()).await.expect("it ends");
    ended.expect("it is not cancelled")
}

/// Completes when so many jobs wait.
async fn waiting(executor: &impl Executor, jobs: usize) {
    let reached = async {
        while executor.capacity().waiting != jobs {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, reached).await.expect("they come and go");
}

fn client(server: &TcpBroker) -> TcpBrokerBuilder {
    let client = TcpBroker::caller().project("example");
    client.connect(server.local_addrs()[0])
}

// EX4
pub(crate) async fn a_full_queue_makes_callers_within_the_process_wait_and_refuses_peers() {
    let held = [(); 4].map(|()| Scratch::new("queued"));
    let executor = pool(1).queue(1);
    task_group(|group: TaskGroup<Error>| async move {
        let memory = MemoryBroker::new(executor.clone()).start(&group).await?;
        let server = TcpBroker::builder(executor.clone()).listen("127.0.0.1:0");
        let server = server.start(&group).await?;
        let mut calls = vec![hold(&group, &memory, &held[0])];
        held[0].pid().await;
        // One has the place in the queue, and one waits for that.
        for n in [1, 2] {
            calls.push(hold(&group, &memory, &held[n]));
            waiting(&executor, n).await;
        }
        client(&server)
            .run(async |client| -> Result<(), Error> {
                let refused = client.call(Held(held[3].text())).await;
                assert_eq!(ended(refused), (Code::Overloaded, Certainty::Refused));
                Ok(())
            })
            .await?;
        for (call, scratch) in calls.into_iter().zip(&held) {
            scratch.let_go();
            assert!(outcome(call).await.is_ok());
            assert!(scratch.0.exists(), "it did not run");
        }
        assert!(!held[3].0.exists(), "the refused call ran");
        group.cancel("done");
        Ok(())
    })
    .await
    .expect("the case holds");
}

/// A pool that does not say that it runs the methods of its registry alone.
#[derive(Debug)]
struct Claims(ProcessPoolExecutor);

impl Executor for Claims {
    fn registry(&self) -> &Registry {
        self.0.registry()
    }

    fn capacity(&self) -> Capacity {
        self.0.capacity()
    }

    fn admit(&self, job: Job) -> Result<Ticket, Refusal> {
        self.0.admit(job)
    }

    fn takes_values(&self) -> bool {
        false
    }
}

pub(crate) async fn methods_that_no_child_has_are_offered_by_no_broker() {
    let more = Registry::new("example");
    let made = more.register_fn("more", |(): ()| async { 7 });
    made.expect("it is a name");
    task_group(|group: TaskGroup<Error>| async move {
        let memory = MemoryBroker::new(pool(1)).start(&group).await?;
        let server = TcpBroker::builder(pool(1)).listen("127.0.0.1:0");
        let server = server.start(&group).await?;
        let errors = [memory.attach(&more), server.attach(&more)];
        for error in errors.map(|refused| refused.expect_err("no child has them")) {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("its own registry"), "{error}");
        }
        assert!(!more.is_locked());
        let client = client(&server).start(&group).await?;
        let nobody = (Code::UnknownMethod, Certainty::NeverSent);
        for broker in [DynBroker::new(memory), DynBroker::new(client)] {
            let missing = broker.call_named::<u32>("more", ()).fail_fast().await;
            assert_eq!(ended(missing), nobody);
        }

        // Where one is offered all the same, it is not waited for in a child, which stays.
        let executor = pool(1);
        let broker = MemoryBroker::new(Claims(executor.clone()))
            .start(&group)
            .await?;
        broker.attach(&more)?;
        let pid = broker.call_named::<u32>("pid", ()).await?;
        let missing = broker
            .call_named::<u32>("more", ())
            .no_deadline()
            .into_future();
        let missing = timeout(LONG, missing).await.expect("it ends at once");
        assert_eq!(ended(missing), (Code::UnknownMethod, Certainty::Refused));
        let missing = broker.call_named::<()>("more", ()).no_deadline();
        let missing = timeout(LONG, missing.open::<u32>()).await;
        assert!(missing.expect("it ends at once").is_err());
        assert_eq!(broker.call_named::<u32>("pid", ()).await?, pid);
        group.cancel("done");
        Ok(())
    })
    .await
    .expect("the case holds");
}

// EX8
pub(crate) async fn a_shutdown_answers_every_caller_and_a_new_broker_opens_the_pool_again() {
    let held = [(); 5].map(|()| Scratch::new("shutdown"));
    let executor = pool(1).queue(10).cancel_grace(LONG);
    task_group(|group: TaskGroup<Error>| async move {
        let memory = MemoryBroker::new(executor.clone()).start(&group).await?;
        let server = TcpBroker::builder(executor.clone()).listen("127.0.0.1:0");
        let server = server.start(&group).await?;
        client(&server)
            .run(async |client| -> Result<(), Error> {
                let running = hold(&group, &memory, &held[0]);
                held[0].pid().await;
                let mut refused = Vec::new();
                refused.push(hold(&group, &memory, &held[1]));
                waiting(&executor, 1).await;
                refused.push(hold(&group, &client, &held[2]));
                waiting(&executor, 2).await;
                let shutdown = group.spawn_ok({
                    let executor = executor.clone();
                    async move { executor.shutdown(LONG).await }
                });
                for call in refused {
                    assert_eq!(
                        ended(outcome(call).await),
                        (Code::Draining, Certainty::Refused)
                    );
                }
                let late = client.call_named::<i64>("add", (2, 3)).await;
                assert_eq!(ended(late), (Code::Draining, Certainty::Refused));
                held[0].let_go();
                assert!(outcome(running).await.is_ok());
                let report = outcome(shutdown).await;
                assert_eq!(
                    (
                        report.finished,
                        report.refused,
                        report.cancelled,
                        report.abandoned
                    ),
                    (1, 2, 0, 0)
                );
                assert!(
                    held[1..3].iter().all(|scratch| !scratch.0.exists()),
                    "a refused call ran"
                );

                // The next broker opens it; what runs at its end is cancelled.
                let again = MemoryBroker::new(executor.clone()).start(&group).await?;
                assert_eq!(again.call_named::<i64>("add", (2, 3)).await?, 5);
                let running = hold(&group, &again, &held[3]);
                held[3].pid().await;
                let report = executor.shutdown(SOON).await;
                assert_eq!(
                    ended(outcome(running).await),
                    (Code::Cancelled, Certainty::MaybeExecuted)
                );
                assert_eq!((report.refused, report.cancelled), (0, 1));

                // One that goes on is answered for, and ends with its child.
                let executor = pool(1).cancel_grace(SOON);
                let again = MemoryBroker::new(executor.clone()).start(&group).await?;
                let (calling, path) = (again.clone(), held[4].text());
                let running =
                    group.spawn_ok(async move { calling.call(Stubborn(path)).no_deadline().await });
                let stubborn = held[4].pid().await;
                let report = executor.shutdown(SOON).await;
                assert_eq!(report.refused + report.finished, 0, "{report:?}");
                assert_eq!(
                    ended(outcome(running).await),
                    (Code::Cancelled, Certainty::MaybeExecuted)
                );
                gone(stubborn).await;
                Ok(())
            })
            .await?;
        group.cancel("done");
        Ok(())
    })
    .await
    .expect("the case holds");
}

// Whatever the backend of the case.
#[expect(clippy::disallowed_methods, reason = "a world apart from that backend")]
pub(crate) async fn a_simulated_world_has_no_processes() {
    let world = std::thread::spawn(|| {
        Root::new().backend(Backend::Sim).block_on(async {
            let started = MemoryBroker::new(pool(1)).run(async |_| -> Result<(), Error> { Ok(()) });
            started.await.expect_err("it does not start").kind()
        })
    });
    assert_eq!(world.join().ok(), Some(ErrorKind::Unsupported));
}

// EX3, R5
pub(crate) async fn a_stream_that_nobody_takes_has_its_place_until_its_deadline() {
    MemoryBroker::new(pool(1))
        .run(async |broker| -> Result<(), Error> {
            broker.call_named::<u32>("pid", ()).timeout(LONG).await?;
            let mut patience = 15 * SOON;
            // On a busy machine the time may be over before the first item.
            let (pid, until) = loop {
                let until = time::now() + patience;
                let mut items = broker
                    .call(Endless)
                    .timeout(patience)
                    .open()
                    .await?
                    .receiver;
                if let Ok(pid) = items.recv().await {
                    break (pid, until);
                }
                patience *= 4;
                assert!(patience < LONG, "it gives nothing");
            };
            // There is one place: the next call has it when the handler has ended, in the same child.
            let next = broker.call_named::<u32>("pid", ()).timeout(LONG).await?;
            assert!(time::now() >= until, "it had its place before");
            assert_eq!(Some(next), pid);
            Ok(())
        })
        .await
        .expect("the case holds");
}

// R18
pub(crate) async fn items_pass_through_to_children_and_back() {
    let outcome = MemoryBroker::new(pool(2)).run(async |broker| -> Result<(), Error> {
        let mut items = broker
            .call_named::<()>("count", (20_000_u32,))
            .open::<(u32, u32)>()
            .await?;
        let mut next = 0;
        while let Some((pid, number)) = items.recv().await? {
            assert_ne!(pid, std::process::id());
            assert_eq!(number, next);
            next += 1;
        }
        assert_eq!(next, 20_000);

        let opened = broker
            .call_named::<u32>("sum", ())
            .open_sending::<u32>()
            .await?;
        let (mut sender, receiver) = (opened.sender, opened.receiver);
        for number in 0..10_000 {
            sender.send(number % 7).await.expect("the call goes on");
        }
        sender.close();
        assert_eq!(
            receiver.reply().await?,
            (0..10_000).map(|number| number % 7).sum::<u32>()
        );

        let opened = broker
            .call_named::<()>("double", ())
            .open_both::<u32, u32>()
            .await?;
        let (mut sender, mut receiver) = (opened.sender, opened.receiver);
        for number in [1, 2, 3] {
            sender.send(number).await.expect("the call goes on");
            assert_eq!(receiver.recv().await?, Some(2 * number));
        }
        // What is cut short does not end well.
        drop(sender);
        let error = timeout(LONG, receiver.recv())
            .await
            .expect("in time")
            .unwrap_err();
        assert_eq!(error.code(), Code::Cancelled);
        // A caller that goes ends the handler, and its place is free.
        for _ in 0..10 {
            let mut items = broker
                .call_named::<()>("count", (u32::MAX,))
                .open::<(u32, u32)>()
                .await?;
            assert_eq!(items.recv().await?.map(|(_, number)| number), Some(0));
        }
        assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
        Ok(())
    });
    outcome.await.expect("nothing fails");
}
