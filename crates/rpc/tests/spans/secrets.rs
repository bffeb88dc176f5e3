//! What is logged where secrets are shared, and guessed.

use std::future::IntoFuture;
use std::pin::pin;
use std::time::Duration;

use bowline_concurrency::sleep;
use bowline_rpc::{Broker, Caller, Code, Error, ErrorKind, Right, Secret, TcpBroker};
use futures_util::future::{Either, select};

use crate::backends::{div, fall, on_every_backend, registry, within};
use crate::recorder::{everything, record};
use crate::wire::{Wire, over_every_wire};

const LONG: Duration = Duration::from_secs(60);
const RIGHT: [u8; 32] = *b"an unmistakable secret, of 32 b.";
const WRONG: [u8; 32] = *b"one as unmistakable, but another";

fn secret(bytes: [u8; 32]) -> Secret {
    Secret::new(bytes).expect("it is long enough")
}

/// Whether `text` has these bytes, as text, in numbers or in digits.
fn shows(text: &str, bytes: &[u8]) -> bool {
    let part = &bytes[3..15];
    let numbers = format!("{part:?}");
    let digits: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
    text.contains(&*String::from_utf8_lossy(part))
        || text.contains(&numbers[1..numbers.len() - 1])
        || text.to_lowercase().contains(&digits)
}

#[test]
fn what_is_shown_is_seen() {
    let hex: String = RIGHT.iter().map(|byte| format!("{byte:02X}")).collect();
    for text in [
        format!("{RIGHT:?}"),
        String::from_utf8_lossy(&RIGHT).into(),
        hex,
    ] {
        assert!(shows(&text, &RIGHT) && !shows(&text, &WRONG), "{text}");
    }
}

over_every_wire! {
    // A6
    async fn a_secret_is_in_no_log(wire: Wire) {
        record();
        within(|group| async move {
            let server = wire.serve(registry()).keys([("guest", secret(RIGHT))]).allow("guest", "*", Right::Call);
            let server = server.secret(secret(WRONG)).key_id("own").start(&group).await?;
            let guest = wire.client(&server).key_id("guest").secret(secret(RIGHT)).start(&group).await?;
            assert_eq!(guest.call(div(6, 3)).await.expect("it is let in"), 2);
            assert_eq!(guest.call(fall()).await.unwrap_err().code(), Code::Panic);
            for (id, bytes) in [("guest", WRONG), ("nobody", RIGHT)] {
                let guesses = wire.client(&server).key_id(id).secret(secret(bytes));
                let outcome = guesses.run(async |_| -> Result<(), Error> { Ok(()) }).await;
                assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::Unauthenticated));
            }
            // One that has no answer for a while: a warning, and what the server drains.
            let waits = guest.call_named::<()>("nothing", ()).timeout(LONG).into_future();
            let warned = pin!(async {
                while !everything().contains("calls wait for a peer") {
                    sleep(Duration::from_millis(10)).await;
                }
            });
            let warned = select(waits, warned).await;
            assert!(matches!(warned, Either::Right(_)), "nobody warns");
            drop(warned);
            server.drain(Duration::from_secs(5)).await;
            Ok(())
        }).await;
        let told = everything();
        // There is a log of all that.
        for part in ["rpc.call", "rpc.handle", "another secret", "no more attempts to connect", "calls wait for a peer"] {
            assert!(told.contains(part), "nothing of {part:?} in {told}");
        }
        for bytes in [RIGHT, WRONG] {
            assert!(!shows(&told, &bytes), "{told}");
        }
    }
}

on_every_backend! {
    // A6
    async fn a_secret_that_is_refused_is_in_no_log() {
        record();
        let builder = TcpBroker::caller().key_id("k".repeat(65)).secret(secret(RIGHT));
        let outcome = builder.run(async |_| -> Result<(), Error> { Ok(()) }).await;
        let error = outcome.expect_err("the id is too long");
        assert!(Secret::new(*b"unmistakable, s").is_err());
        assert!(!shows(&format!("{error:?} {}", everything()), &RIGHT));
        assert!(!everything().contains("unmistakable"));
    }
}
