//! Counts the system calls of a thread, exactly, without the rights of a debugger.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::thread;

use libc::{c_long, seccomp_notif, seccomp_notif_resp, seccomp_notif_sizes};

/// Numbers of calls that are counted; the system has fewer.
const NUMBERS: usize = 1024;

/// Counts the system calls of the thread that made it, from then until the thread ends.
///
/// A filter (seccomp, Linux 5.5) holds up each call of the thread until a second thread has
/// counted it and told the kernel to go on with it. A thread may do that to itself without any
/// rights. Threads that the counted one starts are held up with it, and not counted.
///
/// Invariants:
/// - SYS1 What is given to the kernel lives on the stack of the caller until the call returned, and
///   is as large as the kernel said it writes.
/// - SYS2 From its first held call to its end the counted thread depends on the other: that one
///   needs nothing of it, and when it fails, it closes the filter, so calls fail and none hangs.
#[derive(Debug)]
pub struct SystemCalls {
    counts: Arc<[AtomicUsize]>,
}

impl SystemCalls {
    /// Counts from now on.
    ///
    /// # Errors
    ///
    /// What the system reports where it lets no thread filter its own calls.
    #[expect(unsafe_code, reason = "as below")]
    pub fn of_this_thread() -> io::Result<SystemCalls> {
        fit()?;
        let counts: Arc<[AtomicUsize]> = (0..NUMBERS).map(|_| AtomicUsize::new(0)).collect();
        // SAFETY: it has neither arguments nor conditions.
        let thread = unsafe { libc::gettid() };
        // No channel: sending may take a system call, and nobody counts them yet.
        let filter = Arc::new(AtomicI32::new(WAIT));
        let counting = thread::Builder::new().name("system calls".to_owned());
        counting.spawn({
            let (counts, filter) = (counts.clone(), filter.clone());
            move || {
                while filter.load(Ordering::Acquire) == WAIT {
                    thread::yield_now();
                }
                let filter = filter.load(Ordering::Acquire);
                if filter >= 0 {
                    count(filter, thread, &counts);
                }
            }
        })?;
        let installed = install();
        filter.store(*installed.as_ref().unwrap_or(&-1), Ordering::Release);
        installed.map(|_| SystemCalls { counts })
    }

    /// What `act` does, and which calls it made, as in `recvfrom 2, sendto 1`. Left out are calls
    /// for memory, locks and the clock, which depend on more than the code.
    pub fn during<T>(&self, act: impl FnOnce() -> T) -> (T, String) {
        let before = self.counted();
        let done = act();
        let after = self.counted();
        let made = after
            .iter()
            .zip(&before)
            .map(|(after, before)| after - before);
        let named: BTreeMap<String, usize> = made
            .enumerate()
            .filter(|&(number, made)| made > 0 && !IGNORED.contains(&(number as c_long)))
            .map(|(number, made)| (name(number as c_long), made))
            .collect();
        let texts: Vec<String> = named
            .iter()
            .map(|(name, made)| format!("{name} {made}"))
            .collect();
        (done, texts.join(", "))
    }

    fn counted(&self) -> [usize; NUMBERS] {
        std::array::from_fn(|number| self.counts[number].load(Ordering::Acquire))
    }
}

/// Until there is a filter, or none.
const WAIT: i32 = -2;

const IGNORED: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
];

fn name(number: c_long) -> String {
    let name = match number {
        libc::SYS_accept4 => "accept4",
        libc::SYS_close => "close",
        libc::SYS_connect => "connect",
        libc::SYS_epoll_ctl => "epoll_ctl",
        libc::SYS_epoll_pwait => "epoll_pwait",
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => "epoll_wait",
        libc::SYS_fcntl => "fcntl",
        libc::SYS_getrandom => "getrandom",
        libc::SYS_getpeername => "getpeername",
        libc::SYS_getsockname => "getsockname",
        libc::SYS_getsockopt => "getsockopt",
        libc::SYS_ioctl => "ioctl",
        libc::SYS_ppoll => "ppoll",
        libc::SYS_read => "read",
        libc::SYS_readv => "readv",
        libc::SYS_recvfrom => "recvfrom",
        libc::SYS_recvmsg => "recvmsg",
        libc::SYS_sendmsg => "sendmsg",
        libc::SYS_sendto => "sendto",
        libc::SYS_setsockopt => "setsockopt",
        libc::SYS_shutdown => "shutdown",
        libc::SYS_socket => "socket",
        libc::SYS_timerfd_settime => "timerfd_settime",
        libc::SYS_write => "write",
        libc::SYS_writev => "writev",
        other => return format!("number-{other}"),
    };
    name.to_owned()
}

/// Whether the kernel writes no more than we have room for.
#[expect(unsafe_code, reason = "no crate in use has a safe form of seccomp")]
fn fit() -> io::Result<()> {
    let mut sizes = seccomp_notif_sizes {
        seccomp_notif: 0,
        seccomp_notif_resp: 0,
        seccomp_data: 0,
    };
    // SAFETY: SYS1. This operation writes a `seccomp_notif_sizes`.
    let asked = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_NOTIF_SIZES,
            0,
            &raw mut sizes,
        )
    };
    if asked != 0 {
        return Err(io::Error::last_os_error());
    }
    let fits = usize::from(sizes.seccomp_notif) <= size_of::<seccomp_notif>()
        && usize::from(sizes.seccomp_notif_resp) <= size_of::<seccomp_notif_resp>();
    match fits {
        true => Ok(()),
        false => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// From here on each system call of this thread waits to be counted.
#[expect(unsafe_code, reason = "no crate in use has a safe form of seccomp")]
fn install() -> io::Result<i32> {
    let mut every = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_USER_NOTIF,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut every,
    };
    // SAFETY: a flag of this thread, and no pointers.
    let limited = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if limited != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: SYS1. The kernel copies the program, one instruction, before it returns.
    let filter = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    match filter {
        -1 => Err(io::Error::last_os_error()),
        filter => Ok(filter as i32),
    }
}

/// Lets go on what comes from the filter and counts what is of `thread`, until all have ended.
#[expect(unsafe_code, reason = "no crate in use has a safe form of seccomp")]
fn count(filter: i32, thread: libc::pid_t, counts: &[AtomicUsize]) {
    loop {
        // SAFETY: all of it are integers, for which zero is a value.
        let mut held: seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: SYS1. It writes a `seccomp_notif` of a size that `fit` compared.
        let came = unsafe { libc::ioctl(filter, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut held) };
        if came == 0 {
            let number = held.data.nr as usize;
            if held.pid == thread as u32 && number < NUMBERS {
                counts[number].fetch_add(1, Ordering::Release);
            }
            let mut go_on = seccomp_notif_resp {
                id: held.id,
                val: 0,
                error: 0,
                flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            };
            // SAFETY: SYS1. It reads a `seccomp_notif_resp`.
            unsafe { libc::ioctl(filter, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut go_on) };
            continue;
        }
        // Interrupted, or the call that came was given up by a signal.
        let error = io::Error::last_os_error().raw_os_error();
        if !matches!(error, Some(libc::EINTR | libc::ENOENT)) || is_over(filter) {
            break;
        }
    }
    // SAFETY: the descriptor is this function's, and SYS2.
    unsafe { libc::close(filter) };
}

/// Whether no thread is left that the filter holds calls of.
#[expect(unsafe_code, reason = "no crate in use has a safe form of seccomp")]
fn is_over(filter: i32) -> bool {
    let mut asked = libc::pollfd {
        fd: filter,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: SYS1. One `pollfd` is read and written.
    unsafe { libc::poll(&raw mut asked, 1, 0) };
    asked.revents & libc::POLLHUP != 0
}
