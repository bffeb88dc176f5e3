//! What a signal does to a broker: this program starts itself again, and is sent some.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_concurrency::{Root, TaskGroup, sleep, sleep_forever, task_group, timeout, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{Broker, Caller, Context, Error, Limits, Registry, Retry, TcpBroker};

/// Set in the programs that are sent signals: the backend that they run on.
const ROLE: &str = "BOWLINE_RPC_SIGNALS";

/// Set in those that call on: where to.
const LEAF: &str = "BOWLINE_RPC_SIGNALS_LEAF";

const BACKENDS: [Backend; 3] = [Backend::Tokio, Backend::Smol, Backend::AsyncStd];

/// Serves until it is told to end; a test only in name.
#[test]
fn serves_in_a_program_of_its_own() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let backend = BACKENDS.into_iter().find(|known| known.to_string() == role);
    let backend = backend.expect("a backend");
    let ran = Arc::new(AtomicU64::new(0));
    let outcome = Root::new().backend(backend).block_on(async {
        let registry = Registry::new("example");
        let began = ran.clone();
        registry.register_fn("work", move |(n,): (u64,)| {
            began.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(Duration::from_millis(n % 30)).await;
                n
            }
        })?;
        registry.register_fn("hang", |(): ()| async {
            sleep_forever().await;
        })?;
        registry.register_fn("double", |(n,): (u64,)| async move { 2 * n })?;
        let began = ran.clone();
        registry.register_fn("relay", move |context: Context, (n,): (u64,)| {
            began.fetch_add(1, Ordering::SeqCst);
            async move {
                let broker = context.broker().expect("it runs");
                let first = broker.call_named::<u64>("double", (n,)).await;
                // Nothing is under way to the leaf by now.
                sleep(Duration::from_millis(100 + n % 30)).await;
                let second = broker.call_named::<u64>("double", (n,)).await;
                let each = [first, second].map(|each| each.map_err(|error| error.to_string()));
                assert_eq!(each, [Ok(2 * n), Ok(2 * n)]);
                n
            }
        })?;
        let mut limits = Limits::default();
        limits.drain = Duration::from_secs(3600);
        let mut builder = TcpBroker::builder(AsyncExecutor::new(registry, 64))
            .limits(limits)
            .expect("they fit")
            .listen("127.0.0.1:0");
        if let Ok(leaf) = std::env::var(LEAF) {
            builder = builder.connect(leaf);
        }
        builder
            .drain_on_signals()
            .run(async |server| -> Result<(), Error> {
                println!("\nlistens at {}", server.local_addrs()[0]);
                server.closed().await;
                Ok(())
            })
            .await
    });
    println!("ran {}", ran.load(Ordering::SeqCst));
    std::process::exit(if outcome.is_ok() { 0 } else { 7 });
}

/// What a program says, line by line.
type Says = Lines<BufReader<ChildStdout>>;

/// What it says behind this word, before it ends.
fn told(says: &mut Says, word: &str) -> Option<String> {
    let mut lines = says.map_while(Result::ok);
    lines.find_map(|line| line.strip_prefix(word).map(str::to_owned))
}

/// A program that serves, and where.
fn program(backend: Backend) -> (Child, Says, String) {
    program_with(backend, None)
}

/// One that calls `leaf` on, if there is one.
fn program_with(backend: Backend, leaf: Option<String>) -> (Child, Says, String) {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program
        .args(["--exact", "serves_in_a_program_of_its_own", "--nocapture"])
        .env(ROLE, backend.to_string())
        .stdout(Stdio::piped());
    if let Some(leaf) = leaf {
        program.env(LEAF, leaf);
    }
    let mut child = program.spawn().unwrap();
    let mut says = BufReader::new(child.stdout.take().unwrap()).lines();
    let Some(address) = told(&mut says, "listens at ") else {
        panic!("it did not start: {:?}", child.wait());
    };
    (child, says, address)
}

/// How the program ends, which it does now.
async fn ended(child: &mut Child) -> ExitStatus {
    let ended = timeout(Duration::from_secs(60), async {
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            sleep(Duration::from_millis(1)).await;
        }
    });
    ended.await.expect("it ends")
}

fn terminate(child: &Child) {
    let kill = Command::new("kill").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
}

/// Calls `method` of a program until it says that it leaves, which it is told meanwhile.
async fn end_under_load(
    group: TaskGroup<Error>,
    (mut child, mut says, address): (Child, Says, String),
    method: &'static str,
) -> Result<(), Error> {
    let client = TcpBroker::caller().project("example").connect(address);
    let client = client.start(&group).await?;
    let makers: Vec<_> = (0..50_u64)
        .map(|maker| {
            let client = client.clone();
            group.spawn_ok(async move {
                let mut answered = 0;
                for n in maker.. {
                    let call = client.call_named::<u64>(method, (n,));
                    match call.fail_fast().retry(Retry::never()).await {
                        Ok(answer) => assert_eq!(answer, n),
                        Err(error) => {
                            assert!(error.certainty().did_not_run(), "{error:?}");
                            break;
                        }
                    }
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    while client.statistics().calls_sent < 200 {
        yield_now().await;
    }
    terminate(&child);
    let mut answered = 0;
    for maker in makers {
        answered += maker.join().await.expect("no call is lost");
    }
    assert!(answered >= 150, "{answered}");
    let status = ended(&mut child).await;
    assert_eq!(status.code(), Some(0), "{status}");
    // Every one that ran was answered, so none of the refused ones did.
    let ran = told(&mut says, "ran ");
    assert_eq!(ran, Some(answered.to_string()));
    group.cancel("done");
    Ok(())
}

// D1
#[test]
fn a_signal_under_load_loses_no_call_and_the_program_ends_well() {
    for backend in BACKENDS {
        let program = program(backend);
        Root::new().backend(backend).block_on(async {
            let done = task_group(|group| end_under_load(group, program, "work"));
            done.await.unwrap();
        });
    }
}

// D1
#[test]
fn a_signal_under_load_loses_no_call_that_is_passed_on() {
    for backend in BACKENDS {
        let (mut leaf, _says, address) = program(backend);
        let program = program_with(backend, Some(address));
        Root::new().backend(backend).block_on(async {
            let done = task_group(|group| end_under_load(group, program, "relay"));
            done.await.unwrap();
            terminate(&leaf);
            assert_eq!(ended(&mut leaf).await.code(), Some(0));
        });
    }
}

// D1
#[test]
fn a_second_signal_ends_the_program_at_once() {
    for backend in BACKENDS {
        let (mut child, _says, address) = program(backend);
        Root::new().backend(backend).block_on(async {
            let done = task_group(|group: TaskGroup<Error>| async move {
                let client = TcpBroker::caller().project("example").connect(address);
                let client = client.start(&group).await?;
                let calling = client.clone();
                let call = group.spawn_ok(async move {
                    let call = calling.call_named::<()>("hang", ());
                    call.no_deadline().retry(Retry::never()).await
                });
                client.call_named::<u64>("work", (1,)).await?;
                terminate(&child);
                // It drains, which takes an hour with that call.
                loop {
                    let call = client.call_named::<u64>("work", (1,));
                    if call.fail_fast().retry(Retry::never()).await.is_err() {
                        break;
                    }
                }
                assert!(child.try_wait().unwrap().is_none());
                terminate(&child);
                let status = ended(&mut child).await;
                assert!(status.code().is_some(), "it ends by itself: {status}");
                let error = call.join().await.expect("it is not cancelled").unwrap_err();
                assert!(!error.certainty().did_not_run());
                group.cancel("done");
                Ok(())
            });
            done.await.unwrap();
        });
    }
}
