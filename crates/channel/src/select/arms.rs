//! All operations of a select.

use std::fmt;
use std::pin::Pin;

use super::arm::Arm;

/// All operations of a select, by number.
pub trait Arms: Unpin {
    /// How many there are.
    fn count(&self) -> usize;

    /// One of them.
    fn arm(&mut self, index: usize) -> Pin<&mut (dyn Arm + '_)>;
}

/// No operation.
#[derive(Debug)]
pub struct Nil;

impl Nil {
    /// One operation.
    pub fn and<A: Arm>(self, arm: Pin<&mut A>) -> Chain<'_, Self, A> {
        Chain { earlier: self, arm }
    }
}

impl Arms for Nil {
    fn count(&self) -> usize {
        0
    }

    fn arm(&mut self, index: usize) -> Pin<&mut (dyn Arm + '_)> {
        unreachable!("there is no arm {index}")
    }
}

/// One operation more than before.
pub struct Chain<'a, P, A> {
    earlier: P,
    arm: Pin<&'a mut A>,
}

impl<P: Arms, A: Arm> Chain<'_, P, A> {
    /// One operation more.
    pub fn and<B: Arm>(self, arm: Pin<&mut B>) -> Chain<'_, Self, B> {
        Chain { earlier: self, arm }
    }
}

impl<P: Arms, A: Arm> Arms for Chain<'_, P, A> {
    #[inline]
    fn count(&self) -> usize {
        self.earlier.count() + 1
    }

    #[inline]
    fn arm(&mut self, index: usize) -> Pin<&mut (dyn Arm + '_)> {
        if index == self.earlier.count() {
            self.arm.as_mut()
        } else {
            self.earlier.arm(index)
        }
    }
}

impl<P, A> fmt::Debug for Chain<'_, P, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").finish_non_exhaustive()
    }
}
