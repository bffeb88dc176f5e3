//! The methods that children run, and what the cases see of processes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use bowline_backend::signal::{Signal, listen};
use bowline_backend::{Backend, time};
use bowline_concurrency::{on_cancel, sleep, timeout, yield_now};
use bowline_rpc::executor::ProcessPoolExecutor;
use bowline_rpc::{
    Call, CallError, Certainty, Code, Codec, Context, DeclaredName, Incoming, MethodDef,
    MethodSpec, NoError, NoItem, PayloadCodec, PayloadError, Registry, Streaming, StreamingCall,
};
use futures_util::{StreamExt, stream};

use crate::{asking, passed_on};

pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const SOON: Duration = Duration::from_millis(100);
/// Names a file that gets a byte for each child that crashes at its start.
pub(crate) const CRASHES: &str = "CRASH_AT_START";
/// Names a file: once it is there, every child crashes at its start.
pub(crate) const CRASHES_AFTER: &str = "CRASH_AT_START_AFTER";

/// Names a file that gets a byte for each child that starts.
pub(crate) const STARTS: &str = "STARTS";
/// How long a child takes to start, in milliseconds.
pub(crate) const SLOW: &str = "SLOW_AT_START";

/// A call by hand: its only argument is a path.
macro_rules! call {
    ($name:ident, $wire:literal, $spec:expr, |$path:ident, $context:ident| $run:block) => {
        #[derive(Debug)]
        pub(crate) struct $name(pub(crate) String);

        impl Call for $name {
            type Args = (String,);
            type Reply = u32;
            type Error = NoError;
            type Request = bowline_rpc::Typed<Self>;
            const NAME: DeclaredName = DeclaredName::explicit($wire);
            const SPEC: MethodSpec = $spec;

            fn into_args(self) -> Self::Args {
                (self.0,)
            }

            fn from_args((path,): Self::Args) -> Self {
                $name(path)
            }

            async fn run(self, $context: Context) -> Result<u32, NoError> {
                let $path = self.0;
                Ok($run)
            }
        }
    };
}

// Kills its process, the first time it is called with a path.
call!(
    DiesOnce,
    "dies_once",
    MethodSpec::new().idempotent(),
    |path, _context| {
        if std::fs::write(&path, b"").is_ok()
            && std::fs::remove_file(format!("{path}.first")).is_ok()
        {
            std::process::abort();
        }
        std::process::id()
    }
);
// Says where it runs, and goes on until it is told.
call!(
    UntilTold,
    "until_told",
    MethodSpec::new().blocking(),
    |path, context| {
        let _ = std::fs::write(path, std::process::id().to_string());
        while !context.is_cancelled() {
            std::thread::yield_now();
        }
        7
    }
);
// Says where it runs, and goes on until it is let go or told.
call!(
    Held,
    "held",
    MethodSpec::new().blocking(),
    |path, context| {
        let _ = std::fs::write(&path, std::process::id().to_string());
        let let_go = PathBuf::from(format!("{path}.go"));
        while !context.is_cancelled() && !let_go.exists() {
            std::thread::yield_now();
        }
        std::process::id()
    }
);
// Adds a byte to a file, and kills its process, whenever it is called.
call!(
    DiesAlways,
    "dies_always",
    MethodSpec::new().idempotent(),
    |path, _context| {
        append(&path);
        if for_ever() {
            std::process::abort();
        }
        7
    }
);
// Hears no SIGTERM, holds a thread of its runtime, and goes on.
call!(Deaf, "deaf", MethodSpec::new(), |path, _context| {
    let _deaf = listen(Signal::Terminate);
    let _ = std::fs::write(path, std::process::id().to_string());
    while for_ever() {
        std::thread::park();
    }
    7
});
// Is not dropped, and never ends by itself.
call!(
    Undropped,
    "undropped",
    MethodSpec::new().no_cancel(),
    |path, _context| {
        let _ = std::fs::write(path, std::process::id().to_string());
        while for_ever() {
            sleep(LONG).await;
        }
        7
    }
);
// Takes 100 bytes.
call!(
    Short,
    "short",
    MethodSpec::new().max_args(100),
    |path, _context| { path.len() as u32 }
);
// Goes on until its process is asked to end, and has something to do then.
call!(
    Terminated,
    "terminated",
    MethodSpec::new().blocking(),
    |path, _context| {
        let mut signals = listen(Signal::Terminate).expect("there are signals");
        let _ = std::fs::write(&path, std::process::id().to_string());
        let mut cx = TaskContext::from_waker(Waker::noop());
        while signals.poll_recv(&mut cx).is_pending() {
            std::thread::yield_now();
        }
        // Longer than a process lasts that ends at once.
        let until = time::now() + 2 * SOON;
        while time::now() < until {
            std::thread::yield_now();
        }
        append(&format!("{path}.done"));
        7
    }
);
// Leaves something to be done to its cancel, which takes longer than a second.
call!(
    LongCleanUp,
    "long_clean_up",
    MethodSpec::new(),
    |path, _context| {
        let done = format!("{path}.done");
        let _clean_up = on_cancel(async move |_| {
            sleep(Duration::from_millis(1300)).await;
            append(&done);
        });
        let _ = std::fs::write(path, std::process::id().to_string());
        sleep(LONG).await;
        7
    }
);
// Goes on whatever it is told.
call!(
    Stubborn,
    "stubborn",
    MethodSpec::new().blocking(),
    |path, _context| {
        let _ = std::fs::write(path, std::process::id().to_string());
        while for_ever() {
            std::thread::park();
        }
        7
    }
);

/// Gives numbers without end, and is not cancelled.
#[derive(Debug)]
pub(crate) struct Endless;

impl Call for Endless {
    type Args = ();
    type Reply = ();
    type Error = NoError;
    type Request = bowline_rpc::Opened<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("endless");
    const SPEC: MethodSpec = MethodSpec::new().no_cancel().streaming(Streaming::Executor);

    fn into_args(self) {}

    fn from_args((): ()) -> Self {
        Endless
    }

    async fn run(self, context: Context) -> Result<(), NoError> {
        let pid = std::process::id();
        context.send_stream(stream::repeat(pid)).await
    }
}

impl StreamingCall for Endless {
    type Sends = NoItem;
    type Receives = u32;
}

/// Handlers of `crowd` that run in this process.
static CROWD: AtomicUsize = AtomicUsize::new(0);

/// Where it runs, and how many of it ran there when it began.
async fn crowd() -> (u32, usize) {
    let there = CROWD.fetch_add(1, Ordering::SeqCst) + 1;
    for _ in 0..20 {
        yield_now().await;
    }
    CROWD.fetch_sub(1, Ordering::SeqCst);
    (std::process::id(), there)
}

/// What a program that a handler starts has as its standard input.
fn input_of_a_program() -> String {
    let mut program = std::process::Command::new("readlink");
    let said = program
        .arg("/proc/self/fd/0")
        .stdin(std::process::Stdio::inherit());
    let said = said.output().map(|output| output.stdout);
    String::from_utf8(said.unwrap_or_default()).unwrap_or_default()
}

/// True, which the compiler does not know.
fn for_ever() -> bool {
    std::process::id() != 0
}

/// Needs more stack than there is.
#[expect(unconditional_recursion, reason = "that is what it is for")]
fn deeper(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 512]);
    frame.iter().sum::<u64>() + deeper(std::hint::black_box(depth + 1))
}

/// One byte more in the file at `path`.
fn append(path: &str) {
    let file = std::fs::File::options()
        .append(true)
        .create(true)
        .open(path);
    let _ = file.and_then(|mut file| std::io::Write::write_all(&mut file, b"."));
}

#[expect(
    clippy::disallowed_methods,
    reason = "what a slow program does before it serves"
)]
fn starts_slowly() {
    let slow = std::env::var(SLOW).ok().and_then(|slow| slow.parse().ok());
    std::thread::sleep(Duration::from_millis(slow.unwrap_or(0)));
}

pub(crate) fn registry() -> Registry {
    if let Ok(path) = std::env::var(CRASHES) {
        append(&path);
        std::process::abort();
    }
    if std::env::var(CRASHES_AFTER).is_ok_and(|path| PathBuf::from(path).exists()) {
        std::process::abort();
    }
    if let Ok(path) = std::env::var(STARTS) {
        append(&path);
    }
    starts_slowly();
    let mirrored = Codec::private(&Mirrored).expect("its number is one of ours");
    let registry = Registry::new("example").codecs([mirrored]);
    registry
        .register_blocking("mul", |(a, b, c): (i64, i64, i64)| a * b * c)
        .and_then(|_| registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b }))
        .and_then(|_| registry.register_fn("pid", |(): ()| async { std::process::id() }))
        .and_then(|_| {
            registry.register_fn("fall", |(): ()| async {
                assert!(std::process::id() == 0, "as it should")
            })
        })
        .and_then(|_| {
            registry.register_fn("code", |(code,): (i32,)| async move {
                std::process::exit(code) as ()
            })
        })
        .and_then(|_| registry.register_blocking("input", |(): ()| input_of_a_program()))
        .and_then(|_| {
            registry.register_fn("brief", |(): ()| async {
                sleep(SOON).await;
                std::process::id()
            })
        })
        .and_then(|_| asking::register(&registry))
        .and_then(|_| passed_on::register(&registry))
        .and_then(|_| registry.register_fn("crowd", |(): ()| crowd()))
        .and_then(|_| registry.register_fn("abort", |(): ()| async { std::process::abort() as () }))
        .and_then(|_| registry.register_blocking("overflow", |(depth,): (u64,)| deeper(depth)))
        .and_then(|_| {
            registry.register_stream("count", |(to,): (u32,)| {
                stream::iter(0..to).map(|number| (std::process::id(), number))
            })
        })
        .and_then(|_| {
            registry.register_stream("double", |(): (), items: Incoming<u32>| {
                items.map(|item| item.map_or(0, |item| 2 * item))
            })
        })
        .and_then(|_| {
            registry.register_fn("sum", |(): (), mut items: Incoming<u32>| async move {
                let mut sum = 0;
                while let Ok(Some(item)) = items.recv().await {
                    sum += item;
                }
                sum
            })
        })
        .expect("the names are names");
    registry
        .register_all([
            MethodDef::of::<DiesOnce>(),
            MethodDef::of::<UntilTold>(),
            MethodDef::of::<Stubborn>(),
            MethodDef::of::<Terminated>(),
            MethodDef::of::<LongCleanUp>(),
            MethodDef::of::<Short>(),
            MethodDef::of::<Held>(),
            MethodDef::of::<DiesAlways>(),
            MethodDef::of::<Deaf>(),
            MethodDef::of::<Undropped>(),
            MethodDef::of::<Endless>(),
        ])
        .expect("the names are names");
    registry
}

pub(crate) fn other_registry() -> Registry {
    Registry::new("example")
}

pub(crate) fn pool(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::new(registry(), "pool", workers).respawn(Duration::from_millis(10))
}

/// A format of this program's own: MessagePack from its end to its beginning.
pub(crate) struct Mirrored;

impl PayloadCodec for Mirrored {
    fn id(&self) -> u8 {
        200
    }

    fn name(&self) -> &str {
        "mirrored"
    }

    fn encode(&self, plain: &[u8]) -> Result<Vec<u8>, PayloadError> {
        Ok(plain.iter().rev().copied().collect())
    }

    fn decode(&self, body: &[u8], _: usize) -> Result<Vec<u8>, PayloadError> {
        self.encode(body)
    }
}

/// A path of this run; removed when it is dropped.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let number = Backend::default().random_u64();
        Self(std::env::temp_dir().join(format!("bowline-{name}-{number:016x}")))
    }

    pub(crate) fn text(&self) -> String {
        self.0.display().to_string()
    }

    /// The pid that a handler wrote.
    pub(crate) async fn pid(&self) -> u32 {
        loop {
            let pid = std::fs::read_to_string(&self.0).ok();
            if let Some(pid) = pid.and_then(|pid| pid.parse().ok()) {
                return pid;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Scratch {
    /// Lets a handler go that waits for it.
    pub(crate) fn let_go(&self) {
        std::fs::write(format!("{}.go", self.text()), b"").expect("the place is writable");
    }

    /// Whether a handler said besides that it is done.
    pub(crate) fn is_done(&self) -> bool {
        PathBuf::from(format!("{}.done", self.text())).exists()
    }

    /// How many bytes are in it.
    pub(crate) fn length(&self) -> usize {
        std::fs::read(&self.0).map_or(0, |bytes| bytes.len())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for with in ["", ".go", ".done"] {
            let _ = std::fs::remove_file(format!("{}{with}", self.text()));
        }
    }
}

/// Whether there is such a process, be it a zombie.
pub(crate) fn exists(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

/// Whether it is a zombie with its files closed: none of its other threads is there any more.
pub(crate) fn dead(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    if threads.is_ok_and(|threads| threads.count() > 1) {
        return false;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    after.split_whitespace().next() == Some("Z")
}

pub(crate) async fn gone(pid: u32) {
    let none = async {
        while exists(pid) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, none).await.expect("it is reaped");
}

pub(crate) fn ended<T: std::fmt::Debug, E: std::fmt::Debug>(
    outcome: Result<T, CallError<E>>,
) -> (Code, Certainty) {
    let error = outcome.expect_err("it fails");
    (error.code(), error.certainty())
}

pub(crate) fn kill(pid: u32, signal: &str) {
    let status = std::process::Command::new("kill")
        .arg(format!("-{signal}"))
        .arg(pid.to_string())
        .status();
    assert!(status.is_ok_and(|status| status.success()));
}

/// Whether this process has next to nothing to do, be it after a while: a loop that spins takes all of a CPU that
/// it gets, in every window.
pub(crate) async fn is_quiet() -> bool {
    let used = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let after = stat.rsplit(')').next().unwrap_or_default();
        let words = after.split_whitespace().skip(11).take(2);
        words
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum::<u64>()
    };
    for _ in 0..20 {
        let before = used();
        sleep(2 * SOON).await;
        // Ticks of 10 ms.
        if used() - before <= 2 {
            return true;
        }
    }
    false
}
