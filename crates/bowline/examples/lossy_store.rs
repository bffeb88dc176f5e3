//! A small store over datagrams, a bug in it that the simulator finds, and its mending.
//!
//! The client asks again where no answer comes, and the first server adds again what it is asked
//! again. Over a good link that is never seen; over a bad one some seeds show it, and each of them
//! shows it as often as it is run. The chapter *Testing in the simulator* of the guide tells the
//! story.
//!
//! `cargo run -p bowline --example lossy_store --all-features` runs it.

#[cfg(feature = "sim")]
#[allow(unreachable_pub, reason = "an application has it in a library")]
#[path = "lossy_store/service.rs"]
mod service;

fn main() -> Result<(), bowline::Error> {
    story::run()
}

#[cfg(not(feature = "sim"))]
mod story {
    pub(crate) fn run() -> Result<(), bowline::Error> {
        Err("build with `--all-features` for the simulator".into())
    }
}

#[cfg(feature = "sim")]
mod story {
    use crate::service::{serve, serve_each_once, teller};
    use bowline::sim::{Builder, FailureKind, Link, Sim};
    use std::io;
    use std::time::Duration;

    fn world<F>(serve: impl Fn(u16) -> F + 'static, link: Link) -> Builder
    where
        F: Future<Output = io::Result<()>> + 'static,
    {
        Sim::builder()
            .scenario("store")
            .host("store", move || serve(4000))
            .client("teller", teller)
            .default_link(link)
            .horizon(Duration::from_secs(600))
    }

    fn bad() -> Link {
        let latency = Duration::from_millis(1)..Duration::from_millis(45);
        Link::wan().latency(latency).loss(0.02)
    }

    pub(crate) fn run() -> Result<(), bowline::Error> {
        let tame = Sim::seeds(0..200).run(|_| world(serve, Link::lan()));
        let tame = tame.expect_err("it asks for more");
        println!("a good link: {tame}\n");
        assert_eq!(tame.never_true(), ["asked again"]);

        let found = Sim::seeds(0..200).run(|_| world(serve, bad()));
        let found = found.expect_err("it is found");
        println!("a bad link: {found}\n");
        let lowest = found.lowest().expect("a run failed");
        let kind = FailureKind::Assertion("counts once");
        assert_eq!(*lowest.kind(), kind);

        let again = world(serve, bad()).seed(lowest.seed());
        let again = again.record_choices(100_000).run();
        let again = again.expect_err("it fails again");
        assert_eq!(again.event_index(), lowest.event_index());
        let list = again.choices().clone();
        println!(
            "again, by {} choices: {}",
            list.as_slice().len(),
            again.message()
        );

        world(serve_each_once, bad()).replay(list).run()?;
        let mended = Sim::seeds(0..200).run(|_| world(serve_each_once, bad()))?;
        println!("mended: {} seeds go well", mended.seeds);
        Ok(())
    }
}
