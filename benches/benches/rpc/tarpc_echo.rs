//! The same echo through tarpc, over its bincode transport.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{client, context};

use bowline_benches::server_process::say_port;

use crate::PAYLOAD;

#[tarpc::service]
trait Echo {
    async fn echo(payload: Vec<u8>) -> Vec<u8>;
}

#[derive(Clone)]
struct Server;

impl Echo for Server {
    async fn echo(self, _: context::Context, payload: Vec<u8>) -> Vec<u8> {
        payload
    }
}

pub(crate) async fn serve() {
    let mut incoming = tarpc::serde_transport::tcp::listen("127.0.0.1:0", Bincode::default)
        .await
        .unwrap();
    say_port(incoming.local_addr().port());
    while let Some(transport) = incoming.next().await {
        let transport = transport.unwrap();
        transport.get_ref().set_nodelay(true).unwrap();
        let requests = BaseChannel::with_defaults(transport).execute(Server.serve());
        tokio::spawn(requests.for_each(|response| async {
            tokio::spawn(response);
        }));
    }
}

pub(crate) async fn call(port: u16, calls: usize, in_flight: usize) -> Vec<Duration> {
    let address = ("127.0.0.1", port);
    let transport = tarpc::serde_transport::tcp::connect(address, Bincode::default)
        .await
        .unwrap();
    transport.get_ref().set_nodelay(true).unwrap();
    let client = EchoClient::new(client::Config::default(), transport).spawn();
    let callers = (0..in_flight).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut latencies = Vec::with_capacity(calls / in_flight);
            for _ in 0..calls / in_flight {
                let start = Instant::now();
                let reply = client
                    .echo(context::current(), PAYLOAD.to_vec())
                    .await
                    .unwrap();
                latencies.push(start.elapsed());
                assert_eq!(reply, PAYLOAD);
            }
            latencies
        })
    });
    let mut all = Vec::with_capacity(calls);
    for caller in callers.collect::<Vec<_>>() {
        all.extend(caller.await.unwrap());
    }
    all
}
