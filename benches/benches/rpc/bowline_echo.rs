//! The same echo through Bowline: a typed call over a `TcpBroker` on tokio.

use std::time::Instant;

use bowline::backend::Backend;
use bowline::backend::task::{RunOptions, Threads};
use bowline::concurrency::{Root, task_group};
use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{Broker, Caller, Error, Registry, TcpBroker};

use bowline_benches::server_process::say_port;
use futures_util::{Stream, stream};

use crate::streaming::ITEM;
use crate::{Latencies, Work, elapsed};

#[bowline::rpc(name = "echo")]
pub(crate) async fn echo(payload: String) -> String {
    payload
}

#[bowline::rpc(name = "items")]
pub(crate) fn items(count: u64) -> impl Stream<Item = [u8; ITEM]> {
    stream::iter((0..count).map(|_| [7; ITEM]))
}

/// One thread of tokio.
pub(crate) fn root() -> Root {
    let options = RunOptions::default().threads(Threads::One);
    Root::new().backend(Backend::Tokio).options(options)
}

/// Runs one call at a time and more.
pub(crate) fn executor() -> AsyncExecutor {
    let registry = Registry::new("bench");
    registry.register(echo).unwrap();
    registry.register(items).unwrap();
    AsyncExecutor::new(registry, 1024)
}

pub(crate) fn serve() {
    root().block_on(async {
        TcpBroker::builder(executor())
            .listen("127.0.0.1:0")
            .run(async |server| -> Result<(), Error> {
                say_port(server.local_addrs()[0].port());
                std::future::pending().await
            })
            .await
            .unwrap();
    });
}

/// Runs `body` with so many brokers of one connection each.
async fn with_clients<T, F>(
    port: u16,
    connections: usize,
    body: impl FnOnce(Vec<TcpBroker>) -> F + Send,
) -> T
where
    T: Send,
    F: Future<Output = Result<T, Error>> + Send,
{
    let clients = task_group(async |group| {
        let mut clients = Vec::with_capacity(connections);
        for _ in 0..connections {
            let client = TcpBroker::caller()
                .project("bench")
                .connect(format!("127.0.0.1:{port}"));
            clients.push(client.start(&group).await?);
        }
        let came_to = body(clients.clone()).await?;
        for client in clients {
            client.close();
        }
        Ok::<_, Error>(came_to)
    });
    clients.await.expect("no call fails")
}

pub(crate) fn call(port: u16, work: Work) -> Latencies {
    let each = work.calls / work.in_flight;
    root().block_on(with_clients(port, work.connections, async move |clients| {
        let callers = task_group(async |group| {
            let mut callers = Vec::with_capacity(work.connections * work.in_flight);
            for client in &clients {
                for _ in 0..work.in_flight {
                    let (client, payload) = (client.clone(), work.payload());
                    callers.push(group.spawn(async move {
                        let mut latencies = Vec::with_capacity(each);
                        for _ in 0..each {
                            let start = Instant::now();
                            let reply = client.call(echo(payload.clone())).await?;
                            assert_eq!(reply, payload);
                            latencies.push(elapsed(start));
                        }
                        Ok::<_, Error>(latencies)
                    }));
                }
            }
            let mut all = Vec::with_capacity(work.connections * work.calls);
            for caller in callers {
                all.extend(caller.join().await.expect("a caller that ended"));
            }
            Ok::<_, Error>(all)
        });
        Ok(callers.await.expect("no call fails"))
    }))
}

/// Calls `up` while so many connections that have made a call are idle.
pub(crate) fn idle(port: u16, connections: usize, up: impl FnOnce() + Send) {
    root().block_on(with_clients(port, connections, async move |clients| {
        for client in &clients {
            assert_eq!(client.call(echo("idle".into())).await?, "idle");
        }
        up();
        Ok(())
    }));
}

/// Takes so many items of one call; how many came.
pub(crate) fn take_items(port: u16, count: u64) -> u64 {
    root().block_on(with_clients(port, 1, async move |clients| {
        let mut receiver = clients[0].call(items(count)).open().await?.receiver;
        let mut came = 0;
        while let Some(item) = receiver.recv().await? {
            assert_eq!(item.len(), ITEM);
            came += 1;
        }
        Ok(came)
    }))
}
