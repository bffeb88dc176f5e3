//! The command, run as a program against a broker of this process.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use bowline::backend::Backend;
use bowline::channel::{Sender, bounded};
use bowline::concurrency::Root;
use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{Context, Error, Registry, Secret, TcpBroker, TcpBrokerBuilder};
use bowline::transport::{CertStore, ClientCertificates, TlsServerConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Why there is no price.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum NoPrice {
    Unknown { item: String },
}

#[bowline::rpc(name = "price", idempotent)]
async fn price(item: String, #[rpc(default)] count: u64) -> Result<u64, NoPrice> {
    match &*item {
        "rope" => Ok(3 * count.max(1)),
        _ => Err(NoPrice::Unknown { item }),
    }
}

const SECRET: &[u8] = b"sixteen bytes or more";

fn registry() -> Registry {
    let registry = Registry::new("shop");
    registry.register(price).unwrap();
    registry
        .register_fn("tenant", |context: Context, (): ()| async move {
            let tenant = context.metadata("tenant").unwrap_or_default();
            String::from_utf8_lossy(tenant).into_owned()
        })
        .unwrap();
    registry
        .register_fn("hang", |(): ()| std::future::pending::<()>())
        .unwrap();
    registry
}

/// A broker on a thread of its own, until it is dropped.
struct Served {
    address: String,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn new(set: impl FnOnce(TcpBrokerBuilder) -> TcpBrokerBuilder + Send + 'static) -> Served {
        let (told, address) = mpsc::channel();
        let (stop, stopped) = bounded::<()>(1);
        let thread = thread::spawn(move || {
            let broker = set(TcpBroker::builder(AsyncExecutor::new(registry(), 64)));
            let served = Root::new().backend(Backend::Tokio).block_on(broker.run(
                async |server| -> Result<(), Error> {
                    told.send(server.endpoints()[0].to_string()).unwrap();
                    // The end of the sender.
                    let _ = stopped.recv().await;
                    Ok(())
                },
            ));
            served.unwrap();
        });
        Served {
            address: address.recv().unwrap(),
            stop,
            thread: Some(thread),
        }
    }

    /// One that strangers may call, and that knows `ops`.
    fn plain() -> Served {
        Served::new(|broker| broker.listen("127.0.0.1:0"))
    }

    fn knowing() -> Served {
        Served::new(|broker| {
            let secret = Secret::new(SECRET).unwrap();
            broker.keys([("ops", secret)]).listen("127.0.0.1:0")
        })
    }

    fn run(&self, words: &[&str]) -> Output {
        run(&[&["--to", &self.address, "--project", "shop"], words].concat())
    }

    /// As one that has the secret.
    fn run_known(&self, words: &[&str]) -> Output {
        let secret = Kept::new("secret", &[SECRET, b"\n"].concat());
        let known = ["--key-id", "ops", "--secret-file", secret.path()];
        self.run(&[&known, words].concat())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.stop.try_send(());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bowline"))
        .args(words)
        .output()
        .unwrap()
}

/// A file that is removed again.
struct Kept(PathBuf);

impl Kept {
    fn new(name: &str, bytes: &[u8]) -> Kept {
        let name = format!("{name}-{}-{:?}", std::process::id(), thread::current().id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, bytes).unwrap();
        Kept(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn said(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap()
}

fn failed(output: &Output, status: i32) -> Value {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert_eq!(output.stdout, b"", "{output:?}");
    serde_json::from_slice(&output.stderr).expect("the failure is JSON")
}

#[test]
fn a_call_prints_the_reply() {
    let shop = Served::plain();
    assert_eq!(said(&shop.run(&["call", "price", "\"rope\"", "4"])), "12\n");
    let named = ["call", "price", "--named", r#"{"item": "rope"}"#];
    assert_eq!(said(&shop.run(&named)), "3\n");
    let tenant = ["call", "tenant", "--metadata", "tenant=blue"];
    assert_eq!(said(&shop.run(&tenant)), "\"blue\"\n");
}

#[test]
fn a_call_that_fails_says_why_and_whether_it_ran() {
    let shop = Served::plain();
    let own = failed(&shop.run(&["call", "price", "\"mast\"", "1"]), 1);
    assert_eq!(
        (&own["code"], &own["certainty"], &own["application"]),
        (
            &json!("Application"),
            &json!("Executed"),
            &json!({ "Unknown": { "item": "mast" } })
        )
    );
    let unknown = failed(&shop.run(&["call", "prise", "1"]), 4);
    assert_eq!(
        (&unknown["code"], &unknown["certainty"]),
        (&json!("UnknownMethod"), &json!("NeverSent"))
    );
    let misread = failed(&shop.run(&["call", "price", "7", "1"]), 4);
    assert_eq!(
        (&misread["code"], &misread["certainty"]),
        (&json!("BadArguments"), &json!("Refused"))
    );
    let late = failed(&shop.run(&["call", "hang", "--timeout", "50ms"]), 4);
    assert_eq!(late["code"], json!("DeadlineExceeded"));
    let waited = failed(
        &shop.run(&["call", "prise", "--wait", "--timeout", "50ms"]),
        4,
    );
    assert_eq!(waited["code"], json!("NoPeer"));
}

#[test]
fn without_a_connection_it_says_what_is_wrong() {
    let shop = Served::knowing();
    let stranger = failed(&shop.run(&["call", "price", "\"rope\"", "1"]), 3);
    assert_eq!(stranger["kind"], json!("Unauthenticated"), "{stranger}");
    let wrong = Kept::new("wrong", b"sixteen bytes of something else");
    let words = ["--key-id", "ops", "--secret-file", wrong.path(), "list"];
    assert_eq!(
        failed(&shop.run(&words), 3)["kind"],
        json!("Unauthenticated")
    );
    let weak = Kept::new("weak", b"short");
    let words = ["--secret-file", weak.path(), "list"];
    assert_eq!(failed(&shop.run(&words), 3)["kind"], json!("WeakSecret"));
    let far = run(&["--to", "192.0.2.1:1", "list"]);
    assert_eq!(failed(&far, 3)["kind"], json!("InsecureNetwork"));
    let other = run(&["--to", &shop.address, "--project", "dock", "list"]);
    assert_eq!(other.status.code(), Some(3));
    assert_eq!(failed(&run(&["lst"]), 2)["help"], json!("bowline --help"));
    let missing = ["--secret-file", "/nowhere/to/be/found", "list"];
    let missing = failed(&shop.run(&missing), 2);
    assert!(missing["error"].as_str().unwrap().starts_with("/nowhere"));
    assert_eq!(
        said(&shop.run_known(&["call", "price", "\"rope\"", "1"])),
        "3\n"
    );
}

#[test]
fn methods_are_listed_for_those_who_may_know() {
    let shop = Served::knowing();
    let listed = shop.run_known(&["list"]);
    let lines: Vec<_> = said(&listed).lines().collect();
    assert_eq!(
        lines,
        [
            "METHOD  KIND   OPTIONS",
            "price   unary  idempotent",
            "tenant  unary",
            "hang    unary"
        ]
    );
    let listed = shop.run_known(&["list", "--json"]);
    let listed: Value = serde_json::from_str(said(&listed)).unwrap();
    assert_eq!(
        (&listed["project"], &listed["methods"][0]["name"]),
        (&json!("shop"), &json!("price"))
    );
    // Of a broker without a secret everybody is a stranger.
    let unknown = failed(&Served::plain().run(&["list"]), 4);
    assert_eq!(unknown["code"], json!("UnknownMethod"));
}

#[test]
fn what_is_called_is_watched() {
    let shop = Served::knowing();
    for _ in 0..3 {
        said(&shop.run_known(&["call", "price", "\"rope\"", "1"]));
    }
    failed(&shop.run_known(&["call", "price", "\"mast\"", "1"]), 1);
    let watched = shop.run_known(&["watch", "--count", "2", "--interval", "1ms"]);
    let lines: Vec<_> = said(&watched).lines().collect();
    assert_eq!(lines.len(), 2 * 5, "{lines:?}");
    assert!(
        lines[0].starts_with("Serving, 0 of 64 workers, 0 of 1024 in the queue, "),
        "{lines:?}"
    );
    // The methods stand in the order of their names.
    for (at, rate) in [(3, "-"), (8, "0")] {
        let cells: Vec<_> = lines[at].split_whitespace().collect();
        assert_eq!(cells[..6], ["price", "4", rate, "1", "0", "0"], "{lines:?}");
    }
    let watched = shop.run_known(&["watch", "--count", "1", "--json"]);
    let watched: Value = serde_json::from_str(said(&watched)).unwrap();
    assert_eq!(watched["health"], json!("Serving"));
    let mut methods = watched["stats"]["methods"].as_array().unwrap().iter();
    let price = methods.find(|method| method["method"] == "price").unwrap();
    assert_eq!(
        (&price["calls"], &price["failures"][0]["code"]),
        (&json!(4), &json!("Application"))
    );
}

#[test]
fn calls_are_measured() {
    let shop = Served::knowing();
    let bench = [
        "bench",
        "price",
        "\"rope\"",
        "1",
        "--calls",
        "250",
        "--in-flight",
        "7",
        "--json",
    ];
    let measured: Value = serde_json::from_str(said(&shop.run_known(&bench))).unwrap();
    assert_eq!(
        (
            &measured["calls"],
            &measured["failed"],
            &measured["in_flight"]
        ),
        (&json!(250), &json!(0), &json!(7))
    );
    assert!(measured["p50_us"].as_u64() <= measured["max_us"].as_u64());
    let watched = shop.run_known(&["watch", "--count", "1"]);
    assert!(
        said(&watched)
            .lines()
            .any(|line| line.starts_with("price   250")),
        "{watched:?}"
    );
    let table = shop.run_known(&["bench", "price", "\"rope\"", "1", "--calls", "5"]);
    assert!(said(&table).starts_with("calls       5\n"), "{table:?}");
    // Where no call succeeds that is the result.
    let none = shop.run_known(&["bench", "price", "\"mast\"", "1", "--calls", "5"]);
    assert_eq!(failed(&none, 1)["code"], json!("Application"));
}

#[test]
fn a_broker_over_tls_is_called_by_who_trusts_it_and_is_known() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let certify = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let signed = params.signed_by(&key, &*authority).unwrap();
        (signed.pem(), key.serialize_pem())
    };
    let (chain, key) = certify("127.0.0.1");
    let store = CertStore::new(&chain, &key).unwrap();
    let tls = TlsServerConfig::builder(&store)
        .client_roots(ClientCertificates::Require, authority.pem())
        .build()
        .unwrap();
    let shop = Served::new(move |broker| broker.tls(tls).listen("tls://127.0.0.1:0"));
    let (chain, key) = certify("anna");
    let ca = Kept::new("ca", authority.pem().as_bytes());
    let (chain, key) = (
        Kept::new("chain", chain.as_bytes()),
        Kept::new("key", key.as_bytes()),
    );
    let call = ["call", "price", "\"rope\"", "2"];
    let trusts = [
        "--ca",
        ca.path(),
        "--cert",
        chain.path(),
        "--key",
        key.path(),
    ];
    assert_eq!(said(&shop.run(&[&trusts[..], &call].concat())), "6\n");
    // The scheme may be said by an option.
    let bare = shop.address.trim_start_matches("tls://");
    let words = [
        &["--tls", "--to", bare, "--project", "shop"],
        &trusts[..],
        &call,
    ]
    .concat();
    assert_eq!(said(&run(&words)), "6\n");
    let soon = ["--connect-timeout", "200ms", "--ca", ca.path()];
    assert_eq!(
        shop.run(&[&soon, &call[..]].concat()).status.code(),
        Some(3)
    );
}

#[test]
fn help_says_every_option() {
    let help = run(&["--help"]);
    for option in [
        "--to",
        "--secret-file",
        "--tls",
        "--named",
        "--interval",
        "--in-flight",
    ] {
        assert!(said(&help).contains(option), "{option}");
    }
    assert_eq!(run(&["list", "--help"]).stdout, help.stdout);
}
