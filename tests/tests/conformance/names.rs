//! Names: B45 to B50.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::task::Poll;

use bowline::sim::{Answer, Sim};
use bowline_backend::Backend;
use bowline_backend::net::{
    Family, Query, QueryFlags, ResolveError, ResolveErrorKind, ReverseFlags, resolve, reverse,
};
use bowline_backend::task::RunOptions;

use crate::conformance;

conformance! {
    all: [
        numeric_hosts_need_no_thread,
        a_query_without_a_host_needs_no_thread,
        a_name_that_must_be_digits_asks_nobody,
        addresses_of_ipv4_are_mapped_where_ipv6_has_none,
        localhost_is_known,
        a_name_has_addresses_of_families_that_are_configured,
        a_missing_name_is_an_error,
        a_failed_look_up_is_of_the_kind_of_its_code,
        a_bad_name_is_refused,
        a_look_up_can_be_dropped,
        loopback_has_a_name,
        digits_are_answered_without_a_look_up,
        a_host_in_digits_asks_no_name_server,
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
            let found = at_once(Query::host(host, 80)).await;
            assert_eq!(found, addresses([expected]));
        }
        let any = resolve(Query::passive(80).family(Family::V4))
            .await
            .unwrap();
        assert_eq!(any, ["0.0.0.0:80".parse().unwrap()]);
        let wrong = resolve(Query::host("127.0.0.1", 80).family(Family::V6)).await;
        assert_eq!(wrong.unwrap_err().kind(), ResolveErrorKind::NoAddress);
    });
}

/// What the first poll of a look-up gives, which asked nobody then.
async fn at_once(query: Query) -> Result<Vec<SocketAddr>, ResolveErrorKind> {
    let what = format!("{query:?}");
    let mut look_up = pin!(resolve(query));
    match poll_fn(|cx| Poll::Ready(look_up.as_mut().poll(cx))).await {
        Poll::Ready(found) => found.map_err(|error| error.kind()),
        Poll::Pending => panic!("{what} took a look-up"),
    }
}

fn addresses<const N: usize>(texts: [&str; N]) -> Result<Vec<SocketAddr>, ResolveErrorKind> {
    Ok(texts.map(|text| text.parse().unwrap()).to_vec())
}

// B45
fn a_query_without_a_host_needs_no_thread(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let loopback = addresses(["[::1]:80", "127.0.0.1:80"]);
        assert_eq!(at_once(Query::loopback(80)).await, loopback);
        let any = addresses(["[::]:80", "0.0.0.0:80"]);
        assert_eq!(at_once(Query::passive(80)).await, any);
        let passive = Query::loopback(80).flags(QueryFlags::new().passive());
        assert_eq!(at_once(passive).await, any);
        let v6 = at_once(Query::passive(80).family(Family::V6)).await;
        assert_eq!(v6, addresses(["[::]:80"]));
        // The flag is of queries without a host.
        let named = Query::host("192.0.2.7", 80).flags(QueryFlags::new().passive());
        assert_eq!(at_once(named).await, addresses(["192.0.2.7:80"]));
    });
}

// B45, B47
fn a_name_that_must_be_digits_asks_nobody(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let digits = |host: &str| Query::host(host, 80).flags(QueryFlags::new().numeric_host());
        let name = at_once(digits("localhost")).await;
        assert_eq!(name, Err(ResolveErrorKind::NotFound));
        let error = resolve(digits("localhost")).await.unwrap_err();
        assert_eq!(error.to_string(), "localhost is no address in digits");
        assert_eq!(error.code(), None);
        let v6 = at_once(digits("fe80::1%7")).await;
        assert_eq!(v6, addresses(["[fe80::1%7]:80"]));
        // The system knows the names of its interfaces; there is none of this one.
        let scoped = resolve(digits("fe80::1%none")).await.unwrap_err();
        assert_eq!(scoped.kind(), ResolveErrorKind::NotFound, "{scoped}");
    });
}

// B45, B46
fn addresses_of_ipv4_are_mapped_where_ipv6_has_none(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let v6 = |host: &str| Query::host(host, 80).family(Family::V6);
        let mapped = |host: &str| v6(host).flags(QueryFlags::new().mapped());
        let digits = at_once(v6("192.0.2.7")).await;
        assert_eq!(digits, Err(ResolveErrorKind::NoAddress));
        let digits = at_once(mapped("192.0.2.7")).await;
        assert_eq!(digits, addresses(["[::ffff:192.0.2.7]:80"]));
        // Where there is one of IPv6, that; and of no other family anything is mapped.
        let own = at_once(
            Query::loopback(80)
                .family(Family::V6)
                .flags(QueryFlags::new().mapped()),
        );
        assert_eq!(own.await, addresses(["[::1]:80"]));
        let v4 = Query::host("192.0.2.7", 80).flags(QueryFlags::new().mapped());
        assert_eq!(at_once(v4).await, addresses(["192.0.2.7:80"]));
        // A name has one or the other.
        let named = resolve(mapped("localhost")).await.unwrap();
        let expected = match resolve(v6("localhost")).await {
            Ok(own) => own,
            Err(_) => addresses(["[::ffff:127.0.0.1]:80"]).unwrap(),
        };
        assert_eq!(named, expected);
    });
}

// B46
fn a_name_has_addresses_of_families_that_are_configured(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let all = resolve(Query::host("localhost", 443)).await.unwrap();
        let configured = Query::host("localhost", 443).flags(QueryFlags::new().configured());
        // A machine may have one family that the name has no address of.
        match resolve(configured).await {
            Ok(found) => {
                assert!(!found.is_empty());
                assert!(
                    found.iter().all(|address| all.contains(address)),
                    "{found:?} of {all:?}"
                );
                if backend == Backend::Sim {
                    assert_eq!(found.len(), all.len());
                }
            }
            Err(error) => {
                assert_ne!(backend, Backend::Sim);
                let kinds = [ResolveErrorKind::NotFound, ResolveErrorKind::NoAddress];
                assert!(kinds.contains(&error.kind()), "{error:?}");
            }
        }
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

// B47
fn a_failed_look_up_is_of_the_kind_of_its_code(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let query = Query::host("no-such-host.invalid", 1);
        let error = resolve(query).await.unwrap_err();
        let kind = match error.code() {
            // Nobody has a name server, or it does not answer.
            #[cfg(target_os = "linux")]
            Some(libc::EAI_AGAIN) => ResolveErrorKind::TryAgain,
            #[cfg(target_os = "linux")]
            Some(libc::EAI_NODATA) => ResolveErrorKind::NoAddress,
            #[cfg(target_os = "linux")]
            Some(code) => {
                assert_eq!(code, libc::EAI_NONAME, "{error}");
                ResolveErrorKind::NotFound
            }
            #[cfg(not(target_os = "linux"))]
            Some(_) => error.kind(),
            None => {
                assert_eq!(backend, Backend::Sim, "a system has codes: {error}");
                ResolveErrorKind::NotFound
            }
        };
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(as_io(error), io_kind(kind));
    });
}

/// The kind of it that programs see which do not look at the resolver's.
fn as_io(error: ResolveError) -> ErrorKind {
    io::Error::from(error).kind()
}

fn io_kind(kind: ResolveErrorKind) -> ErrorKind {
    match kind {
        // Never `WouldBlock`, which would promise a wake.
        ResolveErrorKind::TryAgain => ErrorKind::TimedOut,
        _ => ErrorKind::NotFound,
    }
}

// B47
#[test]
fn a_world_answers_each_way_that_a_resolver_can() {
    let ask = || async {
        for (name, kind) in [
            ("missing", ResolveErrorKind::NotFound),
            ("busy", ResolveErrorKind::TryAgain),
            ("silent", ResolveErrorKind::TryAgain),
            ("of-v4", ResolveErrorKind::NoAddress),
        ] {
            let query = Query::host(name, 80).family(Family::V6);
            let error = resolve(query).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(as_io(error), io_kind(kind), "{name}");
        }
        Ok::<(), io::Error>(())
    };
    let world = Sim::builder()
        .client("client", ask)
        .name("missing", Answer::NotFound)
        .name("busy", Answer::TryAgain)
        .name("silent", Answer::Silence)
        .name("of-v4", Answer::HostV4("client".to_owned()));
    for seed in 0..10 {
        world.clone().seed(seed).run().expect("each as it is said");
    }
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

// B50
fn a_host_in_digits_asks_no_name_server(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        // Of the block for documentation: a server that is asked is silent, or says that it failed.
        let nobody: SocketAddr = "192.0.2.1:80".parse().unwrap();
        let digits = ReverseFlags::new().numeric_host();
        // A name cannot be missing where none is asked for.
        for flags in [digits, digits.datagram(), digits.name_required()] {
            let (host, service) = reverse(nobody, flags).await.unwrap();
            assert_eq!(host, "192.0.2.1");
            assert!(service == "http" || service == "80", "{service}");
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
