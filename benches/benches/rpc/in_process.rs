//! Calls within one process and thread, one after the other.

use std::time::Instant;

use bowline::rpc::{Caller, Error, MemoryBroker};
use bowline_benches::rounds::median;
use futures_util::StreamExt;
use tarpc::server::{BaseChannel, Channel};
use tarpc::{client, context, transport};
use tokio::sync::{mpsc, oneshot};

use crate::tarpc_echo::{Echo, EchoClient, Server};
use crate::{ROUNDS, bowline_echo, runtime, table};

const CALLS: usize = 100_000;
const PAYLOAD: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

/// Prints a table of them.
pub(crate) fn print() {
    let mut samples = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        samples[0].push(hop());
        samples[1].push(tarpc());
        samples[2].push(bowline());
    }
    let [hop, tarpc, bowline] = samples.map(|of_one| median(&of_one));
    println!(
        "| within one process, ns per call | mpsc and oneshot | tarpc | bowline | / hop | / tarpc | target |"
    );
    println!("|---|---|---|---|---|---|---|");
    println!(
        "| 32-byte echo | {hop:.0} | {tarpc:.0} | {bowline:.0} | {} | {} | <= 1 hop, 0.1 tarpc |",
        table::over(bowline, hop),
        table::over(bowline, tarpc),
    );
}

fn nanos_per_call(since: Instant) -> f64 {
    since.elapsed().as_nanos() as f64 / CALLS as f64
}

/// A task that answers what comes through a channel.
fn hop() -> f64 {
    runtime().block_on(async {
        let (sender, mut receiver) = mpsc::channel::<(String, oneshot::Sender<String>)>(1024);
        tokio::spawn(async move {
            while let Some((payload, answer)) = receiver.recv().await {
                let _ = answer.send(payload);
            }
        });
        let start = Instant::now();
        for _ in 0..CALLS {
            let (answer, reply) = oneshot::channel();
            sender.send((PAYLOAD.to_owned(), answer)).await.unwrap();
            assert_eq!(reply.await.unwrap(), PAYLOAD);
        }
        nanos_per_call(start)
    })
}

/// tarpc's channel in memory.
fn tarpc() -> f64 {
    runtime().block_on(async {
        let (ours, theirs) = transport::channel::unbounded();
        let requests = BaseChannel::with_defaults(theirs).execute(Server.serve());
        tokio::spawn(requests.for_each(|response| async {
            tokio::spawn(response);
        }));
        let client = EchoClient::new(client::Config::default(), ours).spawn();
        let start = Instant::now();
        for _ in 0..CALLS {
            let reply = client.echo(context::current(), PAYLOAD.to_owned()).await;
            assert_eq!(reply.unwrap(), PAYLOAD);
        }
        nanos_per_call(start)
    })
}

fn bowline() -> f64 {
    bowline_echo::root().block_on(async {
        MemoryBroker::new(bowline_echo::executor())
            .run(async |broker| -> Result<f64, Error> {
                let start = Instant::now();
                for _ in 0..CALLS {
                    let call = bowline_echo::echo(PAYLOAD.to_owned());
                    assert_eq!(broker.call(call).await?, PAYLOAD);
                }
                Ok(nanos_per_call(start))
            })
            .await
            .unwrap()
    })
}
