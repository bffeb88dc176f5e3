//! How many steps the tree takes for something, for tests: what walks through it locks each node on
//! its way.

use crate::per_thread::per_thread;
use std::cell::Cell;

per_thread! {
    static TAKEN: Cell<u64> = Cell::new(0);
}

/// A node was locked.
pub(super) fn note() {
    let _ = TAKEN.try_with(|taken| taken.set(taken.get() + 1));
}

/// The steps that this thread takes in `f`.
pub(super) fn during(f: impl FnOnce()) -> u64 {
    let before = TAKEN.get();
    f();
    TAKEN.get() - before
}

mod tests {
    use super::during;
    use crate::{
        CancelScope, Root, checkpoint, gather, on_cancel, sleep_forever, task_group, yield_now,
    };
    use bowline_backend::Backend;
    use futures_util::future::{BoxFuture, FutureExt, join, join_all, poll_immediate};

    type Body = BoxFuture<'static, ()>;

    fn waits() -> Body {
        async { match sleep_forever().await {} }.boxed()
    }

    fn cleans_up(body: Body) -> Body {
        async {
            let _guard = on_cancel(|_| async {});
            body.await;
        }
        .boxed()
    }

    fn cleans_up_slowly(body: Body) -> Body {
        async {
            let _guard = on_cancel(|_| checkpoint());
            body.await;
        }
        .boxed()
    }

    fn scope(body: Body) -> Body {
        async { _ = CancelScope::new().run(body).await }.boxed()
    }

    fn group(body: Body) -> Body {
        async { _ = task_group::<(), (), _, _>(|_| body.map(Ok)).await }.boxed()
    }

    fn nested(around: impl Fn(Body) -> Body, count: usize) -> Body {
        (0..count).fold(waits(), |body, _| around(body))
    }

    fn joined(around: impl Fn(Body) -> Body, count: usize) -> Body {
        join_all((0..count).map(|_| around(waits())))
            .map(drop)
            .boxed()
    }

    fn gathered(around: impl Fn(Body) -> Body, count: usize) -> Body {
        let all = (0..count).map(|_| around(waits()).map(Ok::<_, ()>));
        let all: Vec<_> = all.collect();
        async { _ = gather(all).await }.boxed()
    }

    fn spawned(around: impl Fn(Body) -> Body, count: usize) -> Body {
        let all: Vec<Body> = (0..count).map(|_| around(waits())).collect();
        let running = task_group::<(), (), _, _>(|group| async move {
            for body in all {
                group.spawn_ok(body);
            }
            Ok(())
        });
        async { _ = running.await }.boxed()
    }

    async fn cancel(body: Body) {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let cancels = async {
            for _ in 0..3 {
                yield_now().await;
            }
            handle.cancel("stop");
        };
        let (ended, ()) = join(scope.run(body), cancels).await;
        assert!(ended.cause().is_some());
    }

    /// Foreign code drops it while it waits.
    async fn lose(mut body: Body) {
        assert!(poll_immediate(&mut body).await.is_none());
    }

    /// Asserts that twice as many take twice as many steps.
    fn is_linear(what: &str, body: impl Fn(usize) -> Body) {
        const COUNT: usize = 200;
        let root = || Root::new().backend(Backend::Sim);
        for lost in [false, true] {
            let count_steps = |count: usize| {
                during(|| {
                    let body = body(count);
                    match lost {
                        false => root().block_on(cancel(body)),
                        true => root().block_on(lose(body)),
                    }
                })
            };
            // What another test of this process cancels meanwhile makes for a second look.
            let steps = |count| (0..10).map(|_| count_steps(count)).min().unwrap_or(0);
            let (once, twice) = (steps(COUNT), steps(2 * COUNT));
            assert!(
                twice <= 2 * once + once / 20,
                "{what}, lost {lost}: {once} steps for {COUNT}, {twice} for twice as many"
            );
        }
    }

    // CS37, CS38, CS45
    #[test]
    #[expect(clippy::disallowed_methods, reason = "it needs a deep stack")]
    fn what_is_cancelled_or_dropped_takes_as_many_steps_as_it_has_members() {
        let on_a_deep_stack = || {
            for (name, region) in [("scopes", scope as fn(Body) -> Body), ("groups", group)] {
                let cleaning = move |body| region(cleans_up(body));
                let cleaning_slowly = move |body| region(cleans_up_slowly(body));
                is_linear(&format!("nested {name}"), |n| nested(region, n));
                is_linear(&format!("nested {name}, finalised"), |n| {
                    nested(cleaning, n)
                });
                is_linear(&format!("{name} joined"), |n| joined(cleaning, n));
                is_linear(&format!("{name} joined, slow"), |n| {
                    joined(cleaning_slowly, n)
                });
                is_linear(&format!("{name} gathered"), |n| gathered(cleaning, n));
                is_linear(&format!("{name} gathered, slow"), |n| {
                    gathered(cleaning_slowly, n)
                });
                is_linear(&format!("{name} spawned"), |n| spawned(cleaning, n));
                is_linear(&format!("{name} spawned, slow"), |n| {
                    spawned(cleaning_slowly, n)
                });
            }
        };
        let thread = std::thread::Builder::new().stack_size(256 << 20);
        let thread = thread.spawn(on_a_deep_stack).expect("a thread starts");
        thread.join().expect("it is linear");
    }
}
