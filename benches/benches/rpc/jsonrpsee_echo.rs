//! The same echo through jsonrpsee: JSON-RPC in WebSocket messages.

use std::sync::Arc;

use jsonrpsee_core::client::{Client, ClientT};
use jsonrpsee_core::rpc_params;
use jsonrpsee_server::{RpcModule, ServerBuilder, ServerConfig};
use jsonrpsee_ws_client::WsClientBuilder;

use bowline_benches::server_process::say_port;

use crate::callers::drive;
use crate::{Latencies, Work};

pub(crate) async fn serve() {
    let config = ServerConfig::builder().max_connections(10_000).build();
    let server = ServerBuilder::with_config(config)
        .build("127.0.0.1:0")
        .await
        .unwrap();
    say_port(server.local_addr().unwrap().port());
    let mut module = RpcModule::new(());
    module
        .register_method("echo", |params, (), _| params.one::<String>())
        .unwrap();
    server.start(module).stopped().await;
}

async fn connect(port: u16) -> Arc<Client> {
    let client = WsClientBuilder::default()
        .max_concurrent_requests(1024)
        .build(format!("ws://127.0.0.1:{port}"))
        .await;
    Arc::new(client.unwrap())
}

async fn echo(client: &Client, payload: &str) -> String {
    client.request("echo", rpc_params![payload]).await.unwrap()
}

pub(crate) async fn call(port: u16, work: Work) -> Latencies {
    let mut clients = Vec::with_capacity(work.connections);
    for _ in 0..work.connections {
        clients.push(connect(port).await);
    }
    let payload: Arc<str> = work.payload().into();
    drive(&clients, work, move |client| {
        let payload = payload.clone();
        async move {
            assert_eq!(echo(&client, &payload).await, *payload);
        }
    })
    .await
}

/// Calls `up` while so many connections that have made a call are idle.
pub(crate) async fn idle(port: u16, connections: usize, up: impl FnOnce()) {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        let client = connect(port).await;
        assert_eq!(echo(&client, "idle").await, "idle");
        clients.push(client);
    }
    up();
}
