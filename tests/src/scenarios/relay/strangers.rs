//! Those who do not have the secret: nobody lets them in, and nothing they ask for begins.

use std::time::Duration;

use bowline::concurrency::sleep;
use bowline::rpc::{Caller, Certainty, Error, ErrorKind, Retry, Secret, TcpBroker};
use bowline::sim::{Sim, always, eventually, sometimes};

use super::{HEAL, KEY_ID, Log, NoAnswer, PROJECT, SETTLE, secret};

/// The numbers of their calls, apart from those of others.
const FIRST: u64 = 8_000_000;
/// Another secret under the id of the right one, the right one under another, and none.
const KINDS: u64 = 3;

/// Tries until each kind was told that it is none of them.
pub(super) async fn try_to_call() -> Result<(), Error> {
    eventually!("strangers are told", HEAL + SETTLE, || {
        Sim::ghost(|log: &mut Log| log.strangers_told == KINDS)
    });
    let mut call = FIRST;
    for kind in 0..KINDS {
        while !is_told(kind, call).await? {
            call += 1;
            sleep(Duration::from_millis(100)).await;
        }
        call += 1;
        Sim::ghost(|log: &mut Log| log.strangers_told += 1);
    }
    sometimes!("strangers were told", true);
    Ok(())
}

async fn is_told(kind: u64, call: u64) -> Result<bool, Error> {
    let builder = TcpBroker::caller()
        .project(PROJECT)
        .allow_insecure_network();
    let other = || Secret::new(*b"what somebody else shares").expect("it is long enough");
    let builder = match kind {
        0 => builder.key_id(KEY_ID).secret(other()),
        1 => builder.key_id("outsider").secret(secret()),
        _ => builder,
    };
    builder
        .run(async |broker| -> Result<bool, Error> {
            let connected = broker.connect("router:15383").await;
            always!("strangers-stay-out", connected.is_err());
            Sim::note("call", call);
            let relay = broker.call_named::<Result<u64, NoAnswer>>("relay", (call,));
            let relay = relay.timeout(Duration::from_secs(1));
            let outcome = relay.retry(Retry::never()).await;
            Sim::note("outcome", call);
            let told = outcome.as_ref().map_err(|error| error.certainty());
            let nothing = told == Err(Certainty::NeverSent);
            always!("strangers-ask-for-nothing", nothing, "{outcome:?}");
            Sim::ghost(|log: &mut Log| log.relay.check(call, &outcome));
            let refused = |error: Error| error.kind() == ErrorKind::Unauthenticated;
            Ok(connected.is_err_and(refused))
        })
        .await
}
