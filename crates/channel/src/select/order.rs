//! In which order the arms are tried.

/// This many arms need no memory of their own.
const FEW: usize = 16;

/// A permutation of the numbers of arms.
#[derive(Debug)]
pub(super) enum Order {
    Few([u8; FEW], usize),
    Many(Vec<u32>),
}

impl Order {
    /// As written.
    pub(super) fn ascending(count: usize) -> Self {
        if count <= FEW {
            Self::Few(std::array::from_fn(|index| index as u8), count)
        } else {
            Self::Many((0..count as u32).collect())
        }
    }

    /// Shuffles it (Fisher and Yates), with `draw` for the randomness.
    pub(super) fn shuffle(&mut self, mut draw: impl FnMut() -> u32) {
        for last in (1..self.len()).rev() {
            let choices = last as u64 + 1;
            let other = (u64::from(draw()) * choices) >> 32;
            match self {
                Self::Few(numbers, _) => numbers.swap(last, other as usize),
                Self::Many(numbers) => numbers.swap(last, other as usize),
            }
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(_, count) => *count,
            Self::Many(numbers) => numbers.len(),
        }
    }

    #[inline]
    pub(super) fn at(&self, place: usize) -> usize {
        match self {
            Self::Few(numbers, _) => usize::from(numbers[place]),
            Self::Many(numbers) => numbers[place] as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn a_shuffled_order_has_every_number_once() {
        for count in [0, 1, 2, 16, 17, 1_000] {
            let mut order = Order::ascending(count);
            let mut state = 1_u32;
            order.shuffle(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state
            });
            let mut numbers: Vec<_> = (0..order.len()).map(|place| order.at(place)).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (0..count).collect::<Vec<_>>());
        }
    }
}
