//! When messages go out that were fed and not sent, and that a scope closes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use bowline_codec::{Framed, Framing, LengthDelimited, Raw};
use bowline_transport::{
    Break, Error, ErrorKind, MemoryStream, MessageStream, Operation, Shared, Transport,
    TransportRecv, TransportSend, TryRecvError, scoped,
};
use bytes::Bytes;
use futures_util::FutureExt;

type Messages = MessageStream<MemoryStream, Framed<LengthDelimited, Raw>>;

fn pair(capacity: usize) -> (Messages, Messages) {
    let (here, there) = MemoryStream::builder().capacity(capacity).pair();
    let codec = || LengthDelimited::u32().with(Raw::new());
    (
        MessageStream::new(here, codec()),
        MessageStream::new(there, codec()),
    )
}

fn message(byte: u8) -> Bytes {
    Bytes::from(vec![byte; 10])
}

fn has_nothing(messages: &mut Messages) -> bool {
    matches!(messages.split().1.try_recv(), Err(TryRecvError::Empty))
}

// TR7
#[test]
fn what_is_fed_goes_out_once_a_receiver_has_to_wait() {
    let (mut here, mut there) = pair(1000);
    for byte in 0..3 {
        there.send(&message(byte)).now_or_never().unwrap().unwrap();
    }
    assert_eq!(
        here.recv().now_or_never().unwrap().unwrap(),
        Some(message(0))
    );
    here.split()
        .0
        .feed(&message(10))
        .now_or_never()
        .unwrap()
        .unwrap();
    // Two more are there already: what is fed waits for what they will be answered.
    for byte in 1..3 {
        let next = here.recv().now_or_never().unwrap().unwrap();
        assert_eq!(next, Some(message(byte)));
        assert!(has_nothing(&mut there));
    }
    assert!(here.recv().now_or_never().is_none());
    let answer = there.recv().now_or_never().unwrap().unwrap();
    assert_eq!(answer, Some(message(10)));
}

// TR7
#[test]
fn what_is_fed_goes_out_with_the_end_of_a_turn_too() {
    let (mut here, mut there) = pair(1 << 20);
    feed(&mut there, 40, &message(1));
    there.split().0.flush().now_or_never().unwrap().unwrap();
    assert!(here.recv().now_or_never().is_some());
    feed(&mut here, 1, &message(9));
    for _ in 1..32 {
        assert!(here.recv().now_or_never().is_some());
        assert!(has_nothing(&mut there));
    }
    // There is more, and others have their turn first.
    assert!(here.recv().now_or_never().is_none());
    assert_eq!(arrived(&mut there), 1);
    // A send takes what was fed before it along.
    feed(&mut here, 2, &message(9));
    here.send(&message(9)).now_or_never().unwrap().unwrap();
    assert_eq!(arrived(&mut there), 3);
}

fn feed(messages: &mut Messages, count: usize, message: &Bytes) {
    for _ in 0..count {
        let fed = messages.split().0.feed(message).now_or_never();
        fed.unwrap().unwrap();
    }
}

/// How many messages are there.
fn arrived(messages: &mut Messages) -> usize {
    (0..).take_while(|_| !has_nothing(messages)).count()
}

// TR7
#[test]
fn of_many_fed_messages_the_peer_has_the_first_while_others_are_made() {
    let (mut here, mut there) = pair(1 << 20);
    let small = message(1);
    for _ in 0..2 {
        feed(&mut here, 31, &small);
        assert_eq!(arrived(&mut there), 0);
        feed(&mut here, 1, &small);
        assert_eq!(arrived(&mut there), 32);
        // The longer it goes on, the more goes into one write.
        for each_time in [64, 128, 256, 512, 512] {
            feed(&mut here, each_time - 1, &small);
            assert_eq!(arrived(&mut there), 0);
            feed(&mut here, 1, &small);
            assert_eq!(arrived(&mut there), each_time);
        }
        // And begins anew where others have written.
        feed(&mut here, 1, &small);
        here.split().0.flush().now_or_never().unwrap().unwrap();
        assert_eq!(arrived(&mut there), 1);
    }
    // A long one counts as many.
    feed(&mut here, 1, &Bytes::from(vec![7; 32 * 128]));
    assert_eq!(arrived(&mut there), 1);
}

// TR7
#[test]
fn what_the_stream_did_not_take_goes_on_with_every_receive() {
    let (mut here, mut there) = pair(100);
    for byte in 0..3 {
        there.send(&message(byte)).now_or_never().unwrap().unwrap();
    }
    let large = Bytes::from(vec![9; 150]);
    here.send(&large).now_or_never().unwrap().unwrap();
    assert_eq!(
        here.recv().now_or_never().unwrap().unwrap(),
        Some(message(0))
    );
    assert!(
        there.recv().now_or_never().is_none(),
        "54 bytes are still to come"
    );
    // There is room now, and more to receive: the rest goes out all the same.
    assert_eq!(
        here.recv().now_or_never().unwrap().unwrap(),
        Some(message(1))
    );
    assert_eq!(there.recv().now_or_never().unwrap().unwrap(), Some(large));
}

// TR7
#[test]
fn a_peer_that_ended_hears_what_was_fed() {
    let (mut here, mut there) = pair(1000);
    there.split().0.shutdown().now_or_never().unwrap().unwrap();
    here.split()
        .0
        .feed(&message(1))
        .now_or_never()
        .unwrap()
        .unwrap();
    assert_eq!(here.recv().now_or_never().unwrap().unwrap(), None);
    assert_eq!(
        there.recv().now_or_never().unwrap().unwrap(),
        Some(message(1))
    );
}

// TR9
#[test]
fn what_many_feed_goes_out_in_their_order() {
    let (here, mut there) = pair(1000);
    let here = Shared::new(here);
    for byte in 0..5 {
        here.clone()
            .feed(&message(byte))
            .now_or_never()
            .unwrap()
            .unwrap();
    }
    assert!(has_nothing(&mut there));
    here.flush().now_or_never().unwrap().unwrap();
    for byte in 0..5 {
        let next = there.recv().now_or_never().unwrap().unwrap();
        assert_eq!(next, Some(message(byte)));
    }
}

fn hello() -> Bytes {
    Bytes::from_static(b"hello")
}

// TR6
#[test]
fn a_scope_closes_however_it_ends() {
    // With a result: what was sent arrives, and the end is clean.
    let (here, mut there) = pair(1000);
    let kept = scoped(here, |transport| async move {
        transport.feed(&hello()).await?;
        Ok::<_, Error>(transport)
    });
    let kept = kept.now_or_never().unwrap().unwrap();
    assert_eq!(there.recv().now_or_never().unwrap().unwrap(), Some(hello()));
    assert_eq!(there.recv().now_or_never().unwrap().unwrap(), None);
    let late = kept.send(&hello()).now_or_never().unwrap().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);

    // With an error, which is the one that is told.
    let (here, mut there) = pair(1000);
    let failed = scoped(here, |transport| async move {
        transport.send(&hello()).await?;
        Err::<(), _>(Error::new(Operation::Send, ErrorKind::Busy))
    });
    let failed = failed.now_or_never().unwrap().unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Busy);
    assert_eq!(there.recv().now_or_never().unwrap().unwrap(), Some(hello()));
    assert_eq!(there.recv().now_or_never().unwrap().unwrap(), None);

    // Given up, and by a panic: aborted.
    for panics in [false, true] {
        let (here, mut there) = pair(1000);
        let kept = Mutex::new(None);
        let keep = &kept;
        let scope = scoped(here, |transport| async move {
            *keep.lock().unwrap() = Some(transport);
            match panics {
                true => panic!("as asked"),
                false => std::future::pending::<Result<(), Error>>().await,
            }
        });
        let ended = catch_unwind(AssertUnwindSafe(|| scope.now_or_never()));
        assert_eq!(ended.is_err(), panics);
        let error = there.recv().now_or_never().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken(Break::Reset));
        let kept = kept.lock().unwrap().take().unwrap();
        let late = kept.recv().now_or_never().unwrap().unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Closed);
    }

    // Where there is no connection the body does not run.
    let (mut here, _there) = pair(1000);
    here.abort();
    let unrun = scoped(here, |_| async {
        match true {
            true => panic!("there is nothing to run it with"),
            false => Ok::<(), Error>(()),
        }
    });
    let closed = unrun.now_or_never().unwrap().unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
}
