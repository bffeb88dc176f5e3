//! Nothing is left of what has ended.

use std::task::{Context, Wake, Waker};

use bowline_backend::Backend;
use bowline_backend::net::{Family, Query, TcpStream, resolve};
use bowline_backend::stream::ByteStreamExt;
use bowline_concurrency::{Root, sleep, task_group, timeout};
use bowline_sim::Sim;

use super::*;
use crate::executor::AsyncExecutor;
use crate::{Caller, Error};

struct Asleep;

impl Wake for Asleep {
    fn wake(self: Arc<Self>) {}
}

/// A broker that offers `add`.
fn adding() -> TcpBrokerBuilder {
    let registry = Registry::new("example");
    let add = |(a, b): (i64, i64)| async move { a + b };
    registry.register_fn("add", add).expect("it is the first");
    TcpBroker::builder(AsyncExecutor::new(registry, 4)).listen("127.0.0.1:0")
}

#[test]
fn whoever_stops_waiting_for_the_end_leaves_no_task() {
    Root::new().backend(Backend::Sim).block_on(async {
        let ended = task_group(|group: TaskGroup<Error>| async move {
            let server = adding().start(&group).await?;
            let tasks = server.shared.group.statistics();
            let waiting = server.shared.routes.departures();
            for _ in 0..1000 {
                let mut closed = Box::pin(server.closed());
                // Each in a task of its own.
                let waker = Waker::from(Arc::new(Asleep));
                let polled = closed.as_mut().poll(&mut Context::from_waker(&waker));
                assert!(polled.is_pending());
                assert_eq!(server.shared.routes.departures(), waiting + 1);
            }
            assert_eq!(server.shared.group.statistics(), tasks);
            assert_eq!(server.shared.routes.departures(), waiting);
            TcpBroker::caller()
                .project("example")
                .connect(server.local_addrs()[0])
                .run(async |client| -> Result<(), Error> {
                    assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
                    Ok(())
                })
                .await?;
            server.close();
            let closed = timeout(Duration::from_secs(10), server.closed());
            assert!(closed.await.is_ok(), "it does not hear of the end");
            Ok(())
        });
        ended.await.expect("nothing fails");
    });
}

// D5
#[test]
fn connections_that_come_and_go_leave_no_task() {
    Root::new().backend(Backend::Sim).block_on(async {
        let ended = task_group(|group: TaskGroup<Error>| async move {
            let server = adding().start(&group).await?;
            let mut live = None;
            for _ in 0..1_000 {
                TcpBroker::caller()
                    .project("example")
                    .connect(server.local_addrs()[0])
                    .run(async |client| -> Result<(), Error> {
                        assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
                        Ok(())
                    })
                    .await?;
                server.shared.routes.none_left().await;
                // The task of the connection ends once its place is free.
                sleep(Duration::from_millis(1)).await;
                let now = server.shared.group.statistics().live;
                assert_eq!(*live.get_or_insert(now), now);
            }
            group.cancel("done");
            Ok(())
        });
        ended.await.expect("nothing fails");
    });
}

/// Connects and leaves, as one of those that call, that offer a method, that say nothing, and that speak
/// another protocol.
async fn visits(to: std::net::SocketAddr, visit: usize) -> Result<(), Error> {
    match visit % 4 {
        0 | 1 => {
            let builder = match visit % 4 {
                0 => TcpBroker::caller().project("example"),
                _ => {
                    let registry = Registry::new("example");
                    let offered =
                        registry.register_fn(format!("method.{visit}"), |(): ()| async {});
                    offered.expect("it is the first");
                    TcpBroker::builder(AsyncExecutor::new(registry, 1))
                }
            };
            builder
                .connect(to)
                .allow_insecure_network()
                .run(async |client| {
                    assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
                    Ok(())
                })
                .await
        }
        _ => {
            let mut stream = TcpStream::connect(to).await.expect("it listens");
            if visit % 4 == 2 {
                let sent = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
                sent.expect("it is taken");
            }
            sleep(Duration::from_millis(5)).await;
            Ok(())
        }
    }
}

/// The tables of a broker, for the hosts of a world.
#[derive(Default)]
struct Held(Vec<[usize; 7]>);

// D5
#[test]
fn peers_at_other_addresses_leave_nothing_in_any_table() {
    const NOTHING: [usize; 7] = [0; 7];
    let mut world = Sim::builder().host("server", || async {
        let server = adding().listen("0.0.0.0:80").allow_insecure_network();
        server
            .run(async |server| -> Result<(), Error> {
                loop {
                    let held = server.shared.routes.held();
                    Sim::ghost(|seen: &mut Held| {
                        if seen.0.last() != Some(&held) {
                            seen.0.push(held);
                        }
                    });
                    sleep(Duration::from_micros(200)).await;
                }
            })
            .await
    });
    for host in ["one", "two", "three"] {
        world = world.client(host, || async {
            let query = Query::host("server", 80).family(Family::V4);
            let to = resolve(query).await.expect("it has an address")[0];
            for visit in 0..40 {
                visits(to, visit).await?;
            }
            // Long enough for the last of them to be gone.
            sleep(Duration::from_secs(60)).await;
            Sim::ghost(|seen: &mut Held| {
                assert_eq!(seen.0.last(), Some(&NOTHING));
                // Each of them held something at some time.
                for place in 0..NOTHING.len() {
                    assert!(seen.0.iter().any(|held| held[place] > 0), "{place}");
                }
            });
            Ok::<_, Error>(())
        });
    }
    world.run().expect("nothing is left");
}

// A3
#[test]
fn who_has_not_proved_itself_costs_no_list_of_methods() {
    Root::new().backend(Backend::Sim).block_on(async {
        let ran = adding().run(async |server| -> Result<(), Error> {
            let at = server.local_addrs()[0];
            let lists = || {
                let offered = server.shared.offers.now();
                Arc::strong_count(&offered.find("add").expect("it is offered").meter)
            };
            let none = lists();
            let mut silent = Vec::new();
            for _ in 0..20 {
                silent.push(TcpStream::connect(at).await.expect("it listens"));
            }
            while server.statistics().open < 20 {
                sleep(Duration::from_millis(1)).await;
            }
            // What is told to all that are known changes nothing for them.
            server.pause("add").expect("it is offered");
            server.resume("add").expect("it was offered");
            sleep(Duration::from_millis(10)).await;
            assert_eq!(lists(), none);
            let client = TcpBroker::caller().project("example").connect(at);
            client
                .run(async |client| -> Result<(), Error> {
                    assert_eq!(
                        client.call_named::<i64>("add", (2, 3)).fail_fast().await?,
                        5
                    );
                    assert_eq!(lists(), none + 1);
                    Ok(())
                })
                .await?;
            drop(silent);
            Ok(())
        });
        ran.await.expect("nothing fails");
    });
}
