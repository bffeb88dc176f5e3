//! Calls that handlers in children make.

use std::collections::BTreeSet;

use bowline_channel::Receiver;
use bowline_concurrency::{TaskGroup, sleep, task_group, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Caller, Certainty, Code, Context, Error, MemoryBroker, MethodDef, Registry, TcpBroker,
    TcpBrokerBuilder,
};

use crate::asking::{Asked, Here, UnsignedEcho, Versions, failed, here};
use crate::methods::{LONG, SOON, ended, pool};

/// A server with a pool, and a client that it may call.
async fn between<F>(registry: Registry, body: impl FnOnce(TcpBroker, TaskGroup<Error>) -> F + Send)
where
    F: Future<Output = Result<(), Error>> + Send,
{
    let outcome = task_group(|group: TaskGroup<Error>| async move {
        let server = TcpBroker::builder(pool(2)).listen("127.0.0.1:0");
        let server = server.start(&group).await?;
        let client = TcpBroker::builder(AsyncExecutor::new(registry, 64));
        let client = client
            .connect(server.local_addrs()[0])
            .start(&group)
            .await?;
        let outcome = body(client, group.clone()).await;
        group.cancel("done");
        outcome
    });
    outcome.await.expect("the case holds");
}

async fn asked(client: &TcpBroker, method: &'static str, n: i64) -> Result<Asked, Error> {
    Ok(client
        .call_named::<Asked>("ask", (method, n))
        .timeout(LONG)
        .await?)
}

pub(crate) async fn children_call_through_the_broker_of_their_parent() {
    between(here().registry, |client, _| async move {
        let (process, outcome) = asked(&client, "twice", 21).await?;
        assert_eq!(outcome, Ok(42));
        assert_ne!(process, std::process::id());
        let (_, outcome) = asked(&client, "process", 0).await?;
        assert_eq!(outcome, Ok(i64::from(std::process::id())));
        // The call of the child is nested in the one that it handles, and in no other.
        assert_eq!(asked(&client, "hops", 0).await?.1, Ok(1));
        // How it failed is said, and whether it ran.
        let outcome = asked(&client, "fail", 7).await?.1;
        assert_eq!(outcome, failed(Code::Application, Certainty::Executed));
        let outcome = asked(&client, "note", -1).await?.1;
        assert_eq!(outcome, failed(Code::BadArguments, Certainty::Refused));
        let outcome = asked(&client, "count_here", 3).await?.1;
        assert_eq!(outcome, failed(Code::Unsupported, Certainty::Refused));
        let now = client.call_named::<Asked>("ask_now", ("nowhere", 0));
        assert_eq!(
            now.await?.1,
            failed(Code::UnknownMethod, Certainty::NeverSent)
        );
        Ok(())
    })
    .await;
}

pub(crate) async fn calls_of_children_to_other_types_are_never_misread() {
    between(here().registry, |client, group| async move {
        let ask = || client.call_named::<Versions>("ask_versions", (7_u32,));
        assert_eq!(ask().timeout(LONG).await?, ([Ok(7), Ok(7)], Ok(7)));
        // Now the two peers of the parent declare it differently.
        let unsigned = Registry::new("example");
        unsigned.register_all([MethodDef::of::<UnsignedEcho>()])?;
        let other = TcpBroker::builder(AsyncExecutor::new(unsigned, 4));
        let server = client.dials()[0].endpoint.clone();
        let _other = other.connect(server).start(&group).await?;
        let mut seen = BTreeSet::new();
        while seen.len() < 4 {
            let (unsigned, signed) = ask().timeout(LONG).await?;
            for unsigned in unsigned {
                let unsigned = unsigned.expect("its types go with it");
                assert!([7, 1007].contains(&unsigned), "{unsigned}");
                seen.insert(("unsigned", unsigned.to_string()));
            }
            match signed {
                Ok(signed) => {
                    assert!([7, 1007].contains(&signed), "{signed}");
                    seen.insert(("signed", signed.to_string()));
                }
                // Until the child has heard of the other peer.
                Err(code) => assert_eq!(code, "WrongSchema"),
            }
        }
        Ok(())
    })
    .await;
}

pub(crate) async fn children_hear_of_methods_that_come_and_go() {
    between(here().registry, |client, group| async move {
        // The child is there before the method is.
        assert_eq!(asked(&client, "twice", 1).await?.1, Ok(2));
        let caller = client.clone();
        let waits = group.spawn_ok(async move { asked(&caller, "late", 3).await });
        let now = async || -> Result<_, Error> {
            let call = client.call_named::<Asked>("ask_now", ("late", 3));
            Ok(call.await?.1)
        };
        assert_eq!(
            now().await?,
            failed(Code::UnknownMethod, Certainty::NeverSent)
        );
        let late = Registry::new("example");
        late.register_fn("late", |(n,): (i64,)| async move { 3 * n })?;
        client.attach(&late)?;
        let waited = timeout(LONG, waits.join()).await.expect("it is found");
        assert_eq!(waited.expect("it is not cancelled")?.1, Ok(9));
        assert_eq!(now().await?, Ok(9));
        client.detach(&late);
        let gone = timeout(LONG, async {
            while now().await.is_ok_and(|outcome| outcome.is_ok()) {}
        });
        gone.await.expect("it is told");
        let outcome = now().await?;
        assert_eq!(
            outcome.map_err(|(code, _)| code),
            Err("UnknownMethod".to_owned())
        );
        Ok(())
    })
    .await;
}

/// Completes when the handler of this number was dropped; others may be before it.
async fn until_over(dropped: &Receiver<i64>, number: i64) {
    let over = async { while dropped.recv().await.expect("it says so") != number {} };
    timeout(LONG, over).await.expect("it is cancelled");
}

pub(crate) async fn calls_of_children_end_with_those_that_wait_for_them() {
    let Here {
        registry,
        began,
        dropped,
        ..
    } = here();
    between(registry, |client, group| async move {
        // The deadline is that of the first caller, over every process. A child starts first, which takes a busy
        // machine longer now and then: the call is made again with more time then.
        let mut patience = SOON;
        for attempt in 0.. {
            let call = client.call_named::<Asked>("ask", ("for_ever", attempt));
            let outcome = call.timeout(patience).await;
            let last = std::iter::from_fn(|| began.try_recv().ok()).last();
            let Some((_, left)) = last.filter(|(number, _)| *number == attempt) else {
                patience *= 2;
                assert!(patience < LONG, "it began never");
                continue;
            };
            match outcome {
                // The child was faster to say so than the client.
                Ok((_, outcome)) => {
                    assert_eq!(
                        outcome,
                        failed(Code::DeadlineExceeded, Certainty::MaybeExecuted)
                    )
                }
                outcome => {
                    let late = (Code::DeadlineExceeded, Certainty::MaybeExecuted);
                    assert_eq!(ended(outcome), late);
                }
            }
            assert!(left.is_some_and(|left| left <= patience), "{left:?}");
            until_over(&dropped, attempt).await;
            break;
        }
        // A caller that goes ends them too.
        let caller = client.clone();
        let call = group.spawn_ok(async move { asked(&caller, "for_ever", -1).await });
        let begun = timeout(LONG, began.recv()).await.expect("it begins");
        assert_eq!(begun.expect("it says so").0, -1);
        call.cancel("no longer wanted");
        until_over(&dropped, -1).await;
        Ok(())
    })
    .await;
    // Where the one who answers is lost, nobody knows whether it ran.
    let registry = Registry::new("example");
    registry
        .register_fn("vanish", |context: Context, (_,): (i64,)| async move {
            context.broker().expect("it is run by one").close();
            sleep(LONG).await;
            0_i64
        })
        .expect("it is a name");
    let outcome = task_group(|group: TaskGroup<Error>| async move {
        let server = TcpBroker::builder(pool(2)).listen("127.0.0.1:0");
        let server = server.start(&group).await?;
        let connected = |builder: TcpBrokerBuilder| builder.connect(server.local_addrs()[0]);
        let vanishes = TcpBroker::builder(AsyncExecutor::new(registry, 4));
        let _vanishes = connected(vanishes).start(&group).await?;
        let client = connected(TcpBroker::caller().project("example"));
        let client = client.start(&group).await?;
        let outcome = asked(&client, "vanish", 0).await?.1;
        assert_eq!(
            outcome.map_err(|(_, certainty)| certainty),
            Err("MaybeExecuted".to_owned())
        );
        group.cancel("done");
        Ok(())
    });
    outcome.await.expect("the case holds");
}

pub(crate) async fn items_and_notifications_of_children_pass_through_their_parent() {
    let Here {
        registry, noted, ..
    } = here();
    between(registry, |client, _| async move {
        let call = client.call_named::<Result<u32, (String, String)>>("ask_items", (10_000_u32,));
        assert_eq!(call.await?, Ok((0..10_000).sum()));
        let note = timeout(LONG, noted.recv()).await.expect("it comes");
        assert_eq!(note.expect("it is heard"), 10_000);
        Ok(())
    })
    .await;
}

pub(crate) async fn a_child_calls_back_into_its_pool_eight_deep() {
    let outcome = MemoryBroker::new(pool(1)).run(async |broker| -> Result<(), Error> {
        type Processes = Result<Vec<u32>, (String, String)>;
        let deeper = async |levels: u32| {
            let call = broker.call_named::<Processes>("deeper", (levels,));
            call.timeout(LONG).await
        };
        let mut processes = deeper(8).await?.expect("each has a child");
        assert_eq!(processes.len(), 9);
        processes.sort_unstable();
        processes.dedup();
        // Who waits for a call has its own child.
        assert_eq!(processes.len(), 9);
        let outcome = deeper(9).await?;
        assert_eq!(outcome, failed(Code::HopLimit, Certainty::NeverSent));
        Ok(())
    });
    outcome.await.expect("the case holds");
}
