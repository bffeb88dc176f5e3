//! What a served connection that says nothing costs.
#![expect(clippy::disallowed_types, reason = "a client has nothing on the heap")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::task::{RunOptions, Threads};
use bowline_codec::{Codec, Framing, LengthDelimited, Raw};
use bowline_concurrency::{AnyError, GroupError, Root, TaskGroup, sleep, task_group};
use bowline_transport::{Error, Messages, Peer, Server, ServerHandle, Transport};
use bytes::Bytes;

use crate::{BYTES, LONG, alone};

/// With so many the tables of server and runtime are as long as [`ALL`] need them.
const SOME: usize = 130;
const ALL: usize = 220;

fn codec() -> impl Codec<Sent = Bytes, Item = Bytes> {
    LengthDelimited::u32().with(Raw::new())
}

async fn echo<T>(peer: Peer<T>, mut messages: Messages<T>) -> Result<(), Error>
where
    T: Transport<Sent = Bytes, Received = Bytes> + 'static,
{
    while let Some(frame) = messages.recv().await? {
        peer.send(&frame).await?;
    }
    Ok(())
}

/// Connects until there are `count`, each of which gets one frame back.
async fn connect(server: &ServerHandle, clients: &mut Vec<TcpStream>, count: usize) {
    let to = server.local_addrs()[0].as_inet().unwrap();
    while clients.len() < count {
        let mut client = TcpStream::connect(to).unwrap();
        client.write_all(b"\0\0\0\x05hello").unwrap();
        client.set_nonblocking(true).unwrap();
        let (mut answer, mut read) = ([0; 9], 0);
        while read < answer.len() {
            match client.read(&mut answer[read..]) {
                Ok(more) => read += more,
                Err(_) => sleep(Duration::from_millis(1)).await,
            }
        }
        clients.push(client);
    }
    assert_eq!(server.connections(), count);
}

/// Bytes of the heap that an idle connection takes, and those of its handler's future.
fn idle(backend: Backend) -> (usize, usize) {
    static HANDLER: AtomicUsize = AtomicUsize::new(0);
    let _alone = alone();
    let measured = async {
        let server = Server::tcp(("127.0.0.1", 0))
            .codec(codec)
            .bind()
            .await
            .unwrap();
        let handle = server.handle();
        task_group(|group: TaskGroup<AnyError>| async move {
            group.spawn(async move {
                let handler = |peer, messages| {
                    let answered = echo(peer, messages);
                    HANDLER.store(size_of_val(&answered), Ordering::Relaxed);
                    answered
                };
                Ok(server.serve_fn(handler).await?)
            });
            let mut clients = Vec::with_capacity(ALL);
            connect(&handle, &mut clients, SOME).await;
            let before = BYTES.load(Ordering::Relaxed);
            connect(&handle, &mut clients, ALL).await;
            let after = BYTES.load(Ordering::Relaxed);
            drop(clients);
            handle.drain(LONG).await;
            Ok((after - before).cast_unsigned() / (ALL - SOME))
        })
        .await
    };
    let options = RunOptions::default().threads(Threads::One);
    let root = Root::new().backend(backend).options(options);
    let bytes: Result<usize, GroupError<AnyError>> = root.block_on(Box::pin(measured));
    (bytes.unwrap(), HANDLER.load(Ordering::Relaxed))
}

/// Asked for were 2 KiB. What there is: the task with the conversation in it, the nodes of the task and of
/// its scope, the transport behind its lock, what the server knows of it, and what the runtime has.
fn takes_little(backend: Backend) {
    const MOST: usize = 6_400;
    let (bytes, handler) = idle(backend);
    let ours = bytes - handler;
    assert!(
        ours <= MOST,
        "{backend}: {bytes} bytes, {handler} of them the handler's"
    );
}

#[test]
fn an_idle_connection_takes_little_on_tokio() {
    takes_little(Backend::Tokio);
}

#[test]
fn an_idle_connection_takes_little_on_smol() {
    takes_little(Backend::Smol);
}

#[test]
fn an_idle_connection_takes_little_on_async_std() {
    takes_little(Backend::AsyncStd);
}
