//! Arguments of `#[bowline::rpc]` functions may have any name.

#![cfg(feature = "tokio")]

use bowline::backend::Backend;
use bowline::concurrency::Root;
use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{Caller, Context, MemoryBroker, Registry};

#[bowline::rpc]
async fn shadowing(ctx: Context, context: i64, body: i64, f: i64) -> i64 {
    assert!(!ctx.is_cancelled());
    context * 100 + body * 10 + f
}

#[bowline::rpc]
fn plain(context: i64, output: i64) -> i64 {
    context * 10 + output
}

#[test]
fn an_argument_may_be_called_context() {
    let outcome = Root::new().backend(Backend::Tokio).block_on(async {
        let registry = Registry::new("example");
        registry.register(shadowing)?;
        registry.register(plain)?;
        let broker = MemoryBroker::new(AsyncExecutor::new(registry, 1));
        broker
            .run(async |broker| -> Result<(), bowline::Error> {
                assert_eq!(broker.call(shadowing(1, 2, 3)).await?, 123);
                assert_eq!(broker.call(plain(4, 5)).await?, 45);
                Ok(())
            })
            .await?;
        assert_eq!(shadowing(1, 2, 3).await, 123);
        Ok::<_, bowline::Error>(())
    });
    outcome.unwrap();
}
