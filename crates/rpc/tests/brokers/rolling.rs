//! Servers that are started anew one after the other under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bowline_concurrency::{TaskGroup, sleep, task_group};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Call, Caller, Context, DeclaredName, Error, MethodDef, MethodSpec, NoError, Registry,
    TcpBroker,
};
use bowline_sim::Sim;

const DRAIN: Duration = Duration::from_secs(5);
const SERVERS: [&str; 3] = ["one", "two", "three"];
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

/// Serves, and does so anew when it is the turn of this host.
async fn server(turn: usize) -> Result<(), Error> {
    loop {
        let registry = Registry::new("example");
        registry.register_all([MethodDef::of::<Work>()])?;
        TcpBroker::builder(AsyncExecutor::new(registry, 64))
            .listen("0.0.0.0:15383")
            .allow_insecure_network()
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

/// Calls all the time while one server after the other starts anew.
async fn client() -> Result<(), Error> {
    task_group(|group: TaskGroup<Error>| async move {
        let mut calling = TcpBroker::caller()
            .project("example")
            .allow_insecure_network();
        for server in SERVERS {
            calling = calling.connect(format!("{server}:15383"));
        }
        let client = calling.start(&group).await?;
        let over = Arc::new(AtomicBool::new(false));
        let makers: Vec<_> = (0..UNDER_WAY)
            .map(|maker| {
                let (client, over) = (client.clone(), over.clone());
                group.spawn_ok(async move {
                    for n in 0.. {
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                        let millis = (maker * 7 + n * 13) % 40;
                        let answer = client.call(Work(millis)).await;
                        assert_eq!(answer.expect("no call fails"), millis);
                        Sim::ghost(|rolling: &mut Rolling| rolling.answered += 1);
                    }
                })
            })
            .collect();
        for restarted in 1..=SERVERS.len() {
            // Each of them has calls.
            sleep(Duration::from_millis(50)).await;
            let before = Sim::ghost(|rolling: &mut Rolling| {
                rolling.wanted = restarted;
                rolling.answered
            });
            while Sim::ghost(|rolling: &mut Rolling| rolling.done) < restarted
                || client.connections() < SERVERS.len()
            {
                sleep(Duration::from_millis(1)).await;
            }
            let answered = Sim::ghost(|rolling: &mut Rolling| rolling.answered) - before;
            assert!(answered >= UNDER_WAY, "{answered} answers meanwhile");
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
        world.client("all", client).run().unwrap();
    }
}
