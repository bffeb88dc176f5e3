//! Alternating rounds, in the processor time of their thread: neighbours on a busy machine make it
//! somewhat longer, by the caches they share, but do not count themselves.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time of this thread so far.
///
/// # Panics
///
/// Where the system has no such clock.
pub fn thread_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

/// Processor time of all threads of this process so far.
///
/// # Panics
///
/// Where the system has no such clock.
pub fn process_time() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).expect("it is not negative");
    let nanos = u32::try_from(time.tv_nsec).expect("less than a second");
    Duration::new(seconds, nanos)
}

/// What `run` came to, and the processor time that it took on this thread.
pub fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = thread_time();
    let came_to = run();
    (came_to, thread_time() - start)
}

/// The median times of both, in rounds that take turns.
///
/// # Panics
///
/// Where there are no rounds.
pub fn side_by_side(
    rounds: usize,
    mut one: impl FnMut(),
    mut other: impl FnMut(),
) -> (Duration, Duration) {
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ones.push(timed(&mut one).1.as_secs_f64());
        others.push(timed(&mut other).1.as_secs_f64());
    }
    let middle = |samples: &[f64]| Duration::from_secs_f64(median(samples));
    (middle(&ones), middle(&others))
}

/// The median of `samples`; of an even number, the upper one of the two in the middle.
///
/// # Panics
///
/// Where there is none, or one is not a number.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(|one, other| one.partial_cmp(other).expect("a number"));
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[1.0, 4.0]), 4.0);
    }
}
