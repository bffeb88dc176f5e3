//! Methods of which only so many handlers run at once: who waits for one holds up nobody else.

use std::future::IntoFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_channel::{Receiver, Sender, bounded};
use bowline_concurrency::{TaskGroup, sleep, task_group, timeout, yield_now};
use bowline_rpc::executor::{AsyncExecutor, Executor, ThreadPoolExecutor};
use bowline_rpc::{
    Call, CallError, Caller, Context, DeclaredName, Error, MemoryBroker, MethodSpec, NoError,
    Registry, current_broker,
};

use crate::backends::on_every_backend;
use crate::held::LONG;
use crate::made::Made;

/// What the handlers did.
#[derive(Default)]
struct Seen {
    began: Mutex<Vec<u32>>,
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A call of a method of which so many handlers run at once.
#[derive(Debug)]
struct Few<const MOST: u32>(u32);

impl<const MOST: u32> Call for Few<MOST> {
    type Args = (u32,);
    type Reply = u32;
    type Error = NoError;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::explicit(match MOST {
        1 => "one",
        _ => "few",
    });
    const SPEC: MethodSpec = MethodSpec::new().concurrency(MOST);

    fn into_args(self) -> Self::Args {
        (self.0,)
    }

    fn from_args((number,): Self::Args) -> Self {
        Few(number)
    }

    async fn run(self, context: Context) -> Result<u32, NoError> {
        let seen = context.state::<[Arc<Seen>; 2]>().expect("it is there");
        let seen = &seen[usize::from(MOST > 1)];
        seen.began.lock().unwrap().push(self.0);
        let now = seen.now.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(now, Ordering::SeqCst);
        let _one_less = OneLess(seen.clone());
        for _ in 0..self.0 % 4 {
            yield_now().await;
        }
        Ok(self.0)
    }
}

struct OneLess(Arc<Seen>);

impl Drop for OneLess {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

fn one(number: u32) -> Few<1> {
    Few(number)
}

fn few(number: u32) -> Few<2> {
    Few(number)
}

type Gate = (Sender<()>, Receiver<()>);

/// `one` and `few`; `outer`, which says that it began, waits, and calls `one` if it is to; and `either`,
/// which calls one of the two.
fn registry(began: &Gate, go_on: &Gate) -> Registry {
    let registry = Registry::new("example");
    registry.register(one).unwrap();
    registry.register(few).unwrap();
    let (began, go_on) = (began.0.clone(), go_on.1.clone());
    registry
        .register_fn("outer", move |(calls,): (bool,)| {
            let (began, go_on) = (began.clone(), go_on.clone());
            async move {
                let _ = began.send(()).await;
                let _ = go_on.recv().await;
                if !calls {
                    return true;
                }
                let broker = current_broker().expect("it runs");
                broker.call(one(7)).await.is_ok_and(|reply| reply == 7)
            }
        })
        .unwrap();
    registry
        .register_fn("either", |(number,): (u32,)| async move {
            let broker = current_broker().expect("it runs");
            let replied = match number % 2 {
                0 => broker.call(one(number)).await,
                _ => broker.call(few(number)).await,
            };
            replied.is_ok_and(|reply| reply == number)
        })
        .unwrap();
    registry
}

async fn waiting(executor: &impl Executor, jobs: usize) {
    let enough = async {
        while executor.capacity().waiting != jobs {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, enough).await.expect("they come and go");
}

/// Calls `one`, with these priorities, while `outer` has the only place; what `one` began with.
async fn behind_outer<E: Made + Stateful>(calls: bool, priorities: [u8; 2]) -> Vec<u32> {
    let (began, go_on) = (bounded(1), bounded(1));
    let seen = [Arc::new(Seen::default()), Arc::default()];
    let executor = E::made(registry(&began, &go_on), 1, 8).stated(seen.clone());
    MemoryBroker::new(executor.clone())
        .run(async |broker| -> Result<(), Error> {
            task_group(|group: TaskGroup<CallError>| async move {
                let (b, outer) = (broker.clone(), "outer");
                let outer = group.spawn(async move { b.call_named::<bool>(outer, (calls,)).await });
                let _ = began.1.recv().await;
                let mut waits = Vec::new();
                for (priority, number) in priorities.into_iter().zip(1..) {
                    let b = broker.clone();
                    waits.push(group.spawn_ok(async move {
                        b.call(one(number)).priority(priority).await.is_ok()
                    }));
                    waiting(&executor, waits.len()).await;
                }
                let _ = go_on.0.send(()).await;
                assert_eq!(outer.join().await.ok(), Some(true), "its call is answered");
                for call in waits {
                    assert_eq!(call.join().await.ok(), Some(true));
                }
                Ok(())
            })
            .await
            .expect("nobody is cancelled");
            Ok(())
        })
        .await
        .unwrap();
    seen[0].began.lock().unwrap().clone()
}

/// Executors whose handlers find a value.
trait Stateful {
    fn stated(self, value: [Arc<Seen>; 2]) -> Self;
}

impl Stateful for AsyncExecutor {
    fn stated(self, value: [Arc<Seen>; 2]) -> Self {
        self.state(value)
    }
}

impl Stateful for ThreadPoolExecutor {
    fn stated(self, value: [Arc<Seen>; 2]) -> Self {
        self.state(value)
    }
}

on_every_backend! {
    // P5, RG17
    async fn a_nested_call_passes_calls_of_its_method_that_wait_for_the_place_of_its_parent() {
        for began in [behind_outer::<AsyncExecutor>(true, [4, 4]).await, behind_outer::<ThreadPoolExecutor>(true, [4, 4]).await] {
            assert_eq!(began, [7, 1, 2]);
        }
    }

    // RG17
    async fn a_call_of_a_higher_priority_passes_those_of_its_method_that_wait() {
        assert_eq!(behind_outer::<AsyncExecutor>(false, [0, 7]).await, [2, 1]);
        assert_eq!(behind_outer::<AsyncExecutor>(false, [4, 4]).await, [1, 2]);
    }

    // RG17
    async fn no_more_of_a_method_run_than_it_says_and_all_are_answered() {
        let gate = bounded(1);
        let seen = [Arc::new(Seen::default()), Arc::default()];
        let executor = AsyncExecutor::new(registry(&gate, &gate), 5).state(seen.clone());
        MemoryBroker::new(executor.clone()).run(async |broker| -> Result<(), Error> {
            task_group(|group: TaskGroup<CallError>| async move {
                let mut calls = Vec::new();
                for number in 0..300_u32 {
                    let broker = broker.clone();
                    // Of three methods, at all priorities; each seventh is given up at some moment.
                    let mixed = number.wrapping_mul(2_654_435_761) >> 16;
                    let priority = u8::try_from(mixed % 8).expect("it is small");
                    calls.push(group.spawn_ok(async move {
                        let call = async {
                            match mixed % 3 {
                                0 => broker.call(one(number)).priority(priority).await.is_ok(),
                                1 => broker.call(few(number)).priority(priority).await.is_ok(),
                                _ => broker.call_named::<bool>("either", (number,)).priority(priority).await.is_ok_and(|it| it),
                            }
                        };
                        if number % 7 > 0 {
                            return call.await;
                        }
                        let mut call = Box::pin(call.into_future());
                        for _ in 0..mixed % 16 {
                            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx).is_ready()));
                            if polled.await {
                                break;
                            }
                            yield_now().await;
                        }
                        true
                    }));
                }
                for call in calls {
                    let answered = timeout(LONG, call.join()).await.expect("none waits for ever");
                    assert_eq!(answered.ok(), Some(true));
                }
                Ok(())
            }).await.expect("nobody is cancelled");
            Ok(())
        }).await.unwrap();
        let capacity = executor.capacity();
        assert_eq!((capacity.running, capacity.waiting), (0, 0));
        for (seen, most) in seen.iter().zip([1, 2]) {
            assert_eq!(seen.most.load(Ordering::SeqCst), most);
        }
    }
}
