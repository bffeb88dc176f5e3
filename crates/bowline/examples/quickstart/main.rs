//! The main job: register functions, serve them over TCP, call them; prints what happened.
//!
//! A broker serves functions of several kinds at a free port. A client calls them from a second
//! thread with a runtime of its own, then one from a second process of this program: one call at
//! a time, 10 000 with 64 in flight, one that times out and is cancelled where it runs, one that
//! fails with an error of its own type, and one of a method that nobody has.
//!
//! `cargo run --release -p bowline --example quickstart -- --backend smol`
//!
//! `--backend` takes what was compiled in (`--all-features` for all). With `sim` the client is a
//! second host of a simulated network, `--seed` chooses the run, and the same seed gives the same
//! trace.

mod client;
mod methods;
#[cfg(feature = "sim")]
mod simulated;

use std::net::SocketAddr;
use std::process::{Command, ExitCode};

use bowline::Error;
use bowline::backend::{Backend, blocking};
use bowline::channel::oneshot;
use bowline::concurrency::Root;
use bowline::rpc::TcpBroker;
use bowline::rpc::executor::AsyncExecutor;

/// Handlers that run at once.
const WORKERS: usize = 256;

fn main() -> ExitCode {
    match Options::parse().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), Error> {
    if let Some(address) = options.client {
        return client::run_in(options.backend, address, "in a second process");
    }
    #[cfg(feature = "sim")]
    if options.backend == Backend::Sim {
        return simulated::run(options.seed);
    }
    Root::new()
        .backend(options.backend)
        .block_on(serve(options.backend))
}

/// Serves until both clients are done.
async fn serve(backend: Backend) -> Result<(), Error> {
    let server = TcpBroker::builder(AsyncExecutor::new(methods::registry()?, WORKERS));
    server
        .listen("127.0.0.1:0")
        .run(async move |server| -> Result<(), Error> {
            let address = server.local_addrs()[0];
            println!("serving at {address} on {backend}");

            // A second thread with a runtime of its own; its end wakes us across runtimes.
            let (done, ended) = oneshot();
            let thread = std::thread::spawn(move || {
                // Nobody waits for the result any more only if this program is ending.
                let _ = done.send(client::run_in(backend, address, "in a second thread"));
            });
            ended.await??;
            thread.join().expect("the thread has sent its result");

            // A second process: this program again, told where to call.
            let status = blocking::spawn_blocking(move || {
                Command::new(std::env::current_exe()?)
                    .args(["--backend", backend.name()])
                    .args(["--client", &address.to_string()])
                    .status()
            });
            if !status.await??.success() {
                return Err("the second process failed".into());
            }
            Ok(())
        })
        .await
}

/// What the command line says.
struct Options {
    backend: Backend,
    client: Option<SocketAddr>,
    #[cfg_attr(
        not(feature = "sim"),
        expect(dead_code, reason = "seeds are of the simulator")
    )]
    seed: u64,
}

impl Options {
    fn parse() -> Result<Self, Error> {
        let mut options = Options {
            backend: Backend::default(),
            client: None,
            seed: 0,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let value = arguments.next();
            match (argument.as_str(), value) {
                ("--backend", Some(name)) => options.backend = Backend::from_name(&name)?,
                ("--client", Some(address)) => options.client = Some(address.parse()?),
                ("--seed", Some(seed)) => options.seed = seed.parse()?,
                _ => return Err("usage: quickstart [--backend NAME] [--seed N]".into()),
            }
        }
        Ok(options)
    }
}
