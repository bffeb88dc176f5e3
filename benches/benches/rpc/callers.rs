//! Callers as tasks of tokio.

use std::time::Instant;

use crate::{Latencies, Work, elapsed};

/// Calls `call` with each of `clients` from as many tasks as `work` has calls in flight.
pub(crate) async fn drive<C, F>(
    clients: &[C],
    work: Work,
    call: impl Fn(C) -> F + Clone + Send + 'static,
) -> Latencies
where
    C: Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let each = work.calls / work.in_flight;
    let mut callers = Vec::with_capacity(clients.len() * work.in_flight);
    for client in clients {
        for _ in 0..work.in_flight {
            let (client, call) = (client.clone(), call.clone());
            callers.push(tokio::spawn(async move {
                let mut latencies = Vec::with_capacity(each);
                for _ in 0..each {
                    let start = Instant::now();
                    call(client.clone()).await;
                    latencies.push(elapsed(start));
                }
                latencies
            }));
        }
    }
    let mut all = Vec::with_capacity(clients.len() * work.calls);
    for caller in callers {
        all.extend(caller.await.expect("a caller that ended"));
    }
    all
}
