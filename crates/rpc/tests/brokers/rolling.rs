//! Servers that are started anew one after the other under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bowline_concurrency::{TaskGroup, sleep, task_group};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Call, Caller, Context, DeclaredName, Error, MethodDef, MethodSpec, NoError, Registry,
    TcpBroker, TcpBrokerBuilder, Typed,
};
use bowline_sim::Sim;

const DRAIN: Duration = Duration::from_secs(5);
const SERVERS: [&str; 3] = ["one", "two", "three"];
/// They start anew after the servers.
const ROUTERS: [&str; 2] = ["left", "right"];
/// Calls under way at any time.
const UNDER_WAY: u64 = 100;

/// What the hosts know of each other.
#[derive(Default)]
struct Rolling {
    /// How many servers are to have started anew, and have.
    wanted: usize,
    done: usize,
    answered: u64,
}

/// A call that may run twice, and takes so long, in milliseconds.
#[derive(Debug)]
struct Work(u64);

impl Call for Work {
    type Args = (u64,);
    type Reply = u64;
    type Error = NoError;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("work");
    const SPEC: MethodSpec = MethodSpec::new().idempotent();

    fn into_args(self) -> (u64,) {
        (self.0,)
    }

    fn from_args((millis,): (u64,)) -> Self {
        Work(millis)
    }

    async fn run(self, _: Context) -> Result<u64, NoError> {
        sleep(Duration::from_millis(self.0)).await;
        Ok(self.0)
    }
}

/// One that has the servers do such work, twice, and does something itself between.
#[derive(Debug)]
struct Route(u64);

impl Call for Route {
    type Request = bowline_rpc::Typed<Self>;
    type Args = (u64,);
    type Reply = u64;
    type Error = NoError;
    const NAME: DeclaredName = DeclaredName::explicit("route");
    const SPEC: MethodSpec = MethodSpec::new().idempotent();

    fn into_args(self) -> (u64,) {
        (self.0,)
    }

    fn from_args((millis,): (u64,)) -> Self {
        Route(millis)
    }

    async fn run(self, context: Context) -> Result<u64, NoError> {
        let broker = context.broker().expect("it runs");
        let first = broker.call(Work(self.0)).await.expect("no call fails");
        sleep(Duration::from_millis(150)).await;
        let second = broker.call(Work(self.0)).await.expect("no call fails");
        Ok((first + second) / 2)
    }
}

/// Serves, and does so anew when it is the turn of this host.
async fn server(turn: usize) -> Result<(), Error> {
    serve(turn, MethodDef::of::<Work>(), &[]).await
}

async fn router(turn: usize) -> Result<(), Error> {
    serve(turn, MethodDef::of::<Route>(), &SERVERS).await
}

async fn serve(turn: usize, method: MethodDef, calls: &[&str]) -> Result<(), Error> {
    loop {
        let registry = Registry::new("example");
        registry.register_all([method.clone()])?;
        connected(TcpBroker::builder(AsyncExecutor::new(registry, 64)), calls)
            .listen("0.0.0.0:15383")
            .run(async |broker| -> Result<(), Error> {
                let is_due =
                    |rolling: &mut Rolling| (rolling.wanted, rolling.done) == (turn + 1, turn);
                while !Sim::ghost(is_due) {
                    sleep(Duration::from_millis(1)).await;
                }
                let report = broker.drain(DRAIN).await;
                assert_eq!((report.cancelled, report.abandoned), (0, 0), "{report:?}");
                assert!(report.finished > 0, "nothing ran: {report:?}");
                Ok(())
            })
            .await?;
        Sim::ghost(|rolling: &mut Rolling| rolling.done += 1);
    }
}

fn connected(builder: TcpBrokerBuilder, hosts: &[&str]) -> TcpBrokerBuilder {
    let builder = builder.allow_insecure_network();
    hosts.iter().fold(builder, |builder, host| {
        builder.connect(format!("{host}:15383"))
    })
}

/// Makes calls all the time while one of the hosts after the other starts anew, `hosts` of which it is connected
/// to.
async fn calls<C>(
    hosts: &'static [&'static str],
    all: usize,
    call: impl Fn(u64) -> C + Clone + Send + 'static,
) -> Result<(), Error>
where
    C: Call<Reply = u64, Error = NoError, Request = Typed<C>>,
{
    task_group(|group: TaskGroup<Error>| async move {
        let calling = connected(TcpBroker::caller().project("example"), hosts);
        let client = calling.start(&group).await?;
        let over = Arc::new(AtomicBool::new(false));
        let makers: Vec<_> = (0..UNDER_WAY)
            .map(|maker| {
                let (client, over, call) = (client.clone(), over.clone(), call.clone());
                group.spawn_ok(async move {
                    for n in 0.. {
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                        let millis = (maker * 7 + n * 13) % 40;
                        let answer = client.call(call(millis)).await;
                        assert_eq!(answer.expect("no call fails"), millis);
                        Sim::ghost(|rolling: &mut Rolling| rolling.answered += 1);
                    }
                })
            })
            .collect();
        for restarted in 1..=all {
            // Each of them has calls.
            sleep(Duration::from_millis(50)).await;
            let before = Sim::ghost(|rolling: &mut Rolling| {
                rolling.wanted = restarted;
                rolling.answered
            });
            // Calls come to their end all the while, of which none takes long.
            while Sim::ghost(|rolling: &mut Rolling| rolling.done) < restarted
                || client.connections() < hosts.len()
                || Sim::ghost(|rolling: &mut Rolling| rolling.answered) < before + UNDER_WAY
            {
                sleep(Duration::from_millis(1)).await;
            }
        }
        over.store(true, Ordering::Relaxed);
        for maker in makers {
            maker.join().await.expect("no maker panics");
        }
        group.cancel("done");
        Ok(())
    })
    .await
    .map_err(|ended| panic!("{ended:?}"))
}

// D6
#[test]
fn servers_that_restart_in_turn_fail_no_idempotent_call() {
    for seed in 0..6 {
        let mut world = Sim::builder().seed(seed);
        for (turn, server) in SERVERS.into_iter().enumerate() {
            world = world.host(server, move || self::server(turn));
            world = world.host_must_not_fail(server);
        }
        let client = || calls(&SERVERS, SERVERS.len(), Work);
        world.client("all", client).run().unwrap();
    }
}

// D1, D6
#[test]
fn routers_that_restart_in_turn_fail_no_call_nor_do_those_behind_them() {
    for seed in 0..4 {
        let mut world = Sim::builder().seed(seed);
        for (turn, server) in SERVERS.into_iter().enumerate() {
            world = world.host(server, move || self::server(turn));
            world = world.host_must_not_fail(server);
        }
        for (turn, router) in (SERVERS.len()..).zip(ROUTERS) {
            world = world.host(router, move || self::router(turn));
            world = world.host_must_not_fail(router);
        }
        let client = || calls(&ROUTERS, SERVERS.len() + ROUTERS.len(), Route);
        world.client("all", client).run().unwrap();
    }
}
