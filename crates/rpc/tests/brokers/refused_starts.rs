//! Brokers that do not start, and what they say.

use std::time::Duration;

use bowline_backend::{Backend, time};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{Error, ErrorKind, Registry, Right, Secret, TcpBroker, TcpBrokerBuilder};

use crate::backends::{on_every_backend, registry};
use crate::wire::{Wire, over_every_wire};

fn serve(registry: Registry) -> TcpBrokerBuilder {
    TcpBroker::builder(AsyncExecutor::new(registry, 64)).listen("127.0.0.1:0")
}

over_every_wire! {
    // RG11
    async fn projects_that_differ_do_not_connect(wire: Wire) {
        wire.serve(registry()).run(async |server| -> Result<(), Error> {
            let address = server.endpoints()[0].clone();
            let other = wire.prepare(TcpBroker::caller().project("other")).connect(address.clone());
            let error = other.run(async |_| -> Result<(), Error> { Ok(()) }).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WrongProject, "{error}");
            let text = format!("no connection to {address}: the peer belongs to another project than \"other\"");
            assert_eq!(error.to_string(), text);
            let none = wire.prepare(TcpBroker::caller()).connect(address);
            let error = none.run(async |_| -> Result<(), Error> { Ok(()) }).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WrongProject, "{error}");
            assert!(error.to_string().ends_with("this side to none"), "{error}");
            Ok(())
        }).await.unwrap();
    }
}

on_every_backend! {
    async fn a_text_that_is_no_address_fails_the_start() {
        for text in ["127.0.0.1:99999", "", "example.org:http"] {
            for builder in [TcpBroker::caller().connect(text), TcpBroker::caller().listen(text)] {
                let began = time::now();
                let error = builder.run(async |_| -> Result<(), Error> { Ok(()) }).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                assert!(error.to_string().contains(text));
                if matches!(Backend::current(), Ok(Backend::Sim)) {
                    // Polls cost some of the time; a timer would take more.
                    assert!(time::now() - began < Duration::from_micros(100), "it waited");
                }
            }
        }
    }

    async fn secrets_and_rules_that_would_do_nothing_fail_the_start() {
        let secret = |n| Secret::new([n; 16]).unwrap();
        let serve = || serve(registry());
        let twice = [("a", secret(1)), ("b", secret(2)), ("a", secret(3))];
        for (builder, says) in [
            (serve().key_id("shop"), "the key id \"shop\" is that of a secret, and there is none"),
            (serve().keys(twice), "two secrets have the key id \"a\""),
            (serve().keys([("a", secret(1))]).key_id("a").secret(secret(2)), "two secrets have the key id \"a\""),
            (serve().allow("shop", "a*b", Right::Call), "a rule for \"shop\" is about \"a*b\": "),
        ] {
            let error = builder.run(async |_| -> Result<(), Error> { Ok(()) }).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().starts_with(says), "{error}");
        }
        let fits = serve().key_id("c").secret(secret(3)).keys([("a", secret(1)), ("b", secret(1))]);
        let fits = fits.allow("shop*", "a.*", Right::Call).allow("cert:CN=*.shop", "*", Right::Call);
        fits.run(async |_| -> Result<(), Error> { Ok(()) }).await.unwrap();
    }

    async fn a_project_that_is_too_long_fails_the_start() {
        for (length, fits) in [(255, true), (256, false)] {
            let project = "p".repeat(length);
            let registry = Registry::new(project.clone());
            for builder in [TcpBroker::caller().project(project), serve(registry)] {
                let outcome = builder.run(async |_| -> Result<(), Error> { Ok(()) }).await;
                let kind = outcome.map_err(|error| error.kind());
                assert_eq!(kind, if fits { Ok(()) } else { Err(ErrorKind::InvalidInput) });
            }
        }
    }

    async fn a_setting_that_is_the_registrys_is_not_ignored() {
        let fits = [serve(registry()).project("example"), serve(registry().strict()).strict()];
        let misused = [serve(registry()).project("other"), serve(registry()).strict()];
        for (builder, outcome) in fits.map(|it| (it, Ok(()))).into_iter().chain(misused.map(|it| (it, Err(ErrorKind::InvalidInput)))) {
            let run = builder.run(async |_| -> Result<(), Error> { Ok(()) }).await;
            assert_eq!(run.map_err(|error| error.kind()), outcome);
        }
    }
}
