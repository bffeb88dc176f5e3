//! Futures of transports dropped at random, in more than ten thousand simulated runs and some hundred
//! on each other backend: what arrives is what was said to be sent, in order, and whole.

#[cfg(feature = "tls")]
#[expect(dead_code, reason = "this needs one kind of certificate")]
#[path = "../tls/certificates.rs"]
mod certificates;
mod datagrams;
mod many_users;
#[expect(dead_code, reason = "this needs few of them")]
#[path = "../datagrams/pairs.rs"]
mod pairs;
mod real_backends;
#[cfg(feature = "tls")]
mod secure;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bowline_backend::entropy::random_u64;
use bowline_backend::net::{TcpListenOptions, TcpListener, TcpOptions, TcpStream};
use bowline_backend::stream::ByteStream;
use bowline_backend::time;
use bowline_codec::{Framed, Framing, LengthDelimited, Raw};
use bowline_transport::{
    DynTransport, Extra, MemoryStream, MessageStream, MessageStreamBuilder, Shared, Transport,
    TransportRecv, TransportSend,
};
use bytes::Bytes;
use futures_util::future::join;

use many_users::many_users;

pub(crate) type Codec = Framed<LengthDelimited, Raw>;

/// Messages that are tried to be sent, each way.
pub(crate) const MESSAGES: usize = 8;

pub(crate) fn below(most: u64) -> u64 {
    random_u64() % most
}

/// A frame that says which it is, of any length from 2 to 6000.
pub(crate) fn frame(sender: u8, number: u8) -> Bytes {
    let length = 2 + below(6) * below(1200);
    let mut frame = vec![number; length as usize];
    frame[0] = sender;
    frame.into()
}

/// The stream that this seed is about, with a queue of some size. Pipes are so narrow that
/// everything has to wait.
pub(crate) fn over<S: ByteStream + Extra>(stream: S) -> MessageStream<S, Codec> {
    let high = [1, 100, 3000][below(3) as usize];
    let builder = MessageStreamBuilder::default().high_water(high);
    builder.over(stream, LengthDelimited::u32().with(Raw::new()))
}

pub(crate) async fn tcp() -> (TcpStream, TcpStream) {
    let narrow = TcpOptions::new().send_buffer(2048).recv_buffer(2048);
    let options = TcpListenOptions::new().accept_options(narrow.clone());
    let listener = TcpListener::bind_with("127.0.0.1:0".parse().unwrap(), options).unwrap();
    let connecting = TcpStream::connect_with(listener.local_addr().unwrap(), narrow);
    let (connected, accepted) = join(connecting, listener.accept()).await;
    (connected.unwrap(), accepted.unwrap().0)
}

pub(crate) fn narrow() -> (MemoryStream, MemoryStream) {
    MemoryStream::builder().capacity(700).pair()
}

/// Polls `future` until it has waited some times, or for some time, and drops it then; now and then
/// the poll before the drop is not for a wake.
pub(crate) async fn dropped<F: Future>(future: F) -> Option<F::Output> {
    let output = {
        let mut future = pin!(future);
        let mut waits = below(4);
        let early = below(2) == 0;
        let patience = Duration::from_micros(below(20_000));
        let mut patience = pin!(time::sleep_until(time::now().saturating_add(patience)));
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if waits == 0 => Poll::Ready(None),
            Poll::Pending => {
                waits -= 1;
                if early {
                    cx.waker().wake_by_ref();
                }
                patience.as_mut().poll(cx).map(|()| None)
            }
        })
        .await
    };
    if output.is_none() {
        let pause = Duration::from_micros(below(2000));
        time::sleep_until(time::now().saturating_add(pause)).await;
    }
    output
}

/// Ends the sending side, however often that is given up.
async fn end(sender: &mut impl TransportSend<Bytes>) {
    while dropped(sender.shutdown())
        .await
        .transpose()
        .unwrap()
        .is_none()
    {}
}

/// Sends some messages and gives up on others; which `send`s said `Ok`.
pub(crate) async fn send_some(sender: &mut impl TransportSend<Bytes>) -> Vec<Bytes> {
    let mut sent = Vec::new();
    for number in 0..MESSAGES {
        let frame = frame(0, number as u8);
        let done = match below(4) {
            0 => dropped(sender.send(&frame)).await,
            1 => dropped(sender.feed(&frame)).await,
            2 => match dropped(sender.reserve()).await {
                Some(Ok(permit)) if below(4) > 0 => {
                    Some(permit.send(&frame).map_err(|e| panic!("{e}")))
                }
                Some(Ok(_)) | None => None,
                Some(Err(error)) => panic!("{error}"),
            },
            _ => {
                let flushed = dropped(sender.flush()).await;
                assert!(!matches!(flushed, Some(Err(_))), "{flushed:?}");
                None
            }
        };
        if let Some(done) = done {
            done.unwrap();
            sent.push(frame);
        }
    }
    sent
}

async fn recv_all(receiver: &mut impl TransportRecv<Bytes>) -> Vec<Bytes> {
    let mut got = Vec::new();
    loop {
        match dropped(receiver.recv()).await {
            None => {}
            Some(Ok(Some(frame))) => got.push(frame),
            Some(Ok(None)) => return got,
            Some(Err(error)) => panic!("{error}"),
        }
    }
}

pub(crate) trait Frames: Transport<Sent = Bytes, Received = Bytes> + 'static {}

impl<T: Transport<Sent = Bytes, Received = Bytes> + 'static> Frames for T {}

/// When an end says that it has sent all.
#[derive(Clone, Copy)]
pub(crate) enum Ends {
    /// Whatever the other one does.
    Alone,
    /// Once the other one has sent all, too: whoever hears of an end sends nothing more.
    Together,
}

/// Both ends send and receive, each half for itself.
pub(crate) async fn halves<T: Frames>(here: T, there: T, ends: Ends) {
    let (mut here_out, mut here_in) = here.into_split();
    let (mut there_out, mut there_in) = there.into_split();
    let talk = async {
        match ends {
            Ends::Alone => {
                let forth = async {
                    let sent = send_some(&mut here_out).await;
                    end(&mut here_out).await;
                    sent
                };
                let back = async {
                    let sent = send_some(&mut there_out).await;
                    end(&mut there_out).await;
                    sent
                };
                join(forth, back).await
            }
            Ends::Together => {
                let forth = async {
                    let sent = send_some(&mut here_out).await;
                    here_out.flush().await.unwrap();
                    sent
                };
                let back = async {
                    let sent = send_some(&mut there_out).await;
                    there_out.flush().await.unwrap();
                    sent
                };
                let sent = join(forth, back).await;
                join(end(&mut here_out), end(&mut there_out)).await;
                sent
            }
        }
    };
    let hear = join(recv_all(&mut there_in), recv_all(&mut here_in));
    let ((sent, answered), (got, heard)) = join(talk, hear).await;
    assert_eq!(got, sent);
    assert_eq!(heard, answered);
}

/// The methods of the whole, which borrow it in turn.
pub(crate) async fn whole<T: Frames>(here: T, there: T) {
    let (mut here, mut there) = (here, there);
    let talk = async {
        let mut sent = Vec::new();
        let mut heard = Vec::new();
        for number in 0..MESSAGES {
            let frame = frame(0, number as u8);
            if let Some(done) = dropped(here.send(&frame)).await {
                done.unwrap();
                sent.push(frame);
            }
            if let Some(got) = dropped(here.recv()).await {
                heard.extend(got.unwrap());
            }
            if let Some(flushed) = dropped(here.flush()).await {
                flushed.unwrap();
            }
        }
        let (mut sender, mut receiver) = here.into_split();
        let (rest, ()) = join(recv_all(&mut receiver), end(&mut sender)).await;
        heard.extend(rest);
        (sent, heard)
    };
    let echo = async {
        let mut got = Vec::new();
        let mut answered = Vec::new();
        loop {
            let (mut sender, mut receiver) = there.split();
            match dropped(receiver.recv()).await {
                None => continue,
                Some(Ok(Some(frame))) => got.push(frame),
                Some(Ok(None)) => break,
                Some(Err(error)) => panic!("{error}"),
            }
            let frame = got[got.len() - 1].clone();
            if let Some(done) = dropped(sender.send(&frame)).await {
                done.unwrap();
                answered.push(frame);
            }
        }
        there.close().await.unwrap();
        (got, answered)
    };
    let ((sent, heard), (got, answered)) = join(talk, echo).await;
    assert_eq!(got, sent);
    assert_eq!(heard, answered);
}

async fn one_run(seed: u64) {
    match seed % 6 {
        0 | 1 => {
            let (here, there) = tcp().await;
            halves(over(here), over(there), Ends::Alone).await;
        }
        2 => {
            let (here, there) = tcp().await;
            many_users(Shared::new(over(here)), Shared::new(over(there))).await;
        }
        3 => {
            let (here, there) = tcp().await;
            whole(over(here), over(there)).await;
        }
        4 => {
            let (here, there) = narrow();
            halves(over(here), over(there), Ends::Alone).await;
        }
        _ => {
            let (here, there) = narrow();
            many_users(Shared::new(over(here)), Shared::new(over(there))).await;
        }
    }
}

pub(crate) fn runs<F: Future<Output = ()>>(
    seeds: std::ops::Range<u64>,
    one_run: impl Fn(u64) -> F,
) {
    for seed in seeds {
        bowline_sim::block_on(seed, one_run(seed));
    }
}

// TR1
#[test]
fn nothing_is_lost_or_cut_in_the_first_runs() {
    runs(0..2500, one_run);
}

// TR1
#[test]
fn nothing_is_lost_or_cut_in_the_second_runs() {
    runs(2500..5000, one_run);
}

// TR1
#[test]
fn nothing_is_lost_or_cut_in_the_third_runs() {
    runs(5000..7500, one_run);
}

// TR1
#[test]
fn nothing_is_lost_or_cut_in_the_fourth_runs() {
    runs(7500..10_000, one_run);
}

// TR1
#[test]
fn nor_in_a_box() {
    runs(0..1000, async |seed| {
        let (here, there) = tcp().await;
        let (here, there) = (
            DynTransport::new(over(here)),
            DynTransport::new(over(there)),
        );
        match seed % 3 {
            0 => halves(here, there, Ends::Alone).await,
            1 => whole(here, there).await,
            _ => many_users(Shared::new(here), Shared::new(there)).await,
        }
    });
}
