//! Medians of alternating rounds.

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
