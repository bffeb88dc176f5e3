//! Passes descriptors between two ends of a Unix socket: one end opens a file, the other, which
//! could be a process without the right to, reads it.
//!
//! `cargo run -p bowline --example fd_passing --all-features`

#[cfg(all(unix, feature = "ancillary"))]
#[bowline::main]
async fn main() -> Result<(), bowline::Error> {
    use std::fs::File;
    use std::io::Read;

    use bowline::backend::net::UnixStream;
    use bowline::codec::Lines;
    use bowline::transport::{Ancillary, MessageStream, Transport};

    const THIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/fd_passing.rs");

    let (opener, reader) = UnixStream::pair()?;
    let mut opener = MessageStream::new(opener, Lines::lf().text());
    let mut reader = MessageStream::new(reader, Lines::lf().text());

    reader.send(&THIS.to_owned()).await?;
    reader.flush().await?;
    let path = opener.recv().await?.expect("it asks");
    let file = Ancillary::new().fd(File::open(&path)?);
    opener.send_with(&"here it is".to_owned(), file).await?;
    opener.flush().await?;

    // The descriptor comes with its message, as one of our own.
    let mut came = Ancillary::new();
    let message = reader.recv_with(&mut came).await?.expect("it answers");
    let mut text = String::new();
    for fd in came.take_fds() {
        File::from(fd).read_to_string(&mut text)?;
    }
    println!("{message}: {} bytes of {path}", text.len());
    assert!(text.starts_with("//! Passes descriptors"));

    // A socket can be passed too, and what was not taken out is closed.
    let (mut pipe, writer) = std::io::pipe()?;
    let writer = Ancillary::new().fd(writer);
    opener
        .send_with(&"nobody wants it".to_owned(), writer)
        .await?;
    opener.flush().await?;
    reader.recv().await?;
    assert_eq!(pipe.read(&mut [0])?, 0);
    println!("a descriptor that nobody asked for was closed");

    opener.close().await?;
    reader.close().await?;
    Ok(())
}

#[cfg(not(all(unix, feature = "ancillary")))]
fn main() {
    println!("descriptors are passed on Unix, with the feature `ancillary`");
}
