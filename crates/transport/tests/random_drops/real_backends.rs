//! The same on the kernel's sockets and clock: no seed repeats such a run, but what it shows is real.

use std::time::Duration;

use bowline_backend::Backend;
use bowline_concurrency::timeout;
use bowline_transport::Shared;
use futures_util::StreamExt;
use futures_util::stream;

use crate::{Ends, halves, many_users, narrow, over, tcp, whole};

/// Runs of each test, and how many of them go on at once: they wait most of their time.
const RUNS: u64 = 200;
const AT_ONCE: usize = 60;

/// A hang is a failure with a name, not a stuck run.
const LIMIT: Duration = Duration::from_secs(120);

fn runs<F: Future<Output = ()>>(backend: Backend, one_run: impl Fn(u64) -> F) {
    backend.block_on(async {
        let runs = stream::iter(0..RUNS).map(one_run);
        let all = runs.buffer_unordered(AT_ONCE).collect::<()>();
        timeout(LIMIT, all).await.expect("no run hangs");
    });
}

async fn of_halves(number: u64) {
    if number.is_multiple_of(2) {
        let (here, there) = tcp().await;
        halves(over(here), over(there), Ends::Alone).await;
    } else {
        let (here, there) = narrow();
        halves(over(here), over(there), Ends::Alone).await;
    }
}

async fn of_the_whole(number: u64) {
    if number.is_multiple_of(2) {
        let (here, there) = tcp().await;
        whole(over(here), over(there)).await;
    } else {
        let (here, there) = narrow();
        whole(over(here), over(there)).await;
    }
}

async fn of_many_users(number: u64) {
    if number.is_multiple_of(2) {
        let (here, there) = tcp().await;
        many_users::many_users(Shared::new(over(here)), Shared::new(over(there))).await;
    } else {
        let (here, there) = narrow();
        many_users::many_users(Shared::new(over(here)), Shared::new(over(there))).await;
    }
}

macro_rules! on_every_backend {
    ($($(#[$gate:meta])* $case:ident: $run:path,)*) => {
        mod on_tokio { $($(#[$gate])* #[test] fn $case() { super::runs(bowline_backend::Backend::Tokio, $run); })* }
        mod on_smol { $($(#[$gate])* #[test] fn $case() { super::runs(bowline_backend::Backend::Smol, $run); })* }
        mod on_async_std { $($(#[$gate])* #[test] fn $case() { super::runs(bowline_backend::Backend::AsyncStd, $run); })* }
    };
}

// TR1
on_every_backend! {
    halves_lose_and_cut_nothing: super::of_halves,
    a_whole_loses_and_cuts_nothing: super::of_the_whole,
    many_users_lose_and_cut_nothing: super::of_many_users,
    clients_lose_and_cut_nothing: crate::many_users::of_clients,
    #[cfg(feature = "tls")]
    what_is_secure_is_not_lost_or_cut: crate::secure::one_run,
}
