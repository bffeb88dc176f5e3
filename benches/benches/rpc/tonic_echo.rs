//! The same echo through tonic: gRPC with a codec that copies bytes, which costs it less than one of
//! protobuf would.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use futures_util::{Stream, stream};
use tokio::net::TcpListener;
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{Body, BoxFuture, Service, StdError, http};
use tonic::server::{Grpc as Server, NamedService, ServerStreamingService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use bowline_benches::server_process::say_port;

use crate::callers::drive;
use crate::streaming::ITEM;
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

/// As many items as its request says.
struct Items;

impl ServerStreamingService<Bytes> for Items {
    type Response = Bytes;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let count = request.into_inner().get_u64();
        let items = (0..count).map(|_| Ok(Bytes::from_static(&[7; ITEM])));
        ready(Ok(Response::new(Box::pin(stream::iter(items)))))
    }
}

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
        Box::pin(async move {
            let mut server = Server::new(Raw);
            Ok(if request.uri().path() == ITEMS {
                server.server_streaming(Items, request).await
            } else {
                server.unary(Echo, request).await
            })
        })
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

const ITEMS: &str = "/bench.Echo/Items";

/// Takes so many items of one call; how many came.
pub(crate) async fn items(port: u16, count: u64) -> u64 {
    let mut client = connect(port).await;
    client.ready().await.unwrap();
    let request = Request::new(Bytes::copy_from_slice(&count.to_be_bytes()));
    let path = PathAndQuery::from_static(ITEMS);
    let response = client.server_streaming(request, path, Raw).await.unwrap();
    let mut items = response.into_inner();
    let mut came = 0;
    while let Some(item) = items.message().await.unwrap() {
        assert_eq!(item.len(), ITEM);
        came += 1;
    }
    came
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
