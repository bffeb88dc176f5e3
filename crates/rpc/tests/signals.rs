//! What a signal does to a broker: this program starts itself again, and is sent some.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_concurrency::{Root, TaskGroup, sleep, sleep_forever, task_group, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{Broker, Caller, Error, Limits, Registry, Retry, TcpBroker};

/// Set in the programs that are sent signals: the backend that they run on.
const ROLE: &str = "BOWLINE_RPC_SIGNALS";

const BACKENDS: [Backend; 3] = [Backend::Tokio, Backend::Smol, Backend::AsyncStd];

/// Serves until it is told to end; a test only in name.
#[test]
fn serves_in_a_program_of_its_own() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let backend = BACKENDS.into_iter().find(|known| known.to_string() == role);
    let backend = backend.expect("a backend");
    let outcome = Root::new().backend(backend).block_on(async {
        let registry = Registry::new("example");
        registry.register_fn("work", |(n,): (u64,)| async move {
            sleep(Duration::from_millis(n % 30)).await;
            n
        })?;
        registry.register_fn("hang", |(): ()| async {
            sleep_forever().await;
        })?;
        let mut limits = Limits::default();
        limits.drain = Duration::from_secs(3600);
        TcpBroker::builder(AsyncExecutor::new(registry, 16))
            .limits(limits)
            .expect("they fit")
            .listen("127.0.0.1:0")
            .drain_on_signals()
            .run(async |server| -> Result<(), Error> {
                println!("\nlistens at {}", server.local_addrs()[0]);
                server.closed().await;
                Ok(())
            })
            .await
    });
    std::process::exit(if outcome.is_ok() { 0 } else { 7 });
}

/// A program that serves, and where.
fn program(backend: Backend) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "serves_in_a_program_of_its_own", "--nocapture"])
        .env(ROLE, backend.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("listens at ").map(str::to_owned));
    let Some(address) = address else {
        panic!("it did not start: {:?}", child.wait());
    };
    (child, address)
}

fn terminate(child: &Child) {
    let kill = Command::new("kill").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
}

// D1
#[test]
fn a_signal_under_load_loses_no_call_and_the_program_ends_well() {
    for backend in BACKENDS {
        let (mut child, address) = program(backend);
        Root::new().backend(backend).block_on(async {
            let ended = task_group(|group: TaskGroup<Error>| async move {
                let client = TcpBroker::caller().project("example").connect(address);
                let client = client.start(&group).await?;
                let makers: Vec<_> = (0..50_u64)
                    .map(|maker| {
                        let client = client.clone();
                        group.spawn_ok(async move {
                            let mut answered = 0;
                            for n in maker.. {
                                let call = client.call_named::<u64>("work", (n,));
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
                group.cancel("done");
                let status = child.wait().unwrap();
                assert_eq!(status.code(), Some(0), "{status}");
                Ok(())
            });
            ended.await.unwrap();
        });
    }
}

// D1
#[test]
fn a_second_signal_ends_the_program_at_once() {
    let (mut child, address) = program(Backend::Smol);
    Root::new().backend(Backend::Smol).block_on(async {
        let ended = task_group(|group: TaskGroup<Error>| async move {
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
            let status = child.wait().unwrap();
            assert!(status.code().is_some(), "it ends by itself: {status}");
            let error = call.join().await.expect("it is not cancelled").unwrap_err();
            assert!(!error.certainty().did_not_run());
            group.cancel("done");
            Ok(())
        });
        ended.await.unwrap();
    });
}
