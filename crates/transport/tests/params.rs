//! Parameters of transports by name.

use std::ffi::OsString;
use std::time::Duration;

use bowline_transport::{KeySpec, ParamErrorKind, ParamType, Params};

static KEYS: [KeySpec; 7] = [
    KeySpec::new("name", ParamType::Text),
    KeySpec::new("count", ParamType::Integer),
    KeySpec::new("nodelay", ParamType::Flag),
    KeySpec::new("max_frame", ParamType::Size),
    KeySpec::new("connect_timeout", ParamType::Duration),
    KeySpec::new("alpn", ParamType::List),
    KeySpec::new("mode", ParamType::Mode),
];

fn of(pairs: &[(&'static str, &'static str)]) -> Params {
    Params::of_pairs(&KEYS, pairs.iter().copied()).unwrap()
}

// Of TR11
#[test]
fn values_have_the_type_of_their_key() {
    let params = of(&[
        ("alpn", "h2,http/1.1"),
        ("name", ""),
        ("count", "18446744073709551615"),
        ("nodelay", "Yes"),
        ("max_frame", "64KiB"),
        ("connect_timeout", "250ms"),
    ]);
    assert_eq!(params.text("name"), Some(""));
    assert_eq!(params.integer("count"), Some(u64::MAX));
    assert_eq!(params.flag("nodelay"), Some(true));
    assert_eq!(params.size("max_frame"), Some(65_536));
    let timeout = Duration::from_millis(250);
    assert_eq!(params.duration("connect_timeout"), Some(timeout));
    assert_eq!(params.list("alpn").unwrap(), ["h2", "http/1.1"]);
    assert_eq!(
        params.to_string(),
        "alpn=h2,http/1.1&name=&count=18446744073709551615&nodelay=true&max_frame=65536\
         &connect_timeout=250ms"
    );
    assert_eq!(params.names().next(), Some("alpn"));
    assert_eq!(Params::new(&KEYS).integer("count"), None);
}

// Of TR11
#[test]
fn permissions_are_octal() {
    for (text, mode, shown) in [
        ("0", 0, "0000"),
        ("0660", 0o660, "0660"),
        ("660", 0o660, "0660"),
        ("0777", 0o777, "0777"),
    ] {
        let params = of(&[("mode", text)]);
        assert_eq!(params.mode("mode"), Some(mode));
        assert_eq!(params.to_string(), format!("mode={shown}"));
    }
    for text in [
        "",
        "8",
        "1000",
        "1777",
        "+7",
        "-7",
        "0o660",
        "rw",
        "66 0",
        "77777777777777",
    ] {
        let error = Params::of_pairs(&KEYS, [("mode", text)]).unwrap_err();
        assert_eq!(error.kind(), ParamErrorKind::Unreadable(ParamType::Mode));
        let said = error.to_string();
        assert_eq!(
            said,
            "`mode` has to be permissions in octal digits, such as `0660`"
        );
    }
    assert_eq!(Params::new(&KEYS).mode("mode"), None);
}

// Of TR11
#[test]
fn units_are_as_written() {
    for (text, bytes) in [
        ("0", Some(0)),
        ("7B", Some(7)),
        ("1kB", Some(1_000)),
        ("1KiB", Some(1_024)),
        ("2MB", Some(2_000_000)),
        ("2MiB", Some(2 << 20)),
        ("3GB", Some(3_000_000_000)),
        ("3GiB", Some(3 << 30)),
        ("18446744073709551615GiB", None),
        ("1KB", None),
        ("1 KiB", None),
        ("KiB", None),
        ("-1", None),
        ("1.5MiB", None),
        ("", None),
    ] {
        let read = Params::of_pairs(&KEYS, [("max_frame", text)]);
        let read = read.ok().and_then(|params| params.size("max_frame"));
        assert_eq!(read, bytes, "{text}");
    }
    for (text, nanos) in [
        ("5ns", Some(5)),
        ("5us", Some(5_000)),
        ("5ms", Some(5_000_000)),
        ("5s", Some(5_000_000_000)),
        ("2min", Some(120_000_000_000)),
        ("1h", Some(3_600_000_000_000)),
        ("18446744073709551615h", None),
        ("5", None),
        ("5m", None),
        ("1e3s", None),
        ("s", None),
    ] {
        let read = Params::of_pairs(&KEYS, [("connect_timeout", text)]);
        let read = read
            .ok()
            .and_then(|params| params.duration("connect_timeout"));
        assert_eq!(read, nanos.map(Duration::from_nanos), "{text}");
    }
    for (text, words) in [("", Some(0)), ("a", Some(1)), ("a,,b", None), (",", None)] {
        let read = Params::of_pairs(&KEYS, [("alpn", text)]);
        let read = read
            .ok()
            .and_then(|params| Some(params.list("alpn")?.len()));
        assert_eq!(read, words, "{text}");
    }
}

// Of TR11
#[test]
fn what_is_wrong_is_named_and_changes_nothing() {
    let mut params = of(&[("count", "1")]);
    let before = params.clone();

    let unknown = params.set("cuont", "1").unwrap_err();
    assert_eq!(unknown.kind(), ParamErrorKind::Unknown);
    let all = "name, count, nodelay, max_frame, connect_timeout, alpn, mode";
    assert_eq!(unknown.allowed().collect::<Vec<_>>().join(", "), all);
    let text = format!("there is no key `cuont`; there are {all}");
    assert_eq!(unknown.to_string(), text);

    let repeated = params.set("count", "2").unwrap_err();
    assert_eq!(repeated.kind(), ParamErrorKind::Repeated);
    assert_eq!(repeated.to_string(), "`count` is there twice");

    let unreadable = params.set("nodelay", "perhaps: secret").unwrap_err();
    let kind = ParamErrorKind::Unreadable(ParamType::Flag);
    assert_eq!(unreadable.kind(), kind);
    assert_eq!(
        unreadable.to_string(),
        "`nodelay` has to be `true` or `false`"
    );

    let hostile = params.set(&"\n".repeat(1_000_000), "").unwrap_err();
    assert!(hostile.to_string().len() < 300);
    assert_eq!(params, before);
}

// Of TR11
#[test]
#[should_panic(expected = "`count` is a whole number, such as `100`, not text")]
fn a_key_is_read_as_what_it_is() {
    of(&[("count", "1")]).text("count");
}

// Of TR11
#[test]
#[should_panic(expected = "there is no key `cuont`")]
fn a_key_that_is_none_is_not_read() {
    of(&[("count", "1")]).integer("cuont");
}

// TR15
#[test]
fn what_is_explicit_goes_before_the_environment_and_that_before_defaults() {
    let variable = |name: &str| -> Option<OsString> {
        match name {
            // Never looked at: that key is explicit.
            "APP_COUNT" => Some("nonsense".into()),
            "APP_CONNECT_TIMEOUT" => Some("3s".into()),
            "APP_MAX_FRAME" => Some("1KiB".into()),
            // Prefix or case of another.
            "APPNODELAY" | "APP_nodelay" | "NODELAY" => Some("false".into()),
            _ => None,
        }
    };
    let explicit = of(&[("count", "1")]);
    let defaults = of(&[("count", "2"), ("max_frame", "2KiB"), ("nodelay", "true")]);
    let params = Params::layered_over(explicit, "APP", variable, &defaults).unwrap();
    assert_eq!(params.integer("count"), Some(1));
    assert_eq!(params.size("max_frame"), Some(1_024));
    assert_eq!(params.flag("nodelay"), Some(true));
    assert_eq!(
        params.duration("connect_timeout"),
        Some(Duration::from_secs(3))
    );
    assert_eq!(params.text("name"), None);
}

// TR15
#[test]
fn a_variable_is_checked_like_a_key_of_a_url() {
    let none = Params::new(&KEYS);
    let variable = |name: &str| (name == "APP_COUNT").then(|| OsString::from("1e3"));
    let error = Params::layered_over(none.clone(), "APP", variable, &none).unwrap_err();
    assert_eq!(error.name(), "APP_COUNT");
    let kind = ParamErrorKind::Unreadable(ParamType::Integer);
    assert_eq!(error.kind(), kind);
}

// TR15
#[cfg(unix)]
#[test]
fn a_variable_has_to_be_text() {
    use std::os::unix::ffi::OsStringExt;

    let none = Params::new(&KEYS);
    let variable = |name: &str| (name == "APP_NAME").then(|| OsString::from_vec(vec![0xff]));
    let error = Params::layered_over(none.clone(), "APP", variable, &none).unwrap_err();
    assert_eq!(
        (error.name(), error.kind()),
        ("APP_NAME", ParamErrorKind::NotText)
    );
}

// TR15
#[test]
fn the_environment_of_the_process_is_read() {
    // Cargo sets it for its tests.
    static OF_CARGO: [KeySpec; 1] = [KeySpec::new("pkg_name", ParamType::Text)];
    let none = Params::new(&OF_CARGO);
    let params = Params::layered(none.clone(), "CARGO", &none).unwrap();
    assert_eq!(params.text("pkg_name"), Some("bowline-transport"));
}

// TR11, TR15
#[test]
fn what_is_out_of_range_is_told_with_the_range() {
    static KEYS: [KeySpec; 4] = [
        KeySpec::new("connect_timeout", ParamType::Duration).within(1, 24 * 3_600_000),
        KeySpec::new("max_frame", ParamType::Size).within(1, 4 << 30),
        KeySpec::new("port", ParamType::Integer).within(1, 65_535),
        KeySpec::new("odd", ParamType::Size).within(0, 1025),
    ];
    let read = |key: &str, value: &str| {
        let mut params = Params::new(&KEYS);
        params.set(key, value).map_err(|error| error.to_string())
    };
    let timeout = "`connect_timeout` has to be from 1ms to 24h";
    let frame = "`max_frame` has to be from 1B to 4GiB";
    let port = "`port` has to be from 1 to 65535";
    for (key, value, told) in [
        ("connect_timeout", "0s", Some(timeout)),
        ("connect_timeout", "999us", Some(timeout)),
        ("connect_timeout", "1ms", None),
        ("connect_timeout", "24h", None),
        ("connect_timeout", "86401s", Some(timeout)),
        ("max_frame", "0", Some(frame)),
        ("max_frame", "4GiB", None),
        ("max_frame", "4294967297", Some(frame)),
        ("max_frame", "9999999999GiB", Some(frame)),
        ("port", "0", Some(port)),
        ("port", "65536", Some(port)),
        ("port", "65535", None),
        ("odd", "2KiB", Some("`odd` has to be from 0B to 1025B")),
    ] {
        assert_eq!(read(key, value).err().as_deref(), told, "{key}={value}");
    }
    let mut params = Params::new(&KEYS);
    let error = params.set("port", "0").unwrap_err();
    let kind = ParamErrorKind::OutOfRange {
        of: ParamType::Integer,
        least: 1,
        most: 65_535,
    };
    assert_eq!((error.name(), error.kind()), ("port", kind));
    assert_eq!(params.names().count(), 0);
    // The environment as well.
    let variable = |name: &str| (name == "APP_MAX_FRAME").then(|| OsString::from("0"));
    let layered = Params::layered_over(Params::new(&KEYS), "APP", variable, &Params::new(&KEYS));
    let told = layered.unwrap_err().to_string();
    assert_eq!(told, "`APP_MAX_FRAME` has to be from 1B to 4GiB");
}
