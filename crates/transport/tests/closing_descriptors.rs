//! A close while another task reads closes the descriptor, once.
#![cfg(target_os = "linux")]

use bowline_backend::Backend;
use bowline_backend::net::{TcpListener, TcpStream};
use bowline_codec::Lines;
use bowline_transport::{ErrorKind, MessageStream, Shared, Transport};
use futures_util::FutureExt;
use futures_util::future::join;
use std::pin::pin;

fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Closes one end while it is read, and reads the other to its end.
async fn round(listener: &TcpListener) {
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (here, there) = join(connecting, listener.accept()).await;
    let here = Shared::new(MessageStream::new(here.unwrap(), Lines::lf().text()));
    let mut there = MessageStream::new(there.unwrap().0, Lines::lf().text());
    let mut reading = pin!(here.recv());
    assert!(reading.as_mut().now_or_never().is_none());
    let (closed, read) = join(here.close(), reading).await;
    closed.unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(there.recv().await.unwrap(), None);
    there.close().await.unwrap();
    here.close().await.unwrap();
}

// TR6
#[test]
fn a_close_while_another_reads_closes_the_descriptor_once() {
    // A descriptor that is closed twice ends the process, for the standard library looks.
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        backend.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            round(&listener).await; // what runtimes open once
            let before = open();
            for _ in 0..200 {
                round(&listener).await;
            }
            assert_eq!(open(), before);
        });
    }
}
