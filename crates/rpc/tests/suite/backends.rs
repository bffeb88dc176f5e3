//! One test per backend of each case, and the methods the cases call.

use std::pin::Pin;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_concurrency::{Root, TaskGroup, task_group};
use bowline_rpc::{Call, Context, DeclaredName, Error, MethodSpec, NoError, Registry};
use serde::{Deserialize, Serialize};

/// `async fn name() { .. }` becomes `name::tokio`, `name::smol`, `name::async_std`, `name::sim`.
macro_rules! on_every_backend {
    ($($(#[$attribute:meta])* async fn $name:ident() $body:block)*) => {
        $(
            $(#[$attribute])*
            mod $name {
                use super::*;

                async fn case() $body

                #[test]
                fn tokio() {
                    $crate::backends::run(bowline_backend::Backend::Tokio, case());
                }

                #[test]
                fn smol() {
                    $crate::backends::run(bowline_backend::Backend::Smol, case());
                }

                #[test]
                fn async_std() {
                    $crate::backends::run(bowline_backend::Backend::AsyncStd, case());
                }

                #[test]
                fn sim() {
                    $crate::backends::run(bowline_backend::Backend::Sim, case());
                }
            }
        )*
    };
}
pub(crate) use on_every_backend;

pub(crate) fn run(backend: Backend, case: impl Future<Output = ()>) {
    // Of one type, so that the runtimes are compiled once and not for every case.
    let case: Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(case);
    Root::new().backend(backend).block_on(case);
}

/// A call of `div`, as the attribute would make it.
#[derive(Debug)]
pub(crate) struct Div(pub(crate) i64, pub(crate) i64);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DivError {
    ByZero { dividend: i64 },
}

impl Call for Div {
    type Args = (i64, i64);
    type Reply = i64;
    type Error = DivError;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::automatic("shop::math", "div", "00");
    const SPEC: MethodSpec = MethodSpec::new();

    fn into_args(self) -> Self::Args {
        (self.0, self.1)
    }

    fn from_args((dividend, divisor): Self::Args) -> Self {
        Div(dividend, divisor)
    }

    async fn run(self, _: Context) -> Result<i64, DivError> {
        let Div(dividend, divisor) = self;
        dividend
            .checked_div(divisor)
            .ok_or(DivError::ByZero { dividend })
    }
}

/// As the attribute leaves it: a function whose call is a value.
pub(crate) fn div(dividend: i64, divisor: i64) -> Div {
    Div(dividend, divisor)
}

/// A call that always panics.
#[derive(Debug)]
pub(crate) struct Fall;

impl Call for Fall {
    type Args = ();
    type Reply = ();
    type Error = NoError;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("fall");
    const SPEC: MethodSpec = MethodSpec::new().idempotent();

    fn into_args(self) {}

    fn from_args((): ()) -> Self {
        Fall
    }

    async fn run(self, _: Context) -> Result<(), NoError> {
        panic!("as it should")
    }
}

pub(crate) fn fall() -> Fall {
    Fall
}

/// `div`, `fall`, `mul` (blocking), `add`, `slow` (never ends by itself).
pub(crate) fn registry() -> Registry {
    let registry = Registry::new("example");
    registry.register(div).unwrap();
    registry.register(fall).unwrap();
    registry
        .register_blocking("mul", |(a, b, c): (i64, i64, i64)| a * b * c)
        .unwrap();
    registry
        .register_fn("add", |(a, b): (i64, i64)| async move { a + b })
        .unwrap();
    registry
        .register_fn("slow", |(): ()| async {
            bowline_concurrency::sleep(Duration::from_secs(3600)).await;
        })
        .unwrap();
    registry
}

/// Runs `body` with a group, which is cancelled then.
pub(crate) async fn within<F>(body: impl FnOnce(TaskGroup<Error>) -> F + Send)
where
    F: Future<Output = Result<(), Error>> + Send,
{
    task_group(|group: TaskGroup<Error>| async move {
        let outcome = body(group.clone()).await;
        group.cancel("done");
        outcome
    })
    .await
    .unwrap();
}
