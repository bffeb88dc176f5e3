//! Foreign code that has to run to its end, whichever part of it panics.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

/// Keeps the first panic of several pieces of foreign code, each of which runs.
///
/// The later ones are leaked: what a panic carries may panic when it is dropped.
#[derive(Debug, Default)]
#[must_use = "the panic it keeps has to go on"]
pub(crate) struct FirstPanic(Option<Box<dyn Any + Send>>);

impl FirstPanic {
    /// Runs one of the pieces.
    pub(crate) fn catch(&mut self, act: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(act)) {
            match self.0 {
                None => self.0 = Some(panic),
                Some(_) => mem::forget(panic),
            }
        }
    }

    /// Lets the panic go on, if there was one; not beside another that already does, for two end
    /// the process.
    pub(crate) fn resume(self) {
        if let Some(panic) = self.0 {
            if thread::panicking() {
                mem::forget(panic);
            } else {
                resume_unwind(panic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

    use super::FirstPanic;

    /// Panics as it goes.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("what a panic carried was dropped");
        }
    }

    #[test]
    fn every_piece_runs_and_the_first_panic_goes_on() {
        let mut ran = 0;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut first = FirstPanic::default();
            for piece in 0..4 {
                first.catch(|| {
                    ran += 1;
                    match piece {
                        1 => panic_any(1_u8),
                        2 => panic_any(Bomb),
                        _ => {}
                    }
                });
            }
            first.resume();
        }));
        assert_eq!(ran, 4);
        assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&1_u8));
    }

    #[test]
    fn beside_a_panic_that_is_on_its_way_none_goes_on() {
        struct Cleaning;
        impl Drop for Cleaning {
            fn drop(&mut self) {
                let mut first = FirstPanic::default();
                first.catch(|| panic_any(2_u8));
                first.resume();
            }
        }
        let outcome = catch_unwind(|| {
            let _cleaning = Cleaning;
            panic_any(1_u8);
        });
        assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&1_u8));
    }
}
