//! What of a parent reaches its children, and of children the programs they start.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use bowline_concurrency::timeout;
use bowline_rpc::{Caller, Error, MemoryBroker};

use crate::methods::{Scratch, gone, kill, pool};

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
