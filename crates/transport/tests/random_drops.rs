//! Futures of a message stream dropped at random, in ten thousand simulated runs: what arrives is
//! what was said to be sent, in order, and whole.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bowline_backend::entropy::random_u64;
use bowline_backend::net::{TcpListenOptions, TcpListener, TcpOptions, TcpStream};
use bowline_backend::stream::ByteStream;
use bowline_backend::time;
use bowline_codec::{Framed, Framing, LengthDelimited, Raw};
use bowline_transport::{
    Extra, MemoryStream, MessageReceiver, MessageSender, MessageStream, MessageStreamBuilder,
    Shared, Transport, TransportRecv, TransportSend,
};
use bytes::Bytes;
use futures_util::future::{join, join_all};

type Codec = Framed<LengthDelimited, Raw>;

/// Messages that are tried to be sent, each way.
const MESSAGES: usize = 8;

fn below(most: u64) -> u64 {
    random_u64() % most
}

/// A frame that says which it is, of any length from 2 to 6000.
fn frame(sender: u8, number: u8) -> Bytes {
    let length = 2 + below(6) * below(1200);
    let mut frame = vec![number; length as usize];
    frame[0] = sender;
    frame.into()
}

/// The stream that this seed is about, with a queue of some size. Pipes are so narrow that
/// everything has to wait.
fn over<S: ByteStream + Extra>(stream: S) -> MessageStream<S, Codec> {
    let high = [1, 100, 3000][below(3) as usize];
    let builder = MessageStreamBuilder::default().high_water(high);
    builder.over(stream, LengthDelimited::u32().with(Raw::new()))
}

async fn tcp() -> (TcpStream, TcpStream) {
    let narrow = TcpOptions::new().send_buffer(2048).recv_buffer(2048);
    let options = TcpListenOptions::new().accept_options(narrow.clone());
    let listener = TcpListener::bind_with("127.0.0.1:0".parse().unwrap(), options).unwrap();
    let connecting = TcpStream::connect_with(listener.local_addr().unwrap(), narrow);
    let (connected, accepted) = join(connecting, listener.accept()).await;
    (connected.unwrap(), accepted.unwrap().0)
}

/// Polls `future` until it has waited some times, or for some time, and drops it then; now and then
/// the poll before the drop is not for a wake.
async fn dropped<F: Future>(future: F) -> Option<F::Output> {
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
async fn end<S: ByteStream>(sender: &mut MessageSender<S, Codec>) {
    while dropped(sender.shutdown())
        .await
        .transpose()
        .unwrap()
        .is_none()
    {}
}

/// Sends some messages and gives up on others; which `send`s said `Ok`.
async fn send_some<S: ByteStream>(sender: &mut MessageSender<S, Codec>) -> Vec<Bytes> {
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
    end(sender).await;
    sent
}

async fn recv_all<S: ByteStream>(receiver: &mut MessageReceiver<S, Codec>) -> Vec<Bytes> {
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

/// Both ends send and receive, each half for itself.
async fn halves<S: ByteStream + Extra>(here: S, there: S) {
    let (mut here_out, mut here_in) = over(here).into_split();
    let (mut there_out, mut there_in) = over(there).into_split();
    let forth = join(send_some(&mut here_out), recv_all(&mut there_in));
    let back = join(send_some(&mut there_out), recv_all(&mut here_in));
    let ((sent, got), (answered, heard)) = join(forth, back).await;
    assert_eq!(got, sent);
    assert_eq!(heard, answered);
}

/// Three tasks send over one end, and whoever receives at the other gives up often.
async fn shared<S: ByteStream + Extra>(here: S, there: S) {
    let (here, there) = (Shared::new(over(here)), Shared::new(over(there)));
    // In the order in which the permits said so.
    let sent = Arc::new(Mutex::new(Vec::new()));
    let send = join_all((0..3).map(|sender| {
        let (here, sent) = (here.clone(), sent.clone());
        async move {
            for number in 0..MESSAGES / 2 {
                let frame = frame(sender, number as u8);
                match dropped(here.reserve()).await {
                    Some(Ok(permit)) if below(4) > 0 => {
                        permit.send(&frame).unwrap();
                        sent.lock().unwrap().push(frame);
                    }
                    Some(Ok(_)) | None => {}
                    Some(Err(error)) => panic!("{error}"),
                }
            }
        }
    }));
    let flush = async {
        for _ in 0..3 {
            if let Some(flushed) = dropped(here.flush()).await {
                flushed.unwrap();
            }
        }
    };
    let send_and_end = async {
        join(send, flush).await;
        while dropped(here.shutdown())
            .await
            .transpose()
            .unwrap()
            .is_none()
        {}
        here.close().await.unwrap();
    };
    let recv = async {
        let mut got = Vec::new();
        loop {
            match dropped(there.recv()).await {
                None => {}
                Some(Ok(Some(frame))) => got.push(frame),
                Some(Ok(None)) => break got,
                Some(Err(error)) => panic!("{error}"),
            }
        }
    };
    let ((), got) = join(send_and_end, recv).await;
    assert_eq!(got, *sent.lock().unwrap());
}

/// The methods of the whole, which borrow it in turn.
async fn whole<S: ByteStream + Extra>(here: S, there: S) {
    let (mut here, mut there) = (over(here), over(there));
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
        let (sender, receiver) = there.split();
        loop {
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
            halves(here, there).await;
        }
        2 => {
            let (here, there) = tcp().await;
            shared(here, there).await;
        }
        3 => {
            let (here, there) = tcp().await;
            whole(here, there).await;
        }
        4 => {
            let (here, there) = MemoryStream::builder().capacity(700).pair();
            halves(here, there).await;
        }
        _ => {
            let (here, there) = MemoryStream::builder().capacity(700).pair();
            shared(here, there).await;
        }
    }
}

fn runs(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        bowline_sim::block_on(seed, one_run(seed));
    }
}

// TR1
#[test]
fn nothing_is_lost_or_cut_in_the_first_runs() {
    runs(0..2500);
}

// TR1
#[test]
fn nothing_is_lost_or_cut_in_the_second_runs() {
    runs(2500..5000);
}

// TR1
#[test]
fn nothing_is_lost_or_cut_in_the_third_runs() {
    runs(5000..7500);
}

// TR1
#[test]
fn nothing_is_lost_or_cut_in_the_fourth_runs() {
    runs(7500..10_000);
}
