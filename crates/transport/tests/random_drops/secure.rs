//! Secure streams.

use std::sync::OnceLock;

use bowline_backend::stream::ByteStream;
use bowline_transport::{
    CertStore, DynTransport, Extra, Shared, TlsClientConfig, TlsServerConfig, TlsStream,
};
use futures_util::future::join;

use crate::certificates::Authority;
use crate::many_users::many_users;
use crate::{Ends, halves, narrow, over, runs, tcp};

const NAME: &str = "bowline.test";

async fn secure<S: ByteStream + Extra>((here, there): (S, S)) -> (TlsStream<S>, TlsStream<S>) {
    static CONFIGS: OnceLock<(TlsClientConfig, TlsServerConfig)> = OnceLock::new();
    let (client, server) = CONFIGS.get_or_init(|| {
        let authority = Authority::new();
        let identity = authority.sign(NAME);
        let store = CertStore::new(&identity.chain, &identity.key).unwrap();
        let client = TlsClientConfig::builder().root_pem(authority.pem());
        let server = TlsServerConfig::builder(&store);
        (client.build().unwrap(), server.build().unwrap())
    });
    let here = client.handshake(here, NAME).unwrap();
    let there = server.handshake(there).unwrap();
    let (here, there) = join(here.into_future(), there.into_future()).await;
    (here.unwrap(), there.unwrap())
}

pub(crate) async fn one_run(seed: u64) {
    match seed % 4 {
        0 => {
            let (here, there) = secure(tcp().await).await;
            halves(over(here), over(there), Ends::Together).await;
        }
        1 => {
            let (here, there) = secure(tcp().await).await;
            let (here, there) = (
                DynTransport::new(over(here)),
                DynTransport::new(over(there)),
            );
            halves(here, there, Ends::Together).await;
        }
        2 => {
            let (here, there) = secure(tcp().await).await;
            many_users(Shared::new(over(here)), Shared::new(over(there))).await;
        }
        _ => {
            let (here, there) = secure(narrow()).await;
            halves(over(here), over(there), Ends::Together).await;
        }
    }
}

// TR1
#[test]
fn nothing_is_lost_or_cut_of_what_is_secure() {
    runs(0..500, one_run);
}
