//! Secrets derived from a connection.

use std::error::Error as _;

use bowline_backend::stream::ByteStream;
use bowline_codec::{Framing, LengthDelimited, Raw};
use bowline_transport::{
    ErrorKind, Extra, KeyExportError, KeyExporter, MemoryStream, MessageStream, TlsExporter,
    TlsStream,
};

use crate::certificates::Authority;
use crate::pairs::{NAME, client, older_server, secure, server, shake, tcp};

const LABEL: &[u8] = b"EXPORTER-bowline-test";

fn derive<S: ByteStream>(of: &TlsStream<S>, label: &[u8], context: Option<&[u8]>) -> [u8; 32] {
    let mut derived = [0; 32];
    of.export_keying_material(label, context, &mut derived)
        .unwrap();
    derived
}

/// All that two ends derive, each of which is checked to be the same at both.
fn all<S: ByteStream>(here: &TlsStream<S>, there: &TlsStream<S>) -> Vec<[u8; 32]> {
    let asked: [(&[u8], Option<&[u8]>); 4] = [
        (LABEL, None),
        (LABEL, Some(b"one")),
        (LABEL, Some(b"two")),
        (b"EXPORTER-bowline-other", None),
    ];
    let both = |(label, context)| {
        let derived = derive(here, label, context);
        assert_eq!(derived, derive(there, label, context));
        assert_eq!(derived, derive(here, label, context));
        derived
    };
    asked.into_iter().map(both).collect()
}

// T10
pub(crate) async fn both_ends_derive_the_same() {
    let (here, there) = secure(tcp().await).await;
    let mut derived = all(&here, &there);
    assert_eq!(derive(&here, LABEL, Some(b"")), derived[0]);

    // Another session, of the same certificates.
    let authority = Authority::new();
    let identity = authority.sign(NAME);
    let client_config = client(&authority).build().unwrap();
    let server_config = server(&identity).build().unwrap();
    for _ in 0..2 {
        let pair = MemoryStream::pair();
        let (one, other) = shake(&client_config, &server_config, NAME, pair).await;
        derived.extend(all(&one.unwrap(), &other.unwrap()));
    }

    // An older version derives otherwise, and tells no context from an empty one.
    let old = older_server(&identity);
    let (one, other) = shake(&client_config, &old, NAME, MemoryStream::pair()).await;
    let (one, other) = (one.unwrap(), other.unwrap());
    derived.extend(all(&one, &other));
    derived.push(derive(&one, LABEL, Some(b"")));

    let count = derived.len();
    derived.sort_unstable();
    derived.dedup();
    assert_eq!((derived.len(), count), (17, 17));

    // Whoever has a transport over the stream asks that.
    let whole = derive(&there, LABEL, None);
    let messages = MessageStream::new(here, LengthDelimited::u32().with(Raw::new()));
    let exporter: KeyExporter = messages.extra::<TlsExporter>().unwrap();
    let mut through = [0; 32];
    exporter
        .export_keying_material(LABEL, None, &mut through)
        .unwrap();
    assert_eq!(through, whole);
    drop(messages);
    let gone = exporter.export_keying_material(LABEL, None, &mut through);
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotConnected);
}

pub(crate) async fn what_cannot_be_derived() {
    let (here, there) = secure(MemoryStream::pair()).await;
    let long = [b'x'; 70_000];
    let most = [0; 8160];
    let refused = |label: &[u8], context: Option<&[u8]>, len: usize| {
        let mut output = vec![7; len];
        let error = here.export_keying_material(label, context, &mut output);
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(output.iter().all(|byte| *byte == 7));
        *error
            .source()
            .and_then(|source| source.downcast_ref::<KeyExportError>())
            .unwrap()
    };
    let limit = 249;
    let labels = [0, 250, 300].map(|len| (len, refused(&long[..len], None, 32)));
    for (len, error) in labels {
        assert_eq!(error, KeyExportError::Label { len, limit });
    }
    let reserved = refused(b"key expansion", None, 32);
    assert_eq!(reserved, KeyExportError::ReservedLabel);
    let (len, limit) = (65_536, 65_535);
    let context = refused(LABEL, Some(&long[..len]), 32);
    assert_eq!(context, KeyExportError::Context { len, limit });
    let limit = most.len();
    for len in [0, limit + 1] {
        let output = refused(LABEL, None, len);
        assert_eq!(output, KeyExportError::Output { len, limit });
    }

    // What is just allowed.
    let (mut one, mut other) = (most, most);
    let (label, context) = (&long[..249], Some(&long[..65_535]));
    here.export_keying_material(label, context, &mut one)
        .unwrap();
    there
        .export_keying_material(label, context, &mut other)
        .unwrap();
    assert!(one == other && one != most);
}
