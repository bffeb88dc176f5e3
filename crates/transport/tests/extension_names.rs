//! The methods of [`ByteStreamExt`] are on byte streams and nothing else: a program that has it
//! in scope beside other traits with a `write_all` or a `shutdown` calls each of them plainly.

use std::io::Write;

use bowline_backend::stream::{ByteStream, ByteStreamExt};
use bowline_codec::{Framing, LengthDelimited, Raw};
use bowline_transport::{MemoryStream, MessageStream, Transport, TransportSend};
use futures_util::FutureExt;

// TR14
#[test]
fn methods_of_other_traits_keep_their_names() {
    let mut file = Vec::new();
    file.write_all(b"to the standard library").unwrap();
    assert_eq!(file, b"to the standard library");

    let (here, there) = MemoryStream::pair();
    let messages = MessageStream::new(here, LengthDelimited::u32().with(Raw::new()));
    let (mut sender, _receiver) = messages.into_split();
    let ended = sender.shutdown().now_or_never();
    ended.expect("nothing is queued").unwrap();

    let (_reading, mut writing) = there.into_split();
    let wrote = writing.write_all(b"to a half").now_or_never();
    wrote.expect("there is room").unwrap();
    let ended = writing.shutdown().now_or_never();
    ended.expect("nothing to wait for").unwrap();
}
