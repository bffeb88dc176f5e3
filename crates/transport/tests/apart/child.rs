//! Tests in a process of their own: with limits of its own, and one thread for tasks.

use std::env;
use std::process::Command;

use bowline_backend::Backend;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const CHILD: &str = "BOWLINE_TEST_APART";

/// For the test called `name`: runs it in a child process, which then runs `act`.
pub(crate) fn run(name: &str, backend: Backend, act: impl FnOnce(Backend)) {
    if env::var_os(CHILD).is_some() {
        return act(backend);
    }
    let child = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "")
        .env("ASYNC_STD_THREAD_COUNT", "1")
        .output()
        .unwrap();
    let (said, wrong) = (&child.stdout, &child.stderr);
    let (said, wrong) = (
        String::from_utf8_lossy(said),
        String::from_utf8_lossy(wrong),
    );
    let ran = child.status.success() && said.contains("1 passed");
    assert!(ran, "{name}: {said}\n{wrong}");
}

/// Raises how many descriptors this process may have to `wished`, or as near to it as the system
/// allows; the answer is how many that are.
pub(crate) fn descriptors(wished: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.unwrap_or(wished).min(wished);
    // Beyond the hard limit goes who has the privilege to.
    for most in [wished, allowed] {
        let raised = Rlimit {
            current: Some(most),
            maximum: limit.maximum.map(|hard| hard.max(most)),
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            return most;
        }
    }
    limit.current.unwrap_or(wished)
}
