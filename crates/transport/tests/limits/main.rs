//! What ends a wait: a peer that takes nothing, a peer that says nothing.

mod stalls;

use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::time::{self, sleep_until};
use bowline_codec::{Cobs, Codec, Framed, Framing, JsonFraming, LengthDelimited, Lines, Raw, Zlib};
use bowline_concurrency::timeout;
use bowline_transport::{Break, ErrorKind, MemoryStream, MessageStream, Transport};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join;

fn codec() -> Framed<LengthDelimited, Raw> {
    LengthDelimited::u32().with(Raw::new())
}

#[test]
fn a_peer_that_says_nothing_is_noticed_and_may_speak_later() {
    Backend::Sim.block_on(async {
        let (here, there) = MemoryStream::pair();
        let builder = MessageStream::<MemoryStream, Framed<LengthDelimited, Raw>>::builder();
        let idle = Duration::from_secs(10);
        let mut here = builder.read_idle_timeout(idle).over(here, codec());
        let mut there = MessageStream::new(there, codec());
        let start = time::now();
        for round in 1..=2 {
            let error = here.recv().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Elapsed);
            assert!(error.is_timeout() && !error.is_connection());
            assert!(time::now() >= start.saturating_add(idle * round));
        }
        // A dropped `recv` does not start the time again.
        assert!(here.recv().now_or_never().is_none());
        let half = time::now().saturating_add(idle / 2);
        sleep_until(half).await;
        assert_eq!(here.recv().await.unwrap_err().kind(), ErrorKind::Elapsed);
        assert!(time::now() < half.saturating_add(idle));
        there.send(&Bytes::from("late")).await.unwrap();
        assert_eq!(here.recv().await.unwrap().unwrap(), "late");
    });
}

/// Sends the frame of `message` byte by byte, one every `pause`, until nobody takes any more.
async fn trickle(there: &mut MemoryStream, message: &[u8], pause: Duration) -> usize {
    use bowline_backend::stream::ByteStreamExt;
    let mut frame = u32::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(message);
    for (sent, byte) in frame.iter().enumerate() {
        if there.write_all(&[*byte]).await.is_err() {
            return sent;
        }
        sleep_until(time::now().saturating_add(pause)).await;
    }
    frame.len()
}

#[test]
fn a_frame_that_trickles_in_breaks_the_connection() {
    Backend::Sim.block_on(async {
        let second = Duration::from_secs(1);
        let (here, mut there) = MemoryStream::pair();
        let builder = MessageStream::<MemoryStream, Framed<LengthDelimited, Raw>>::builder();
        // There always comes a byte before the peer counts as silent.
        let builder = builder.read_idle_timeout(5 * second);
        let mut here = builder.frame_timeout(20 * second).over(here, codec());
        let talk = async {
            // In time, also where several of them together are not.
            for _ in 0..3 {
                assert_eq!(trickle(&mut there, b"0123456789", second).await, 14);
            }
            // A peer between two frames is not slow.
            sleep_until(time::now().saturating_add(3 * second)).await;
            trickle(&mut there, &[0; 1000], second).await
        };
        let hear = async {
            for _ in 0..3 {
                assert_eq!(here.recv().await.unwrap().unwrap(), "0123456789");
            }
            // Four seconds of them it says nothing, which do not count.
            let start = time::now();
            let error = here.recv().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Broken(Break::SlowFrame));
            assert!(error.is_timeout() && error.is_connection());
            let took = time::now().saturating_duration_since(start);
            assert!(took >= 22 * second && took <= 26 * second, "{took:?}");
            // It stays so, whatever comes.
            let again = here.recv().await.unwrap_err();
            assert_eq!(again.kind(), ErrorKind::Broken(Break::SlowFrame));
            here.abort();
        };
        let (sent, ()) = join(talk, hear).await;
        assert!(sent < 30, "{sent}");
    });
}

#[test]
fn who_is_not_listened_to_is_not_slow() {
    Backend::Sim.block_on(async {
        let (here, mut there) = MemoryStream::pair();
        let builder = MessageStream::<MemoryStream, Framed<LengthDelimited, Raw>>::builder();
        let most = Duration::from_secs(20);
        let mut here = builder.frame_timeout(most).over(here, codec());
        assert!(trickle(&mut there, b"0123456789", Duration::ZERO).await == 14);
        // Half of the next one, noticed by a `recv` that was given up.
        use bowline_backend::stream::ByteStreamExt;
        there.write_all(b"\0\0\0\x0a01234").await.unwrap();
        assert_eq!(here.recv().await.unwrap().unwrap(), "0123456789");
        assert!(here.recv().now_or_never().is_none());
        there.write_all(b"56789").await.unwrap();
        // The handler had other things to do; what has come meanwhile is not late.
        sleep_until(time::now().saturating_add(10 * most)).await;
        assert_eq!(here.recv().await.unwrap().unwrap(), "0123456789");
        // Nor is what has not come: nobody was there to take it. Once somebody is, its time runs.
        there.write_all(b"\0\0\0\x0a01234").await.unwrap();
        for waits in [most / 4, most / 4, Duration::ZERO] {
            let begun = timeout(waits, here.recv()).await;
            assert!(begun.is_err(), "{begun:?}");
            sleep_until(time::now().saturating_add(10 * most)).await;
        }
        let start = time::now();
        let error = here.recv().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken(Break::SlowFrame));
        let took = time::now().saturating_duration_since(start);
        // Half of it was waited for before, as far as that was looked at.
        assert!(took >= most / 2 && took < most * 3 / 4, "{took:?}");
    });
}

/// What stands between frames begins none: a peer that has said all may be silent.
#[test]
fn who_owes_nothing_is_not_slow() {
    async fn silent<C>(codec: C, said: &[u8], begun: &[u8])
    where
        C: Codec<Sent: Send + Sync + 'static, Item: Send + PartialEq + 'static> + 'static,
    {
        use bowline_backend::stream::ByteStreamExt;
        let most = Duration::from_secs(20);
        let (here, mut there) = MemoryStream::pair();
        let builder = MessageStream::<MemoryStream, C>::builder();
        let mut here = builder.frame_timeout(most).over(here, codec);
        there.write_all(said).await.unwrap();
        assert!(here.recv().await.unwrap().is_some());
        let waits = timeout(10 * most, here.recv()).await;
        assert!(waits.is_err(), "{said:?}");
        there.write_all(begun).await.unwrap();
        let error = here.recv().await.map(drop).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Broken(Break::SlowFrame),
            "{said:?}"
        );
    }
    Backend::Sim.block_on(async {
        silent(JsonFraming::new().with(Raw::new()), b"12\n", b" [").await;
        silent(JsonFraming::new().with(Raw::new()), b"[] \r\n", b"1").await;
        silent(Cobs::new().with(Raw::new()), b"\x02a\0\0\0", b"\0\x02").await;
        silent(Lines::crlf().text(), b"a\r\n", b"\r").await;
        // One that is thrown away as it comes is under way all the same.
        let skips = LengthDelimited::u8().max_frame(2).skip_oversized();
        silent(skips.with(Raw::new()), b"\x01a", b"\x04ab").await;
        let skips = Lines::lf().max_frame(2).text();
        silent(skips, b"a\n", b"abcdefgh").await;
    });
}

/// What is received of these pieces, each in a read of its own: lengths of messages, and whether it
/// ended with an error.
fn received<C>(codec: C, limit: usize, pieces: &[&[u8]]) -> (Vec<usize>, bool)
where
    C: Codec<Sent = Bytes, Item = Bytes> + 'static,
{
    use bowline_backend::stream::ByteStreamExt;
    let (here, mut there) = MemoryStream::pair();
    let builder = MessageStream::<MemoryStream, C>::builder().max_frame(limit);
    let mut here = builder.over(here, codec);
    let mut lengths = Vec::new();
    for piece in pieces {
        there.write_all(piece).now_or_never().unwrap().unwrap();
        loop {
            match here.recv().now_or_never() {
                Some(Ok(Some(message))) => lengths.push(message.len()),
                Some(Ok(None)) => unreachable!("it goes on"),
                Some(Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::Broken(Break::Undecodable));
                    return (lengths, true);
                }
                None => break,
            }
        }
    }
    (lengths, false)
}

// TR2
#[test]
fn where_bytes_are_cut_makes_no_frame_too_long() {
    fn check<C>(codec: impl Fn() -> C, limit: usize, input: &[u8], expected: (&[usize], bool))
    where
        C: Codec<Sent = Bytes, Item = Bytes> + 'static,
    {
        let expected = (expected.0.to_vec(), expected.1);
        for first in 0..=input.len() {
            for second in first..=input.len() {
                let pieces = [&input[..first], &input[first..second], &input[second..]];
                let got = received(codec(), limit, &pieces);
                assert_eq!(got, expected, "{input:?} cut at {first} and {second}");
            }
        }
    }
    let json = || JsonFraming::new().with(Raw::new());
    check(
        json,
        8,
        b"          [1]\n\n\n\n\n\n\n\n\n[2]",
        (&[3, 3], false),
    );
    check(json, 8, b"   [1] [1,2,3,4]   ", (&[3], true));
    let cobs = || Cobs::new().with(Raw::new());
    check(
        cobs,
        4,
        b"\0\0\0\0\0\0\x02a\0\0\0\0\0\x03ab\0",
        (&[1, 2], false),
    );
    check(cobs, 4, b"\0\0\x02a\0\0\0\x04abc\0", (&[1], true));
    check(codec, 6, b"\0\0\0\x02ab\0\0\0\x03abc", (&[2], true));
    // Its decoder takes what comes, a frame in many pieces.
    let zlib = || Zlib::new().framing(Raw::new());
    let mut batch = bowline_codec::OutputBatch::new();
    let (mut encoder, _) = zlib().split();
    let message = Bytes::from_static(b"text");
    bowline_codec::Encode::encode(&mut encoder, &message, &mut batch).unwrap();
    let one = batch.slices().collect::<Vec<_>>().concat();
    check(zlib, one.len(), &one.repeat(2), (&[4, 4], false));
    check(zlib, one.len() - 1, &one, (&[], true));
}
