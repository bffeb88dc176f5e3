//! The same echo through tonic: gRPC with a codec that copies bytes, which costs it less than one of
//! protobuf would.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use tokio::net::TcpListener;
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{Body, BoxFuture, Service, StdError, http};
use tonic::server::{Grpc as Server, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use bowline_benches::server_process::say_port;

use crate::callers::drive;
use crate::{Latencies, Work};

/// Messages are bytes.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}

#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

impl<B> Service<http::Request<B>> for Echo
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        Box::pin(async move { Ok(Server::new(Raw).unary(Echo, request).await) })
    }
}

pub(crate) async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    say_port(listener.local_addr().unwrap().port());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .add_service(Echo)
        .serve_with_incoming(incoming)
        .await
        .unwrap();
}

async fn connect(port: u16) -> Client<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    Client::new(endpoint.tcp_nodelay(true).connect().await.unwrap())
}

async fn echo(mut client: Client<Channel>, payload: Bytes) -> Bytes {
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/bench.Echo/Echo");
    let reply = client.unary(Request::new(payload), path, Raw).await;
    reply.unwrap().into_inner()
}

pub(crate) async fn call(port: u16, work: Work) -> Latencies {
    let mut clients = Vec::with_capacity(work.connections);
    for _ in 0..work.connections {
        clients.push(connect(port).await);
    }
    let payload = Bytes::from(work.payload());
    drive(&clients, work, move |client| {
        let payload = payload.clone();
        async move {
            assert_eq!(echo(client, payload.clone()).await, payload);
        }
    })
    .await
}

/// Calls `up` while so many connections that have made a call are idle.
pub(crate) async fn idle(port: u16, connections: usize, up: impl FnOnce()) {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        let client = connect(port).await;
        assert_eq!(
            echo(client.clone(), Bytes::from_static(b"idle")).await,
            "idle"
        );
        clients.push(client);
    }
    up();
}
