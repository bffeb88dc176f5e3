//! Files sent over TCP in messages with headers: a name and a size, then the contents in parts, then a
//! checksum that the receiver compares. What is slow on one side slows the other, and no file is in
//! memory as a whole.
//!
//! `cargo run -p bowline --example file_transfer` sends its own source to itself.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use bowline::Error;
use bowline::codec::{self, BinaryMessage, Framed, Framing, LengthDelimited, Message};
use bowline::concurrency::{TaskGroup, run_in_thread, task_group};
use bowline::transport::{MessageStream, Messages, Peer, Server, TcpConnector, Transport};
use bytes::Bytes;

/// Bytes of a file in one message.
const PART: usize = 64 * 1024;

#[bowline::main]
async fn main() -> Result<(), Error> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/file_transfer.rs");
    let directory = std::env::temp_dir().join(format!("bowline-files-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let server = Server::tcp(("127.0.0.1", 0)).codec(codec).bind().await?;
    let address = server.local_addrs()[0].as_inet().expect("it is TCP");
    let into = directory.clone();
    let sent = task_group(|group: TaskGroup<Error>| async move {
        let serving = group.spawn(async move {
            let serve = move |peer, messages| {
                let into = into.clone();
                async move { store(peer, messages, into).await }
            };
            Ok(server.serve_fn(serve).await?)
        });
        let stream = TcpConnector::new(address).connect().await?;
        let sent = send(MessageStream::new(stream, codec()), &here).await?;
        serving.cancel("the file is there");
        Ok(sent)
    })
    .await;
    let stored = fs::read(directory.join("file_transfer.rs"));
    fs::remove_dir_all(&directory)?;
    assert_eq!(stored?, include_bytes!("file_transfer.rs"));
    println!("{} bytes came as they were", sent?);
    Ok(())
}

fn codec() -> Framed<LengthDelimited, codec::Messages<BinaryMessage>> {
    LengthDelimited::u32()
        .max_frame(2 * PART)
        .with(BinaryMessage::codec())
}

/// Sends the file at `path`; how long it is, as the receiver says.
async fn send<T>(mut server: T, path: &Path) -> Result<u64, Error>
where
    T: Transport<Sent = BinaryMessage, Received = BinaryMessage>,
{
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut file = File::open(path)?;
    let mut first = BinaryMessage::default();
    first.headers.set("name", name.as_ref());
    first.headers.set("size", file.metadata()?.len());
    server.send(&first).await?;
    let mut sum = DefaultHasher::new();
    loop {
        // Disks have no readiness: who waits for one does so in a thread.
        let (back, part) = run_in_thread(move || read_part(file)).await?;
        file = back;
        if part.is_empty() {
            break;
        }
        sum.write(&part);
        server.send(&BinaryMessage::new(part)).await?;
    }
    let mut last = BinaryMessage::default();
    last.headers.set("checksum", sum.finish());
    server.send(&last).await?;
    let answer = server.recv().await?.unwrap_or_default();
    server.close().await?;
    let stored = answer.headers.get("stored").and_then(|size| size.as_u64());
    stored.ok_or_else(|| Error::from(std::io::Error::other("the receiver did not get it")))
}

fn read_part(mut file: File) -> std::io::Result<(File, Bytes)> {
    let mut part = vec![0; PART];
    let count = file.read(&mut part)?;
    part.truncate(count);
    Ok((file, part.into()))
}

/// Stores one file in `directory`.
async fn store<T>(peer: Peer<T>, mut messages: Messages<T>, directory: PathBuf) -> Result<(), Error>
where
    T: Transport<Sent = BinaryMessage, Received = BinaryMessage> + 'static,
{
    let Some(first) = messages.recv().await? else {
        return Ok(());
    };
    // A name and no path: nothing is written elsewhere.
    let name = first.headers.get("name").and_then(|name| name.as_str());
    let name = name.and_then(|name| Path::new(name).file_name());
    let name = name.ok_or_else(|| std::io::Error::other("a file without a name"))?;
    let mut file = File::create_new(directory.join(name))?;
    let (mut sum, mut size) = (DefaultHasher::new(), 0_u64);
    while let Some(message) = messages.recv().await? {
        let part = message.payload;
        if part.is_empty() {
            let expected = message.headers.get("checksum").and_then(|sum| sum.as_u64());
            let mut answer = BinaryMessage::default();
            if expected == Some(sum.finish()) {
                answer.headers.set("stored", size);
            }
            return Ok(peer.send(&answer).await?);
        }
        sum.write(&part);
        size += part.len() as u64;
        file = run_in_thread(move || file.write_all(&part).map(|()| file)).await?;
    }
    Ok(())
}
