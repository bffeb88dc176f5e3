//! Notifications: none begins twice, none begins of which it was said that it never would, and none is
//! lost on a connection that lasted.

use std::time::Duration;

use bowline::concurrency::sleep;
use bowline::rpc::{Caller, Error, Registry, RegistryError, Retry, TcpBroker};
use bowline::sim::{Sim, always, sometimes};

use super::{HEAL, Log, SETTLE, insider};

/// Notifications in a row, and how many rows there are.
const ROW: u64 = 100;
const ROWS: u64 = 2;
/// The numbers of notifications, apart from those of calls.
const FIRST: u64 = 4_000_000;

/// `notice`, which the router has.
pub(super) fn serve(registry: &Registry) -> Result<(), RegistryError> {
    let notice = |(number,): (u64,)| async move {
        Sim::ghost(|log: &mut Log| log.notices.begin(number));
        sleep(Duration::from_millis(number % 3)).await;
    };
    registry.register_fn("notice", notice).map(drop)
}

/// Sends rows of them, each on a connection of its own.
pub(super) async fn notifies() -> Result<(), Error> {
    for row in 0..ROWS {
        let sent = insider(TcpBroker::caller()).run(async |broker| -> Result<(), Error> {
            let _ = broker.connect("router:15383").await;
            a_row(&broker, FIRST + row * ROW).await;
            Ok(())
        });
        sent.await?;
    }
    Ok(())
}

/// Whether the one connection of this broker is still the first.
fn lasted(broker: &TcpBroker) -> bool {
    let seen = broker.statistics();
    (seen.dialed, seen.lost, seen.ready) == (1, 0, 1)
}

async fn a_row(broker: &TcpBroker, first: u64) {
    let mut sent = Vec::new();
    for number in first..first + ROW {
        let notice = broker.notify_named("notice", (number,));
        // One whose deadline has passed at the router would not begin.
        let told = notice.no_deadline().retry(Retry::never()).await;
        Sim::ghost(|log: &mut Log| log.notices.check_told(number, &told));
        if told.is_ok() {
            sent.push(number);
        }
    }
    while lasted(broker) && !have_begun(&sent) {
        always!(
            "no-notice-is-lost",
            Sim::now() < HEAL + SETTLE,
            "from {first}"
        );
        sleep(Duration::from_millis(50)).await;
    }
    sometimes!("every notice came", lasted(broker));
}

fn have_begun(sent: &[u64]) -> bool {
    let begun = |log: &mut Log| {
        sent.iter()
            .all(|number| log.notices.began.contains_key(number))
    };
    Sim::ghost(begun)
}
