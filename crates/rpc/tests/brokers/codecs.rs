//! Payload formats: which of them a connection has, and those of one's own.

use std::sync::atomic::{AtomicUsize, Ordering};

use bowline_backend::net::TcpStream;
use bowline_backend::stream::ByteStreamExt;
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{Config, Event, Side};
use bowline_rpc::{
    Caller, Certainty, Code, Codec, Context, Error, ErrorKind, MemoryBroker, PayloadCodec,
    PayloadError, TcpBroker, TcpBrokerBuilder, named,
};
use futures_util::stream;

use crate::backends::{DivError, div, on_every_backend, registry};
use crate::raw_peer::RawPeer;
use crate::wire::{Wire, over_every_wire};

/// Bytes with a mark before them, and each of them turned over.
struct Marked {
    id: u8,
    encoded: AtomicUsize,
}

const MARK: u8 = 0xEE;

impl Marked {
    const fn new(id: u8) -> Self {
        Self {
            id,
            encoded: AtomicUsize::new(0),
        }
    }
}

impl PayloadCodec for Marked {
    fn id(&self) -> u8 {
        self.id
    }

    fn name(&self) -> &str {
        "marked"
    }

    fn encode(&self, plain: &[u8]) -> Result<Vec<u8>, PayloadError> {
        self.encoded.fetch_add(1, Ordering::SeqCst);
        let turned = plain.iter().map(|byte| !byte);
        Ok(std::iter::once(MARK).chain(turned).collect())
    }

    fn decode(&self, body: &[u8], _: usize) -> Result<Vec<u8>, PayloadError> {
        match body {
            // Whatever it was told.
            [0, ..] => Ok(vec![0xC0; 4097]),
            [MARK, turned @ ..] => Ok(turned.iter().map(|byte| !byte).collect()),
            _ => Err("there is no mark".into()),
        }
    }

    fn max_plain(&self) -> usize {
        4096
    }
}

static MARKED: Marked = Marked::new(200);
static TWIN: Marked = Marked::new(200);
static LOW: Marked = Marked::new(127);

fn marked() -> Codec {
    Codec::private(&MARKED).expect("its number is above 127")
}

fn caller() -> TcpBrokerBuilder {
    TcpBroker::caller().project("example")
}

async fn refused(builder: TcpBrokerBuilder) -> Error {
    let ran = builder.run(async |_| -> Result<(), Error> { Ok(()) });
    ran.await.expect_err("it does not start")
}

/// The next frame that answers a call.
async fn answer_of(peer: &mut RawPeer, received: &mut Vec<u8>) -> Vec<u8> {
    loop {
        while let Some(length) = received.first_chunk().map(|it| u32::from_be_bytes(*it)) {
            let length = 16 + length as usize;
            if received.len() < length {
                break;
            }
            let frame: Vec<_> = received.drain(..length).collect();
            if matches!(frame[4], 0x12 | 0x13) {
                return frame;
            }
        }
        received.extend(peer.read().await);
    }
}

over_every_wire! {
    async fn calls_in_a_format_of_ones_own_are_as_others(wire: Wire) {
        let registry = registry();
        let count = |_: Context, (to,): (u32,)| stream::iter(0..to);
        registry.register_stream("count", count).unwrap();
        let server = wire.serve(registry).codecs([Codec::MessagePack, marked()]);
        server.run(async |server| -> Result<(), Error> {
            let client = wire.client(&server).codecs([marked(), Codec::Postcard]);
            client.run(async |client| -> Result<(), Error> {
                let before = MARKED.encoded.load(Ordering::SeqCst);
                assert_eq!(client.call_named::<i64>("add", (2, 3)).codec(marked()).await?, 5);
                assert!(MARKED.encoded.load(Ordering::SeqCst) >= before + 2, "there and back");
                assert_eq!(client.call(div(6, 3)).codec(marked()).await.unwrap(), 2);
                let error = client.call(div(1, 0)).codec(marked()).await.unwrap_err();
                assert_eq!(error.application(), Some(&DivError::ByZero { dividend: 1 }));
                let mut items = client.call_named::<()>("count", (3_u32,)).codec(marked()).open::<u32>().await?;
                let mut seen = Vec::new();
                while let Some(item) = items.recv().await? {
                    seen.push(item);
                }
                assert_eq!(seen, [0, 1, 2]);
                // The one that only this side has.
                let error = client.call(div(6, 3)).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::Unsupported, Certainty::NeverSent));
                assert!(error.to_string().contains("codec 1 (postcard)"), "{error}");
                Ok(())
            }).await
        }).await.unwrap();
    }
}

on_every_backend! {
    async fn brokers_without_a_common_format_do_not_connect() {
        let server = TcpBroker::builder(AsyncExecutor::new(registry(), 4)).listen("127.0.0.1:0");
        server.run(async |server| -> Result<(), Error> {
            let client = |codecs: &[Codec]| caller().codecs(codecs.to_vec()).connect(server.local_addrs()[0]);
            let error = refused(client(&[marked()])).await;
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains("codec"), "{error}");
            // With another one they do, and have that alone.
            client(&[marked(), Codec::MessagePack]).run(async |client| -> Result<(), Error> {
                let error = client.call_named::<i64>("add", (2, 3)).codec(marked()).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::Unsupported, Certainty::NeverSent));
                assert!(error.to_string().contains("codec 200"), "{error}");
                assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
                Ok(())
            }).await
        }).await.unwrap();
    }

    async fn bodies_that_are_none_or_make_too_much_fail_their_call_alone() {
        let server = TcpBroker::builder(AsyncExecutor::new(registry(), 4)).codecs([marked()]);
        server.listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            let stream = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
            let config = Config::new("example", [9; 16]).codecs([bowline_rpc::proto::CodecId(200)]);
            let mut peer = RawPeer::with(stream, Side::Dialer, config);
            peer.until(|event| matches!(event, Event::Ready(_))).await;
            peer.flush().await;
            let right = [&[MARK][..], &[0x92, 2, 3].map(|byte: u8| !byte)].concat();
            let cases: [(u8, &[u8], u8, &str); 5] = [
                // Of a format that the two have not.
                (201, &right, 17, "codec 201"),
                (3, b"[2,3]", 17, "codec 3 (JSON)"),
                (200, &[1, 2, 3], 6, "marked: there is no mark"),
                (200, &[0], 6, "marked: 4097 bytes of a body that may make 4096"),
                (200, &right, 0, ""),
            ];
            let mut received = Vec::new();
            for ((codec, body, code, message), id) in cases.into_iter().zip([1_u8, 3, 5, 7, 9]) {
                let head = [0, 0, 0, 0, 0, codec, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 3];
                let payload = [&head[..], b"add", body].concat();
                let header = [0, 0, 0, payload.len() as u8, 0x10, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, id];
                peer.stream.write_all(&[&header[..], &payload].concat()).await.unwrap();
                let answer = answer_of(&mut peer, &mut received).await;
                assert_eq!(answer[15], id);
                match code {
                    0 => assert_eq!((answer[4], &answer[16..]), (0x12, &[MARK, !5][..])),
                    code => {
                        assert_eq!((answer[4], answer[7], answer[16]), (0x13, code, 1), "{message}");
                        let says = String::from_utf8_lossy(&answer[24..]);
                        assert!(says.contains(message), "{says}");
                    }
                }
            }
            assert_eq!(server.statistics().violations, 0);
            Ok(())
        }).await.unwrap();
    }

    async fn formats_that_cannot_be_told_apart_are_refused_at_the_start() {
        let error = Codec::private(&LOW).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("marked has number 127"), "{error}");
        let twin = Codec::private(&TWIN).unwrap();
        let seventeen: Vec<_> = std::iter::repeat_n(Codec::Json, 17).collect();
        for (codecs, says) in [
            (vec![], "0 codecs"),
            (vec![marked(), Codec::Json, twin], "two codecs of number 200"),
            (seventeen, "17 codecs"),
        ] {
            let error = refused(caller().codecs(codecs)).await;
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    async fn in_memory_a_format_of_ones_own_needs_no_agreement() {
        let broker = MemoryBroker::new(AsyncExecutor::new(registry(), 4)).encode_always();
        broker.run(async |broker| -> Result<(), Error> {
            let before = MARKED.encoded.load(Ordering::SeqCst);
            assert_eq!(broker.call(div(6, 3)).codec(marked()).await.unwrap(), 2);
            assert!(MARKED.encoded.load(Ordering::SeqCst) >= before + 2, "there and back");
            let named = broker.call_named_with::<i64>("mul", named! { a: 1 });
            let error = named.codec(marked()).await.unwrap_err();
            assert_eq!(error.code(), Code::BadArguments, "it has no names");
            Ok(())
        }).await.unwrap();
    }
}
