//! Small regressions of eight chunks of rows in a vector, a lane each: sums, factors, coefficients and their errors in
//! doubles or pairs of doubles, with an estimate of how far each is from what is promised.
//!
//! A roll's lanes are chunks of its rows; those of [`crate::groups`] are groups.

mod arithmetic;
mod kernel;
mod solve;

#[cfg(test)]
mod tests;

pub(crate) use kernel::{LANES, Promise, Rows, Shape, Sums, Windows, sums, windows};
