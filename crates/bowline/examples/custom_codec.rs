//! A wire format of one's own: `key=value;`, driven by a message stream in memory.
//!
//! A codec knows bytes and values and nothing else: no socket, no task, no clock. So it can be
//! tried on its own, and works over every transport. The parts here that every codec has: it
//! finds frames however the bytes are cut, it has a limit, and after a bad frame it goes on.
//!
//! `cargo run -p bowline --example custom_codec`

use bowline::codec::{
    Codec, Decode, DecodeError, DecodeErrorKind, Encode, EncodeError, EncodeErrorKind, OutputBatch,
};
use bowline::transport::{MemoryStream, MessageStream, Transport};
use bytes::{Buf, BytesMut};

/// The most bytes of one entry, without its `;`.
const MAX_FRAME: usize = 1024;

/// One setting.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    key: String,
    value: String,
}

/// Encodes and decodes entries.
#[derive(Default)]
struct Entries {
    /// Bytes of the input already searched for a `;`, so none is searched twice.
    searched: usize,
    /// What it failed with for good, and says from then on.
    failed: Option<DecodeError>,
}

impl Decode for Entries {
    type Item = Entry;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Entry>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let end = src[self.searched..].iter().position(|byte| *byte == b';');
        let end = end.map(|end| self.searched + end);
        // Also where all of it came at once: what is too long is so however it was cut.
        if end.unwrap_or(src.len()) > MAX_FRAME {
            let kind = DecodeErrorKind::TooLong {
                limit: MAX_FRAME,
                declared: None,
            };
            let error = DecodeError::new(kind).fatal();
            self.failed = Some(error.clone());
            return Err(error);
        }
        let Some(end) = end else {
            self.searched = src.len();
            return Ok(None);
        };
        self.searched = 0;
        let frame = src.split_to(end);
        src.advance(1);
        let text = std::str::from_utf8(&frame).ok();
        match text.and_then(|text| text.split_once('=')) {
            Some((key, value)) => Ok(Some(Entry {
                key: key.to_owned(),
                value: value.to_owned(),
            })),
            // The next frame starts behind the `;`, whatever this one was.
            None => Err(DecodeError::new(DecodeErrorKind::Convert)
                .recoverable()
                .with_skipped(end as u64 + 1)
                .with_message("an entry is `key=value`")),
        }
    }

    fn need(&self) -> usize {
        1
    }
}

impl Encode<Entry> for Entries {
    fn encode(&mut self, entry: &Entry, out: &mut OutputBatch) -> Result<(), EncodeError> {
        let bytes = entry.key.len() + 1 + entry.value.len();
        let forbidden = entry.key.contains(['=', ';']) || entry.value.contains(';');
        if forbidden || bytes > MAX_FRAME {
            // Refused before anything was written: all or nothing.
            return Err(EncodeError::new(EncodeErrorKind::Value).with_message("not an entry"));
        }
        out.put_slice(entry.key.as_bytes());
        out.put_u8(b'=');
        out.put_slice(entry.value.as_bytes());
        out.put_u8(b';');
        out.frame_done();
        Ok(())
    }
}

/// A stream reads and writes at once, so a codec comes in two.
impl Codec for Entries {
    type Sent = Entry;
    type Encoder = Entries;
    type Decoder = Entries;

    fn split(self) -> (Entries, Entries) {
        (Entries::default(), self)
    }
}

fn entry(key: &str, value: &str) -> Entry {
    Entry {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

#[bowline::main]
async fn main() -> Result<(), bowline::Error> {
    // On its own: the input cut in the worst place, and a bad entry between good ones.
    let mut codec = Entries::default();
    let mut input = BytesMut::from("colour=bl");
    assert_eq!(codec.decode(&mut input)?, None);
    input.extend_from_slice(b"ue;nonsense;size=4;");
    assert_eq!(codec.decode(&mut input)?, Some(entry("colour", "blue")));
    assert!(codec.decode(&mut input).unwrap_err().is_recoverable());
    assert_eq!(codec.decode(&mut input)?, Some(entry("size", "4")));

    // What is too long is refused for good, whether it comes whole or in pieces.
    let long = [&b"k="[..], &[b'v'; MAX_FRAME], b";"].concat();
    for piece in [1, 100, long.len()] {
        let (mut codec, mut input) = (Entries::default(), BytesMut::new());
        let mut pieces = long.chunks(piece);
        let refused = loop {
            input.extend_from_slice(pieces.next().expect("it is refused before its end"));
            if let Err(error) = codec.decode(&mut input) {
                break error;
            }
        };
        assert!(!refused.is_recoverable());
        let mut fresh = BytesMut::from("size=4;");
        assert_eq!(codec.decode(&mut fresh).unwrap_err().kind(), refused.kind());
    }

    // Over a transport.
    let (here, there) = MemoryStream::pair();
    let mut here = MessageStream::new(here, Entries::default());
    let mut there = MessageStream::new(there, Entries::default());
    here.send(&entry("knot", "bowline")).await?;
    let refused = here.send(&entry("a;b", "c")).await.unwrap_err();
    println!("refused, and nothing was sent: {refused}");
    here.close().await?;
    while let Some(entry) = there.recv().await? {
        println!("{} is {}", entry.key, entry.value);
    }
    Ok(())
}
