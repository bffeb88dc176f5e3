//! Unix sockets: names, and senders without one.

use std::error::Error as _;

use bowline_backend::net::{UnixDatagram, UnixOptions};
use bowline_backend::stream::{Address, UnixAddress};
use bowline_codec::Raw;
use bowline_transport::{
    DatagramEndpoint, DatagramEndpointBuilder, DatagramTransport, DatagramTransportBuilder,
    Delivery, ErrorKind, Transport, UnnamedSender, UnnamedSenders,
};
use bytes::Bytes;
use futures_util::FutureExt;

use crate::{bytes, on_every_backend, over};

on_every_backend!(
    super::a_client_gets_a_name_to_be_answered_at as a_client_gets_a_name_to_be_answered_at,
    super::senders_without_a_name as senders_without_a_name,
    super::a_full_receiver_holds_senders_up as a_full_receiver_holds_senders_up,
    super::more_than_the_system_takes_is_too_large as more_than_the_system_takes_is_too_large,
    super::nobody_there as nobody_there,
);

type Endpoint = DatagramEndpoint<UnixDatagram, Raw>;

fn server() -> (Endpoint, UnixAddress) {
    server_with(UnnamedSenders::default())
}

fn server_with(unnamed: UnnamedSenders) -> (Endpoint, UnixAddress) {
    let socket = UnixDatagram::bind(&UnixAddress::autobind()).unwrap();
    let server = DatagramEndpointBuilder::default()
        .unnamed(unnamed)
        .over(socket, Raw::new());
    let at = server.local_addr().unwrap().as_unix().unwrap().clone();
    (server, at)
}

// T9
async fn a_client_gets_a_name_to_be_answered_at() {
    let (server, at) = server();
    let mut client = DatagramTransport::unix_datagram(&at, Raw::new()).unwrap();
    client.send(&Bytes::from("question")).await.unwrap();
    let (message, sender) = server.recv_from().await.unwrap();
    assert_eq!(
        (&message[..], Some(&sender)),
        (&b"question"[..], client.local_addr())
    );
    server
        .send_to(&Bytes::from("answer"), &sender)
        .await
        .unwrap();
    assert_eq!(
        client.recv().await.unwrap().as_deref(),
        Some(&b"answer"[..])
    );
    // A socket that is connected is not sent to by others.
    let (other, _) = self::server();
    let error = other
        .send_to(&Bytes::from("foreign"), &sender)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert!(client.recv().now_or_never().is_none());
}

// T9
async fn senders_without_a_name() {
    for policy in [
        UnnamedSenders::Ignore,
        UnnamedSenders::Warn,
        UnnamedSenders::Handle,
    ] {
        let (server, at) = server_with(policy);
        let at = Address::Unix(at);
        let unnamed = UnixDatagram::unbound().unwrap();
        let named = self::server().0;
        unnamed.send_to(b"unnamed", &at).await.unwrap();
        named.send_to(&Bytes::from("named"), &at).await.unwrap();
        match policy {
            UnnamedSenders::Warn => {
                let error = server.recv_from().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Address);
                let source = error.source().unwrap().downcast_ref::<UnnamedSender>();
                assert_eq!(source.unwrap().len(), 7);
            }
            UnnamedSenders::Handle => {
                let (message, sender) = server.recv_from().await.unwrap();
                assert_eq!(sender, Address::Unix(UnixAddress::UNNAMED));
                assert_eq!(message, "unnamed");
                let error = server.send_to(&message, &sender).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Address);
            }
            _ => {}
        }
        let (message, sender) = server.recv_from().await.unwrap();
        assert_eq!(
            (&message[..], Some(&sender)),
            (&b"named"[..], named.local_addr())
        );
        let dropped = u64::from(policy != UnnamedSenders::Handle);
        assert_eq!(server.counters().unnamed, dropped, "{policy:?}");
    }
}

// T9
async fn a_full_receiver_holds_senders_up() {
    let (here, there) = UnixDatagram::pair().unwrap();
    let (mut here, mut there) = (over(here), over(there));
    let mut queued = 0_u32;
    while let Some(sent) = here
        .send(&Bytes::copy_from_slice(&queued.to_be_bytes()))
        .now_or_never()
    {
        sent.unwrap();
        queued += 1;
        assert!(queued < 10_000, "it never was full");
    }
    // All that was said to be queued arrives in order, what was dropped does not; a waiting send
    // goes on once there is room.
    let due = queued + 5;
    let sending = async {
        for n in queued..due {
            here.send(&Bytes::copy_from_slice(&n.to_be_bytes()))
                .await
                .unwrap();
        }
        here.flush().await.unwrap();
    };
    let receiving = async {
        for n in 0..due {
            assert_eq!(there.recv().await.unwrap().unwrap(), n.to_be_bytes()[..]);
        }
    };
    futures_util::future::join(sending, receiving).await;
    assert!(there.recv().now_or_never().is_none());
}

// T9
async fn more_than_the_system_takes_is_too_large() {
    let (here, there) = UnixDatagram::pair().unwrap();
    let builder = DatagramTransportBuilder::default().max_packet(bytes(8 << 20));
    let (mut here, mut there) = (builder.over(here, Raw::new()), over(there));
    let error = here.send(&Bytes::from(vec![0; 4 << 20])).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TooLarge { limit } if limit < 4 << 20),
        "{error}"
    );
    assert_eq!(error.delivery(), Delivery::NotSent);
    here.send(&Bytes::from("short")).await.unwrap();
    assert_eq!(there.recv().await.unwrap().as_deref(), Some(&b"short"[..]));
    let (server, at) = server();
    let endpoint = DatagramEndpointBuilder::default()
        .max_packet(bytes(8 << 20))
        .over(UnixDatagram::unbound().unwrap(), Raw::new());
    let message = Bytes::from(vec![0; 4 << 20]);
    let error = endpoint.send_to(&message, &at.into()).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TooLarge { .. }),
        "{error}"
    );
    drop(server);
}

// T9
async fn nobody_there() {
    let (server, at) = server();
    let mut client = DatagramTransport::unix_datagram(&at, Raw::new()).unwrap();
    drop(server);
    let error = client.send(&Bytes::from("to nobody")).await.unwrap_err();
    assert!(error.is_connection(), "{error}");
    let error = DatagramTransport::unix_datagram(&at, Raw::new()).unwrap_err();
    assert_eq!(
        (error.kind(), error.peer()),
        (ErrorKind::Refused, Some(&at.clone().into()))
    );
    let lone = DatagramEndpoint::new(UnixDatagram::unbound().unwrap(), Raw::new());
    let error = lone.send_to(&Bytes::new(), &at.into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let nowhere = UnixAddress::from_path("/nonexistent/socket").unwrap();
    let options = UnixOptions::new();
    assert!(UnixDatagram::connect_with(&nowhere, options).is_err());
    let error = lone
        .send_to(&Bytes::new(), &nowhere.into())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
}
