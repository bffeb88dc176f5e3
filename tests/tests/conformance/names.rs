//! Names: B45 to B50.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::task::Poll;

use bowline_backend::Backend;
use bowline_backend::net::{Family, Query, ResolveErrorKind, ReverseFlags, resolve, reverse};
use bowline_backend::task::RunOptions;

use crate::conformance;

conformance! {
    all: [
        numeric_hosts_need_no_thread,
        localhost_is_known,
        a_missing_name_is_an_error,
        a_bad_name_is_refused,
        a_look_up_can_be_dropped,
        loopback_has_a_name,
        digits_are_answered_without_a_look_up,
        a_name_that_is_required_and_missing_is_an_error,
    ]
    real: []
    dropping: []
    real_dropping: []
}

// B45
fn numeric_hosts_need_no_thread(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        for (host, expected) in [
            ("127.0.0.1", "127.0.0.1:80"),
            ("::1", "[::1]:80"),
            ("fe80::1%7", "[fe80::1%7]:80"),
        ] {
            // Ready at the first poll: nothing was asked.
            let mut look_up = pin!(resolve(Query::host(host, 80)));
            match poll_fn(|cx| Poll::Ready(look_up.as_mut().poll(cx))).await {
                Poll::Ready(found) => {
                    assert_eq!(found.unwrap(), [expected.parse::<SocketAddr>().unwrap()]);
                }
                Poll::Pending => panic!("{host} took a look-up"),
            }
        }
        let any = resolve(Query::passive(80).family(Family::V4))
            .await
            .unwrap();
        assert_eq!(any, ["0.0.0.0:80".parse().unwrap()]);
        let wrong = resolve(Query::host("127.0.0.1", 80).family(Family::V6)).await;
        assert_eq!(wrong.unwrap_err().kind(), ResolveErrorKind::NoAddress);
    });
}

// B46
fn localhost_is_known(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let found = resolve(Query::host("localhost", 443).family(Family::V4))
            .await
            .unwrap();
        assert_eq!(found, [SocketAddr::from((Ipv4Addr::LOCALHOST, 443))]);
    });
}

// B47
fn a_missing_name_is_an_error(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let error = resolve(Query::host("no-such-host.invalid", 1))
            .await
            .unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ResolveErrorKind::NotFound | ResolveErrorKind::TryAgain
            ),
            "{error:?}"
        );
        assert!(
            error.to_string().contains("no-such-host.invalid"),
            "{error}"
        );
    });
}

// B48
fn a_bad_name_is_refused(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        for bad in ["a\0b".to_owned(), "x".repeat(300), String::new()] {
            let error = resolve(Query::host(bad, 1)).await.unwrap_err();
            assert_eq!(error.kind(), ResolveErrorKind::InvalidName);
        }
    });
}

// B49
fn a_look_up_can_be_dropped(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        for _ in 0..20 {
            let mut look_up = Box::pin(resolve(Query::host("localhost", 1)));
            let _ = poll_fn(|cx| Poll::Ready(look_up.as_mut().poll(cx))).await;
            drop(look_up);
        }
        assert!(resolve(Query::host("localhost", 1)).await.is_ok());
    });
}

// B50
fn loopback_has_a_name(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);
        let (host, service) = reverse(loopback, ReverseFlags::new()).await.unwrap();
        assert!(!host.is_empty());
        assert!(service == "http" || service == "80", "{service}");
        let required = ReverseFlags::new().name_required().datagram();
        let (named, _) = reverse(loopback, required).await.unwrap();
        assert_eq!(named, host);
        let number = ReverseFlags::new().numeric_service();
        let answer = reverse(loopback, number).await.unwrap();
        assert_eq!(answer, (host, "80".to_owned()));
        let digits = ReverseFlags::new().numeric_host();
        assert_eq!(reverse(loopback, digits).await.unwrap().0, "127.0.0.1");
    });
}

// B50
fn digits_are_answered_without_a_look_up(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        for (address, host) in [
            ("192.0.2.7:443", "192.0.2.7"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("[fe80::1%7]:443", "fe80::1%7"),
        ] {
            let digits = ReverseFlags::new().numeric_host().numeric_service();
            // Ready at the first poll: nothing was asked.
            let mut look_up = pin!(reverse(address.parse().unwrap(), digits));
            match poll_fn(|cx| Poll::Ready(look_up.as_mut().poll(cx))).await {
                Poll::Ready(found) => {
                    assert_eq!(found.unwrap(), (host.to_owned(), "443".to_owned()));
                }
                Poll::Pending => panic!("{address} took a look-up"),
            }
        }
    });
}

// B50, B47
fn a_name_that_is_required_and_missing_is_an_error(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        // Of the block for documentation: nobody has it.
        let nobody: SocketAddr = "192.0.2.7:80".parse().unwrap();
        let required = ReverseFlags::new().name_required();
        let error = reverse(nobody, required).await.unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ResolveErrorKind::NotFound | ResolveErrorKind::TryAgain
            ),
            "{error:?}"
        );
    });
}
