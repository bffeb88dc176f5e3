//! What a child costs that runs in the task of its parent, from its spawn until it has ended.

use crate::bodies::{BURST, SUM, per_child};
use bowline::concurrency::scope;
use futures_concurrency::future::FutureGroup;
use futures_util::StreamExt;
use std::hint::black_box;

pub(crate) fn joined() -> f64 {
    per_child!(async {
        let sum = scope::<_, (), _, _>(|scope| async move {
            let handles: Vec<_> = (0..BURST)
                .map(|n| scope.spawn_ok(async move { n }))
                .collect();
            let mut sum = 0;
            for handle in handles {
                sum += handle.join().await.expect("it does not fail");
            }
            Ok(sum)
        });
        assert_eq!(sum.await.ok(), Some(SUM));
    })
}

pub(crate) fn unjoined() -> f64 {
    per_child!(async {
        let result = scope::<_, (), _, _>(|scope| async move {
            for n in 0..BURST {
                scope.spawn_ok(async move { black_box(n) });
            }
            Ok(())
        });
        assert!(result.await.is_ok());
    })
}

pub(crate) fn moro() -> f64 {
    per_child!(async {
        let sum = moro::async_scope!(|scope| {
            let handles: Vec<_> = (0..BURST).map(|n| scope.spawn(async move { n })).collect();
            let mut sum = 0;
            for handle in handles {
                sum += handle.await;
            }
            sum
        });
        assert_eq!(sum.await, SUM);
    })
}

pub(crate) fn future_group() -> f64 {
    per_child!(async {
        let mut group = FutureGroup::new();
        for n in 0..BURST {
            group.insert(async move { n });
        }
        let mut sum = 0;
        while let Some(n) = group.next().await {
            sum += n;
        }
        assert_eq!(sum, SUM);
    })
}
