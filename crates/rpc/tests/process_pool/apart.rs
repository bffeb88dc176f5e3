//! What of a parent reaches its children, and of children the programs they start.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use bowline_concurrency::{TaskGroup, task_group, timeout};
use bowline_rpc::{Caller, Error, MemoryBroker};

use crate::methods::{Held, Scratch, gone, kill, pool};

/// Kills the processes that a file names.
struct KillOnDrop<'a>(&'a Scratch);

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        let pids = std::fs::read_to_string(&self.0.0).unwrap_or_default();
        let _ = Command::new("kill").args(pids.split_whitespace()).status();
    }
}

// EX10
pub(crate) async fn programs_of_handlers_have_no_socket_and_hold_up_no_end() {
    MemoryBroker::new(pool(1))
        .run(async |broker| -> Result<(), Error> {
            let input = broker.call_named::<String>("input", ()).await?;
            assert_eq!(input.trim(), "/dev/null");
            Ok(())
        })
        .await
        .expect("the case holds");
    // One that has the socket all the same, as it was started before the child served.
    let (script, left) = (Scratch::new("script"), Scratch::new("left"));
    let program = std::env::current_exe().expect("it has a path");
    let text = format!(
        "#!/bin/sh\nexec 3<&0\nsleep 600 &\necho $! >> '{}'\nexec '{}'\n",
        left.text(),
        program.display()
    );
    std::fs::write(&script.0, text).expect("the place is writable");
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&script.0, mode).expect("it is ours");
    let _killed = KillOnDrop(&left);
    MemoryBroker::new(pool(1).program(&script.0))
        .run(async |broker| -> Result<(), Error> {
            let pid = broker.call_named::<u32>("pid", ()).await?;
            kill(pid, "KILL");
            // Sooner than a peer is given up that says nothing.
            let reaped = timeout(Duration::from_secs(10), gone(pid)).await;
            assert!(reaped.is_ok(), "nobody looks at the child itself");
            assert_ne!(broker.call_named::<u32>("pid", ()).await?, pid);
            Ok(())
        })
        .await
        .expect("the case holds");
}

/// The number of the process group of a process.
fn group_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name: the state, the parent, the group.
    let after = stat.rsplit(')').next()?;
    after.split_whitespace().nth(2)?.parse().ok()
}

// D1
pub(crate) async fn signals_that_end_a_program_leave_the_calls_of_its_children_alone() {
    let held = Scratch::new("signalled");
    let pid = MemoryBroker::new(pool(1))
        .run(async |broker| -> Result<u32, Error> {
            let answered = task_group(|group: TaskGroup<Error>| async move {
                let (calling, path) = (broker.clone(), held.text());
                let call =
                    group.spawn_ok(async move { calling.call(Held(path)).no_deadline().await });
                let pid = held.pid().await;
                assert_eq!(group_of(pid), Some(pid), "a terminal signals it");
                for signal in ["INT", "TERM"] {
                    kill(pid, signal);
                }
                held.let_go();
                let answer = call.join().await.expect("it has its outcome");
                assert_eq!(answer.expect("nothing befell it"), pid);
                assert_eq!(broker.call_named::<u32>("pid", ()).await?, pid);
                Ok(pid)
            });
            Ok(answered.await.expect("nothing fails"))
        })
        .await
        .expect("the case holds");
    gone(pid).await;
}
