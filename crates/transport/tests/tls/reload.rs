//! Certificates that are replaced while connections come.

use bowline_codec::Lines;
use bowline_transport::{
    CertStore, ErrorKind, Extra, MemoryStream, MessageStream, TlsInfo, TlsServerConfig, Transport,
};

use bowline_backend::task;
use futures_util::future::{Either, join_all, select};
use std::pin::pin;

use crate::certificates::Authority;
use crate::pairs::{NAME, client, shake};

// T6
pub(crate) async fn a_new_certificate_is_for_new_connections() {
    let authority = Authority::new();
    let (old, new) = (authority.sign(NAME), authority.sign(NAME));
    let store = CertStore::new(&old.chain, &old.key).unwrap();
    let server = TlsServerConfig::builder(&store).build().unwrap();
    let mut shown = Vec::new();
    let mut streams = Vec::new();
    for connection in 0..40 {
        match connection {
            10 => store.replace(&new.chain, &new.key).unwrap(),
            // Another's key, no certificate, no key: nothing changes.
            20 => {
                for (chain, key) in [
                    (&*old.chain, &*new.key),
                    ("nothing", &*new.key),
                    (&*old.chain, "nothing"),
                    ("", ""),
                ] {
                    let error = store.replace(chain, key).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
                }
            }
            30 => store.replace(&old.chain, &old.key).unwrap(),
            _ => {}
        }
        // A client of its own: one that remembers a connection is shown no certificate.
        let client = client(&authority).build().unwrap();
        let (here, there) = shake(&client, &server, NAME, MemoryStream::pair()).await;
        let (here, there) = (here.unwrap(), there.unwrap());
        shown.push(here.extra::<TlsInfo>().unwrap().peer_certificates.clone());
        streams.push((
            MessageStream::new(here, Lines::lf().text()),
            MessageStream::new(there, Lines::lf().text()),
        ));
    }
    let first = &shown[0];
    for (connection, certificates) in shown.iter().enumerate() {
        let is_new = (10..30).contains(&connection);
        assert_eq!(certificates != first, is_new, "connection {connection}");
    }
    // Whatever was replaced since, all of them work.
    for (here, there) in &mut streams {
        here.send(&"still here".to_owned()).await.unwrap();
        assert_eq!(there.recv().await.unwrap().as_deref(), Some("still here"));
    }
}

// T6
pub(crate) async fn connections_go_on_while_certificates_change() {
    let authority = Authority::new();
    let identities = [authority.sign(NAME), authority.sign(NAME)];
    let store = CertStore::new(&identities[0].chain, &identities[0].key).unwrap();
    let server = TlsServerConfig::builder(&store).build().unwrap();
    let connect = join_all((0..4).map(|_| async {
        let mut shown = Vec::new();
        for _ in 0..15 {
            let client = client(&authority).build().unwrap();
            let (here, there) = shake(&client, &server, NAME, MemoryStream::pair()).await;
            drop(there.unwrap());
            let details = here.unwrap().extra::<TlsInfo>().unwrap();
            shown.push(details.peer_certificates.clone());
            task::yield_now().await;
        }
        shown
    }));
    let replace = async {
        for identity in identities.iter().cycle() {
            store.replace(&identity.chain, &identity.key).unwrap();
            task::yield_now().await;
        }
    };
    let Either::Left((shown, _)) = select(pin!(connect), pin!(replace)).await else {
        unreachable!("replacing goes on for ever")
    };
    let mut shown: Vec<_> = shown.into_iter().flatten().collect();
    assert_eq!(shown.len(), 60);
    shown.sort();
    shown.dedup();
    assert_eq!(shown.len(), 2, "both were shown, and nothing else");
}
