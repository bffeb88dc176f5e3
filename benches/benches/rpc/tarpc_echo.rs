//! The same echo through tarpc, over its bincode transport.

use futures_util::StreamExt;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{client, context};

use bowline_benches::server_process::say_port;

use crate::callers::drive;
use crate::{Latencies, Work};

#[tarpc::service]
pub(crate) trait Echo {
    async fn echo(payload: String) -> String;
}

/// Echoes.
#[derive(Clone)]
pub(crate) struct Server;

impl Echo for Server {
    async fn echo(self, _: context::Context, payload: String) -> String {
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

async fn connect(port: u16) -> EchoClient {
    let transport = tarpc::serde_transport::tcp::connect(("127.0.0.1", port), Bincode::default)
        .await
        .unwrap();
    transport.get_ref().set_nodelay(true).unwrap();
    // As many as the server takes of one connection.
    let mut config = client::Config::default();
    config.max_in_flight_requests = 1000;
    EchoClient::new(config, transport).spawn()
}

pub(crate) async fn call(port: u16, work: Work) -> Latencies {
    let mut clients = Vec::with_capacity(work.connections);
    for _ in 0..work.connections {
        clients.push(connect(port).await);
    }
    let payload = work.payload();
    drive(&clients, work, move |client| {
        let payload = payload.clone();
        async move {
            let reply = client.echo(context::current(), payload.clone()).await;
            assert_eq!(reply.unwrap(), payload);
        }
    })
    .await
}

/// Calls `up` while so many connections that have made a call are idle.
pub(crate) async fn idle(port: u16, connections: usize, up: impl FnOnce()) {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        let client = connect(port).await;
        let reply = client.echo(context::current(), "idle".into()).await;
        assert_eq!(reply.unwrap(), "idle");
        clients.push(client);
    }
    up();
}
