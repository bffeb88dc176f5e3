//! Descriptors passed by the thousand leave none behind. Alone in its process, for it counts them.

#![cfg(all(target_os = "linux", feature = "ancillary"))]

use std::fs::{File, read_dir};
use std::os::fd::OwnedFd;

use bowline_backend::Backend;
use bowline_backend::net::{UnixDatagram, UnixStream};
use bowline_codec::{Framing, LengthDelimited, Raw};
use bowline_transport::{Ancillary, DatagramTransport, MessageStream, Transport};
use bytes::Bytes;
use futures_util::FutureExt;

/// Over each kind of socket, on each backend.
const TRANSFERS: usize = 10_000;

fn open() -> usize {
    read_dir("/proc/self/fd").unwrap().count()
}

/// One to four descriptors.
fn some(file: &File, number: usize) -> Ancillary {
    let copies = (0..number % 4 + 1).map(|_| OwnedFd::from(file.try_clone().unwrap()));
    copies.collect()
}

/// Passes descriptors through `$here` and `$there`: taken, left in the value, not asked for, more
/// than fit, and sent by a call that was dropped.
macro_rules! transfers {
    ($here:expr, $there:expr, $file:expr) => {{
        let (mut here, mut there) = ($here, $there);
        let message = Bytes::from_static(b"with descriptors");
        let mut came = Ancillary::new();
        for number in 0..TRANSFERS {
            if number % 7 == 0 {
                let dropped = here.send_with(&message, some($file, number)).now_or_never();
                if dropped.is_some_and(|sent| sent.is_ok()) {
                    here.flush().await.unwrap(); // not dropped: it had gone
                    there.recv().await.unwrap();
                }
            }
            here.send_with(&message, some($file, number)).await.unwrap();
            here.flush().await.unwrap();
            match number % 5 {
                0 => drop(there.recv().await.unwrap()),
                1 if number % 4 > 0 => {
                    let mut none = Ancillary::new().capacity(1);
                    there.recv_with(&mut none).await.unwrap_err();
                }
                2 => {
                    there.recv_with(&mut came).await.unwrap();
                    assert_eq!(came.take_fds().len(), number % 4 + 1);
                }
                _ => drop(there.recv_with(&mut came).await.unwrap()),
            }
        }
        drop(came);
        // What is on its way when both ends go is closed with them.
        here.send_with(&message, some($file, 3)).await.unwrap();
        here.flush().await.unwrap();
        there.abort();
        here.abort();
    }};
}

// T8
#[test]
fn thousands_of_transfers_leave_no_descriptor() {
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        backend.block_on(async {
            // The first sockets start what a runtime keeps.
            let warm = (UnixStream::pair().unwrap(), UnixDatagram::pair().unwrap());
            let file = File::open("/dev/null").unwrap();
            let before = open();
            let codec = || LengthDelimited::u32().with(Raw::new());
            let (here, there) = UnixStream::pair().unwrap();
            let (here, there) = (
                MessageStream::new(here, codec()),
                MessageStream::new(there, codec()),
            );
            transfers!(here, there, &file);
            assert_eq!(open(), before, "{backend}: streams");
            let (here, there) = UnixDatagram::pair().unwrap();
            let (here, there) = (
                DatagramTransport::new(here, Raw::new()),
                DatagramTransport::new(there, Raw::new()),
            );
            transfers!(here, there, &file);
            assert_eq!(open(), before, "{backend}: datagrams");
            drop(warm);
        });
    }
}
