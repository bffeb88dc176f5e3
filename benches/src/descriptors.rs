//! As many descriptors as a process may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises how many descriptors this process may have to `wished`, or as near to it as the system
/// allows; the answer is how many that are.
pub fn raise(wished: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = |most: u64| Rlimit {
        current: Some(most),
        maximum: Some(limit.maximum.unwrap_or(most).max(most)),
    };
    let allowed = limit.maximum.unwrap_or(wished).min(wished);
    // Beyond the hard limit goes who has the privilege to.
    for most in [wished, allowed] {
        if setrlimit(Resource::Nofile, raised(most)).is_ok() {
            return most;
        }
    }
    limit.current.unwrap_or(wished)
}
