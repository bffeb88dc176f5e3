//! Servers that are started anew one after the other under load.

use std::net::SocketAddr;
use std::time::Duration;

use bowline_concurrency::{TaskGroup, sleep, task_group};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Call, Caller, Context, DeclaredName, Error, MethodDef, MethodSpec, NoError, Registry,
    TcpBroker,
};
use bowline_sim::Sim;

const DRAIN: Duration = Duration::from_secs(5);
/// Calls under way at any time, and how many each of their makers makes.
const UNDER_WAY: u64 = 100;
const EACH: u64 = 15;

/// A call that may run twice, and takes so long, in milliseconds.
#[derive(Debug)]
struct Work(u64);

impl Call for Work {
    type Args = (u64,);
    type Reply = u64;
    type Error = NoError;
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

async fn serve(group: &TaskGroup<Error>, at: SocketAddr) -> Result<TcpBroker, Error> {
    let registry = Registry::new("example");
    registry.register_all([MethodDef::of::<Work>()])?;
    TcpBroker::builder(AsyncExecutor::new(registry, 64))
        .listen(at)
        .start(group)
        .await
}

async fn restarts() -> Result<(), Error> {
    task_group(|group: TaskGroup<Error>| async move {
        let mut servers = Vec::new();
        let mut calling = TcpBroker::caller().project("example");
        for _ in 0..3 {
            let server = serve(&group, SocketAddr::from(([127, 0, 0, 1], 0))).await?;
            calling = calling.connect(server.local_addrs()[0]);
            servers.push(server);
        }
        let client = calling.start(&group).await?;
        let makers: Vec<_> = (0..UNDER_WAY)
            .map(|maker| {
                let client = client.clone();
                group.spawn_ok(async move {
                    for n in 0..EACH {
                        let millis = (maker * 7 + n * 13) % 40;
                        let answer = client.call(Work(millis)).await;
                        assert_eq!(answer.expect("no call fails"), millis);
                    }
                })
            })
            .collect();
        for server in servers {
            let at = server.local_addrs()[0];
            let report = server.drain(DRAIN).await;
            assert_eq!((report.cancelled, report.abandoned), (0, 0), "{report:?}");
            serve(&group, at).await?;
            while client.connections() < 3 {
                sleep(Duration::from_millis(1)).await;
            }
        }
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
    for seed in 0..12 {
        let world = Sim::builder().seed(seed).client("all", restarts);
        world.run().unwrap();
    }
}
