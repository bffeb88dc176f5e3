//! What the errors of calls say, over every kind of stream on every backend.

use std::time::Duration;

use bowline_rpc::{CallError, Caller, Code};

use crate::backends::{div, registry, within};
use crate::wire::{Wire, over_every_wire};

const SOON: Duration = Duration::from_millis(50);

over_every_wire! {
    // BR9
    async fn an_error_names_its_method_and_says_what_that_failed_with(wire: Wire) {
        within(|group| async move {
            let server = wire.serve(registry()).start(&group).await?;
            let client = wire.client(&server).start(&group).await?;

            let error = client.call(div(7, 0)).await.unwrap_err();
            assert_eq!(error.method(), "example.shop.math.div");
            assert_eq!(
                error.to_string(),
                "example.shop.math.div: the method failed: ByZero { dividend: 7 }"
            );

            let error = client.call_named::<()>("slow", ()).timeout(SOON).await.unwrap_err();
            assert_eq!(error.code(), Code::DeadlineExceeded);
            assert_eq!(
                error.to_string(),
                "slow: the deadline of the call passed: its caller gave it 50ms"
            );

            let error = client.call_named::<()>("nothing", ()).fail_fast().await.unwrap_err();
            assert!(error.to_string().starts_with("nothing: "), "{error}");

            let error = client.call_named::<i64>("add", (1, 2)).metadata("k", vec![7; 100_000]);
            let error: CallError = error.await.unwrap_err();
            assert_eq!(error.code(), Code::TooLarge);
            assert!(error.to_string().contains("a value of 100000"), "{error}");

            let error = client.call_named::<i64>("add", ()).idempotency_key(Vec::new());
            let error = error.await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "add: the arguments do not fit: an idempotency key of 0 bytes; it has 1 to 64"
            );
            Ok(())
        })
        .await;
    }
}
