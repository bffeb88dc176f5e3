//! Transports by name and by URL.

mod given_up;
mod opened;

use std::error::Error as _;

use bowline_backend::Backend;
use bowline_codec::{Framed, Lines, Text};
use bowline_concurrency::{Root, timeout};
use bowline_transport::{
    DynTransport, Error, ErrorKind, Extra, KeySpec, MemoryStream, MessageStream, ParamType, Params,
    PeerAddr, TransportFactory, TransportRegistry,
};

fn lines() -> Framed<Lines, Text> {
    Lines::lf().text()
}

fn registry() -> TransportRegistry<String, String> {
    TransportRegistry::with_builtin(lines)
}

fn on_each(law: impl AsyncFn()) {
    for backend in [
        Backend::Tokio,
        Backend::Smol,
        Backend::AsyncStd,
        Backend::Sim,
    ] {
        Root::new().backend(backend).block_on(async {
            let done = timeout(std::time::Duration::from_secs(60), law()).await;
            done.unwrap_or_else(|_| panic!("it did not end on {backend}"));
        });
    }
}

/// What a `Config` error says beneath.
fn why<T>(result: Result<T, Error>) -> String {
    let Err(error) = result else {
        panic!("it was accepted");
    };
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error.source().expect("a reason").to_string()
}

/// A kind of transport with one end that nobody has.
pub(crate) struct Own(pub(crate) &'static str);

pub(crate) const KEYS: &[KeySpec] = &[KeySpec::new("loudness", ParamType::Integer)];

impl TransportFactory<String, String> for Own {
    fn create(&self, params: &Params) -> Result<DynTransport<String, String>, Error> {
        let name = format!("{} at {:?}", self.0, params.integer("loudness"));
        let (here, _there) = MemoryStream::builder().names("own", name).pair();
        Ok(DynTransport::new(MessageStream::new(here, lines())))
    }

    fn keys(&self) -> &'static [KeySpec] {
        KEYS
    }
}

fn peer(transport: &DynTransport<String, String>) -> String {
    transport.extra::<PeerAddr>().unwrap().to_string()
}

// TR11
#[test]
fn names_keep_their_order_and_are_taken_once() {
    let mut registry = registry();
    let builtin: Vec<&str> = registry.names().collect();
    assert_eq!(builtin, ["tcp", "unix", "tls", "udp", "unixgram", "mem"]);
    registry.register("zz", Own("first")).unwrap();
    registry.register("aa", Own("other")).unwrap();
    let names: Vec<&str> = registry.names().collect();
    assert_eq!(
        names,
        ["tcp", "unix", "tls", "udp", "unixgram", "mem", "zz", "aa"]
    );

    let taken = why(registry.register("zz", Own("second")));
    assert_eq!(
        taken,
        "there is a transport `zz` already; `replace` is for that"
    );
    assert_eq!(peer(&registry.open("zz://").unwrap()), "first at None");

    registry.replace("zz", Own("second")).unwrap();
    registry.replace("new", Own("third")).unwrap();
    let opened = registry.open("ZZ://?loudness=11").unwrap();
    assert_eq!(peer(&opened), "second at Some(11)");
    let names: Vec<&str> = registry.names().collect();
    assert_eq!(
        names,
        [
            "tcp", "unix", "tls", "udp", "unixgram", "mem", "zz", "aa", "new"
        ]
    );

    for name in ["", "Tcp", "1a", "a b", "a:b"] {
        assert!(why(registry.register(name, Own("?"))).contains("can be no scheme"));
    }
}

// TR11
#[test]
fn what_is_not_known_is_told_with_what_there_is() {
    let registry = registry();
    let names = "there are tcp, unix, tls, udp, unixgram, mem";
    assert_eq!(
        why(registry.open("tpc://h:1")),
        format!("there is no transport `tpc`; {names}")
    );
    assert_eq!(
        why(registry.params("ws")),
        format!("there is no transport `ws`; {names}")
    );
    let params = Params::new(KEYS);
    assert_eq!(
        why(registry.create("ws", &params)),
        format!("there is no transport `ws`; {names}")
    );
    assert_eq!(
        why(registry.create("tcp", &params)),
        "these are not the parameters of `tcp`"
    );
    assert_eq!(
        why(registry.open("tcp://h:1?nodely=on")),
        "there is no key `nodely`; there are host, port, connect_timeout, nodelay, max_frame, reconnect"
    );
    let empty = TransportRegistry::<String, String>::new();
    assert_eq!(
        why(empty.open("tcp://h:1")),
        "there is no transport `tcp`, nor any other"
    );
}

/// One that is found by a host alone.
struct ByHost;

impl TransportFactory<String, String> for ByHost {
    fn create(&self, params: &Params) -> Result<DynTransport<String, String>, Error> {
        let name = format!("{:?}", params.text("host"));
        let (here, _there) = MemoryStream::builder().names("own", name).pair();
        Ok(DynTransport::new(MessageStream::new(here, lines())))
    }

    fn keys(&self) -> &'static [KeySpec] {
        const KEYS: &[KeySpec] = &[
            KeySpec::new("host", ParamType::Text),
            KeySpec::new("loud", ParamType::Flag),
        ];
        KEYS
    }
}

// TR11
#[test]
fn a_host_needs_a_port_only_where_there_is_a_key_for_it() {
    let mut registry = registry();
    registry.register("echo", ByHost).unwrap();
    let opened = registry.open("echo://there?loud=yes").unwrap();
    assert_eq!(peer(&opened), "Some(\"there\")");
    assert_eq!(
        why(registry.open("echo://there:80")),
        "there is no key `port`; there are host, loud"
    );
    for nobody in ["echo://", "echo://*"] {
        let told = why(registry.open(nobody));
        assert_eq!(told, "it names no host that could be reached");
    }
    assert!(why(registry.open("echo:/path")).starts_with("it names a path"));
}

// TR11
#[test]
fn all_that_is_malformed_is_refused() {
    let registry = registry();
    for url in [
        "",
        "tcp",
        "://h:1",
        "1tcp://h:1",
        "tcp//h:1",
        "tcp:",
        "tcp:h:1",
        "tcp:/h",
        "tcp://",
        "tcp://h",
        "tcp://h:",
        "tcp://h:0",
        "tcp://h:65536",
        "tcp://h:-1",
        "tcp://h:01",
        "tcp://h:80x",
        "tcp://:80",
        "tcp://*:80",
        "tcp://[::1:80",
        "tcp://[::1%25lo]:80",
        "tcp://[1.2.3.4]:80",
        "tcp://user@h:80",
        "tcp://user:secret@h:80",
        "tcp://h:80/path",
        "tcp://h:80#fragment",
        "tcp://h h:80",
        "tcp://h:80?",
        "tcp://h:80?nodelay",
        "tcp://h:80?=on",
        "tcp://h:80?nodelay=maybe",
        "tcp://h:80?nodelay=on&nodelay=on",
        "tcp://h:80?host=other",
        "tcp://h:80?port=81",
        "tcp://h:80?connect_timeout=5",
        "tcp://h:80?connect_timeout=5parsecs",
        "tcp://h:80?connect_timeout=0s",
        "mem://name?connect_timeout=25h",
        "tcp://h:80?max_frame=99999999GiB",
        "udp://h:80?max_frame=2MiB",
        "udp://h:80?reconnect=yes",
        "unixgram:/a?connect_timeout=0ms",
        "tcp://h:80?max_frame=64kb",
        "tcp://h:80?max_frame=0",
        "tcp://h:80?max_frame=-1",
        "tcp://h:80?reconnect=2",
        "tcp://%zz:80",
        "tcp://%ff:80",
        "tcp://h:80?sni=other",
        "unix:",
        "unix:@",
        "unix://host",
        "unix:/a%00b",
        "unix:/a?path=/b",
        "unix:/a?abstract=b",
        "tls://h:1",
        "tls://h:1?ca=/nowhere/at/all&close=softly",
        "mem:",
        "mem:name",
        "mem://",
        "mem://*",
        "mem://name:1",
        "mem://name?nodelay=on",
    ] {
        let roots = cfg!(any(feature = "webpki-roots", feature = "native-roots"));
        if url == "tls://h:1" && roots {
            assert!(registry.open(url).is_ok(), "there are authorities to trust");
            continue;
        }
        if url == "tcp://h:80?" {
            assert!(registry.open(url).is_ok(), "an empty query is none");
            continue;
        }
        let told = why(registry.open(url));
        assert!(!told.contains("secret"), "{url}: {told}");
    }
    let long = format!("unix:/{}", "x".repeat(200));
    assert!(!why(registry.open(&long)).is_empty());
}
