//! No wait of a client is without a limit, unless it was asked for.

use std::error::Error as _;
use std::time::Duration;

use bowline_backend::stream::ByteStreamExt;
use bowline_codec::{Lines, Text};
use bowline_concurrency::{now, sleep, timeout};
use bowline_transport::{
    Break, Client, DynTransport, Error, ErrorKind, MemoryStream, MessageStream,
    MessageStreamBuilder, Transport,
};
use futures_util::FutureExt;
use futures_util::future::{Either, select};

use crate::reconnecting::{SECOND, plain};
use crate::{Count, client, in_sim, listen, text};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// For a server that accepts, and says nothing.
async fn log_in(
    mut transport: DynTransport<String, String>,
) -> Result<DynTransport<String, String>, Error> {
    transport.send(&text("I am I")).await?;
    transport.recv().await?;
    Ok(transport)
}

// CL1, CL2
#[test]
fn a_login_that_nobody_answers_takes_no_longer_than_it_may() {
    in_sim(6, async {
        let (_listener, at) = listen();
        for (given, seconds) in [(None, 10), (Some(3 * SECOND), 3)] {
            let mut client = client(at).on_connect(log_in);
            if let Some(most) = given {
                client = client.on_connect_timeout(most);
            }
            let began = now();
            let late = client.connect().await.unwrap_err();
            assert_eq!((now() - began).as_secs(), seconds);
            assert_eq!(late.kind(), ErrorKind::ConnectTimeout);
            assert_eq!(late.peer(), Some(&at.into()));
            let why = late.source().unwrap().to_string();
            assert_eq!(why, format!("`on_connect` did not end within {seconds}s"));
            // Nobody waits longer, whatever he wants.
            let late = client.call(&text("?")).await.unwrap_err();
            assert_eq!(late.kind(), ErrorKind::ConnectTimeout);
            assert_eq!((now() - began).as_secs(), 2 * seconds);
        }
        let client = client(at).on_connect(log_in);
        let client = client.reconnect(plain(SECOND)).reconnect_attempts(2);
        let began = now();
        let error = client.send(&text("?")).await.unwrap_err();
        assert_eq!(error.gave_up_after(), Some(2), "{error}");
        assert_eq!((now() - began).as_secs(), 21);
    });
    // The world is to have no other timer: it has nobody to wait for then.
    in_sim(7, async {
        let (_listener, at) = listen();
        let patient = client(at)
            .on_connect(log_in)
            .on_connect_timeout(Duration::MAX);
        assert!(patient.connect().now_or_never().is_none());
        let connecting = Box::pin(patient.connect());
        let waited = select(connecting, Box::pin(sleep(50 * SECOND))).await;
        assert!(matches!(waited, Either::Right(_)), "there was a limit");
    });
}

// CL1
#[test]
fn a_login_needs_no_backend() {
    let done = Count::default();
    let counted = done.clone();
    let client = Client::with_dial(|| async {
        let (here, there) = MemoryStream::pair();
        std::mem::forget(there);
        Ok(DynTransport::new(MessageStream::new(
            here,
            Lines::lf().text(),
        )))
    });
    let client = client.on_connect(move |transport| {
        counted.up();
        async move { Ok(transport) }
    });
    client.connect().now_or_never().unwrap().unwrap();
    assert_eq!(done.get(), 1);
}

// TR7, CL4
#[test]
fn a_stream_has_the_limits_that_its_client_was_told() {
    let told = MessageStreamBuilder::default()
        .frame_timeout(20 * SECOND)
        .read_idle_timeout(8 * SECOND)
        .max_frame(100);
    in_sim(8, async {
        let (listener, at) = listen();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // A byte now and then, and never a line.
            loop {
                sleep(5 * SECOND).await;
                if stream.write_all(b"x").await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let asking = async {
            let client = client(at).stream(told.clone());
            let began = now();
            let slow = client.call(&text("?")).await.unwrap_err();
            assert_eq!(slow.kind(), ErrorKind::Broken(Break::SlowFrame), "{slow}");
            assert!(now() - began <= 40 * SECOND, "{:?}", now() - began);
        };
        let ended = select(Box::pin(server), Box::pin(asking)).await;
        assert!(matches!(ended, Either::Right(_)));
    });
    in_sim(9, async {
        let (_listener, at) = listen();
        let silent = client(at).stream(told.clone());
        let began = now();
        let idle = silent.recv().await.unwrap_err();
        assert_eq!(idle.kind(), ErrorKind::Elapsed);
        assert_eq!((now() - began).as_secs(), 8);

        // Of a URL and of the program the shorter one counts.
        let long = "x".repeat(70);
        for (query, most) in [("?max_frame=50", 50), ("?max_frame=200", 100), ("", 100)] {
            let url = format!("tcp://{at}{query}");
            let client = Client::new(url, || Lines::lf().text()).stream(told.clone());
            let sent = client.send(&long).await;
            let longer = client.send(&long.repeat(2)).await.unwrap_err();
            assert_eq!(longer.kind(), ErrorKind::TooLarge { limit: most });
            assert_eq!(sent.is_ok(), most == 100, "{query}");
        }

        let full = MessageStreamBuilder::default().write_stall_timeout(3 * SECOND);
        let client = client(at).stream(full.high_water(1));
        let began = now();
        let much = "x".repeat(10_000);
        let stalled = timeout(DAY, async {
            loop {
                if let Err(error) = client.send(&much).await {
                    return error;
                }
            }
        });
        let stalled = stalled.await.unwrap();
        assert_eq!(stalled.kind(), ErrorKind::Broken(Break::Stalled));
        assert!(now() - began < 5 * SECOND, "{:?}", now() - began);
    });
}

// CL1
#[test]
fn what_makes_no_stream_has_no_limits_of_one() {
    in_sim(10, async {
        let limits = MessageStreamBuilder::default;
        let packets = Client::datagrams("udp://127.0.0.1:9", Text::new).stream(limits());
        let error = packets.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.source().unwrap().to_string(),
            "packets have no limits of a stream"
        );
        let dials = Count::default();
        let counted = dials.clone();
        let own: crate::Text = Client::with_dial(move || {
            counted.up();
            std::future::pending()
        });
        let error = own.stream(limits()).connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(dials.get(), 0);
    });
}
