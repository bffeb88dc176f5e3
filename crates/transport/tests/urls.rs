//! Addresses of transports as text.

use bowline_transport::{Place, Url, UrlErrorKind};
use proptest::prelude::*;

fn url(text: &str) -> Url {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn host(name: &str, port: impl Into<Option<u16>>) -> Place {
    Place::Host {
        name: name.to_owned(),
        port: port.into(),
    }
}

// Of TR11
#[test]
fn every_form_is_read() {
    let path = |path: &str| Place::Path(path.to_owned());
    let named = |name: &str| Place::Abstract(name.to_owned());
    for (text, scheme, place) in [
        ("tcp://example.org:80", "tcp", host("example.org", 80)),
        ("TCP://10.0.0.1:0", "tcp", host("10.0.0.1", 0)),
        ("tcp://[::1]:65535", "tcp", host("::1", 65_535)),
        ("tcp://[0:0::1]", "tcp", host("::1", None)),
        ("tcp://:0", "tcp", host("", 0)),
        ("tcp://*:8080", "tcp", host("*", 8_080)),
        ("tcp://", "tcp", host("", None)),
        ("udp://caf%C3%A9.example:9", "udp", host("café.example", 9)),
        ("mem://calls", "mem", host("calls", None)),
        ("my+own-1.0://x", "my+own-1.0", host("x", None)),
        ("unix:/run/app.sock", "unix", path("/run/app.sock")),
        ("unix:relative/%25.sock", "unix", path("relative/%.sock")),
        ("unix:/a%3Fb%23c", "unix", path("/a?b#c")),
        ("unixgram:/%2Fdouble", "unixgram", path("//double")),
        ("unix:%40no-abstract", "unix", path("@no-abstract")),
        ("unix:@name", "unix", named("name")),
        ("unix:@%00zero", "unix", named("\0zero")),
    ] {
        let read = url(text);
        assert_eq!((read.scheme(), read.place()), (scheme, &place), "{text}");
        assert_eq!(read.query().count(), 0, "{text}");
        assert_eq!(url(&read.to_string()), read, "{text} as {read}");
    }
}

// Of TR11
#[test]
fn parameters_keep_their_order_and_number() {
    let read = url("tls://h:1?alpn=h2,http/1.1&sni=&sni=a%26b%3Dc+d");
    let pairs: Vec<_> = read.query().collect();
    assert_eq!(
        pairs,
        [("alpn", "h2,http/1.1"), ("sni", ""), ("sni", "a&b=c+d")]
    );
    assert_eq!(url(&read.to_string()), read, "{read}");
    assert_eq!(url("tls://h:1?").query().count(), 0);
}

// Of TR11
#[test]
fn malformed_ones_are_refused_where_they_are_wrong() {
    use UrlErrorKind::*;
    let long = format!("tcp://{}:1", "a".repeat(Url::MAX));
    for (text, kind, at) in [
        ("", NoScheme, 0),
        ("tcp", NoScheme, 0),
        ("//host:1", Character, 0),
        (":80", NoScheme, 0),
        ("1tcp://h:1", NoScheme, 0),
        ("t_p://h:1", Character, 1),
        ("t?p://h:1", Character, 1),
        ("tcp:", NoPath, 4),
        ("tcp:?a=b", NoPath, 4),
        ("unix:@", NoPath, 6),
        ("unix:/a%00b", Character, 7),
        ("tcp://a b:1", Character, 7),
        ("tcp://a\tb:1", Character, 7),
        ("tcp://a\u{7f}b:1", Character, 7),
        ("tcp://é:1", Character, 6),
        ("tcp://h:1\n", Character, 9),
        ("tcp://a|b:1", Character, 7),
        ("tcp://a\\b:1", Character, 7),
        ("tcp://a%2Fb:1", Character, 7),
        ("tcp://a%0Ab:1", Character, 7),
        ("tcp://%61%2Fb:1", Character, 9),
        ("tcp://%C3%A9b%C2%85:1", Character, 13),
        ("unix:/%41%00", Character, 9),
        ("unix:%C3%A9/%41%00b", Character, 15),
        ("tcp://h:1#top", Fragment, 9),
        ("unix:/a#b", Fragment, 7),
        ("tcp://u@h:1", UserInfo, 6),
        ("tcp://u:secret@h:1", UserInfo, 6),
        ("tcp://h:1/path", Path, 9),
        ("tcp://h/", Path, 7),
        ("tcp://[::1:1", Host, 6),
        ("tcp://[127.0.0.1]:1", Host, 7),
        ("tcp://[fe80::1%25eth0]:1", Host, 7),
        ("tcp://[]:1", Host, 7),
        ("tcp://::1:1", Port, 6),
        ("tcp://[::1]1", Port, 11),
        ("tcp://h:", Port, 7),
        ("tcp://h:65536", Port, 7),
        ("tcp://h:99999999999999999999", Port, 7),
        ("tcp://h:-1", Port, 7),
        ("tcp://h:+1", Port, 7),
        ("tcp://h:0x50", Port, 7),
        ("tcp://h:080", Port, 7),
        ("tcp://h:1:2", Port, 7),
        ("tcp://h%:1", Escape, 7),
        ("tcp://h%4:1", Escape, 7),
        ("tcp://h%zz:1", Escape, 7),
        ("unix:/%ff", Utf8, 6),
        ("unix:/%41a%C3%A9%C3", Utf8, 16),
        ("tcp://h:1?a", NoValue, 10),
        ("tcp://h:1?a=1&&b=2", NoValue, 14),
        ("tcp://h:1?=1", NoKey, 10),
        ("tcp://h:1?a=1&b=%f", Escape, 16),
        (&long[..], TooLong { limit: Url::MAX }, Url::MAX),
    ] {
        let error = text.parse::<Url>().expect_err(text);
        assert_eq!((error.kind(), error.offset()), (kind, Some(at)), "{text}");
        assert!(!error.to_string().contains("secret"));
    }
}

// Of TR11
#[test]
fn nobody_is_reached_without_host_and_port() {
    assert_eq!(url("tcp://h:80").to_dial(), Ok(("h", 80)));
    for (text, kind) in [
        ("tcp://:80", UrlErrorKind::NoHost),
        ("tcp://*:80", UrlErrorKind::NoHost),
        ("tcp://h", UrlErrorKind::NoPort),
        ("tcp://h:0", UrlErrorKind::NoPort),
        ("unix:/a", UrlErrorKind::NotAHost),
        ("example.org:80", UrlErrorKind::NotAHost),
    ] {
        assert_eq!(url(text).to_dial().unwrap_err().kind(), kind, "{text}");
    }
    assert_eq!(url("tcp://:80").to_listen(), Ok((None, 80)));
    assert_eq!(url("tcp://*").to_listen(), Ok((None, 0)));
    assert_eq!(url("tcp://[::]:0").to_listen(), Ok((Some("::"), 0)));
    assert!(url("unix:@a").to_listen().is_err());
}

proptest! {
    // Of TR11
    #[test]
    fn any_text_is_a_url_or_an_error(text in "(tcp|unix|x):(//|@)?[ -~é]{0,24}") {
        match text.parse::<Url>() {
            Ok(read) => prop_assert_eq!(url(&read.to_string()), read),
            Err(error) => prop_assert!(error.offset().is_some_and(|at| at <= text.len())),
        }
    }

    // Of TR11
    #[test]
    fn what_is_escaped_comes_back(path in "[^\0]{1,12}", value in any::<String>()) {
        let escaped = |text: &str| -> String {
            text.bytes().map(|byte| format!("%{byte:02x}")).collect()
        };
        let read = url(&format!("unix:{}?k={}", escaped(&path), escaped(&value)));
        prop_assert_eq!(read.place(), &Place::Path(path));
        prop_assert_eq!(read.query().next(), Some(("k", &value[..])));
        prop_assert_eq!(url(&read.to_string()), read);
    }
}
