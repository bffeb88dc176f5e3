//! What goes wrong in a program's `main` becomes [`bowline::Error`] with `?`.

#![cfg(feature = "tokio")]

use std::future::Future;
use std::time::Duration;

use bowline::Error;
use bowline::backend::Backend;
use bowline::backend::net::{Query, resolve};
use bowline::channel::bounded;
use bowline::concurrency::sync::Queue;
use bowline::concurrency::{Retry, Root, Started, TaskGroup, sleep_forever, task_group, timeout};

fn on_tokio(main: impl Future<Output = Result<(), Error>>) -> Error {
    let ended = Root::new().backend(Backend::Tokio).block_on(main);
    ended.expect_err("the main was to fail")
}

#[test]
fn a_group_of_the_users_own_error() {
    let error = on_tokio(async {
        let sum = task_group(async |group: TaskGroup<std::num::ParseIntError>| {
            group.spawn(async { "seven".parse::<u8>() });
            sleep_forever().await;
            Ok(0)
        })
        .await?;
        unreachable!("{sum}");
    });
    assert!(error.to_string().contains("invalid digit"), "{error}");
    type Found = bowline::concurrency::GroupError<std::num::ParseIntError>;
    let found = error.downcast_ref::<Found>().expect("kept whole");
    assert_eq!(found.children().len(), 1);
}

#[test]
fn a_group_within_a_group() {
    let error = on_tokio(async {
        task_group(async |_: TaskGroup<Error>| {
            task_group(async |_: TaskGroup<Error>| Err::<(), Error>("deep down".into())).await?;
            Ok(())
        })
        .await?;
        Ok(())
    });
    let text = "task group failed: body: task group failed: body: deep down";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_group_that_has_ended() {
    let error = on_tokio(async {
        let ended = task_group(async |group: TaskGroup<Error>| Ok(group)).await?;
        ended.try_spawn(async { Ok(()) })?;
        Ok(())
    });
    assert_eq!(error.to_string(), "the task group has ended");
}

#[test]
fn a_child_that_does_not_start_and_numbers_that_make_no_sense() {
    let error = on_tokio(async {
        task_group(async |group: TaskGroup<Error>| {
            let start = async |_: Started<u16>| Err::<(), Error>("the port is taken".into());
            group.start(start).await?;
            Ok(())
        })
        .await?;
        Ok(())
    });
    assert!(error.to_string().contains("the port is taken"), "{error}");

    let error = on_tokio(async {
        Queue::<u8>::bounded(0)?;
        Ok(())
    });
    assert!(error.to_string().contains("capacity"), "{error}");

    let error = on_tokio(async {
        let refuse = async |_| Err::<(), Error>("not yet".into());
        Ok(Retry::attempts(1).run(refuse).await?)
    });
    assert_eq!(error.to_string(), "after 1 attempts: not yet");
}

#[test]
fn a_timeout_a_channel_and_a_name() {
    let error = on_tokio(async {
        timeout(Duration::ZERO, sleep_forever()).await?;
        Ok(())
    });
    assert!(
        error
            .downcast_ref::<bowline::concurrency::Elapsed>()
            .is_some()
    );

    let error = on_tokio(async {
        let (sender, receiver) = bounded(1);
        drop(receiver);
        sender.send(7).await?;
        Ok(())
    });
    let found = error.downcast_ref::<bowline::channel::SendError<i32>>();
    assert_eq!(found.expect("the value is kept").0, 7);

    let error = on_tokio(async {
        resolve(Query::host("", 80)).await?;
        Ok(())
    });
    let found = error.downcast_ref::<bowline::backend::net::ResolveError>();
    assert!(found.is_some(), "{error}");
}
