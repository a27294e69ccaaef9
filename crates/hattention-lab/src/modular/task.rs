//! The pairs that are learned from, and those that are held back.

use rand::RngExt;
use rand::seq::SliceRandom;

use crate::error::Error;
use crate::seeds::Generator;

/// Which pairs are learned from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The modulus p.
    pub modulus: usize,
    /// The share of all pairs that is learned from.
    pub fraction: f64,
    /// Whether (a, b) and (b, a) are on the same side. Where they are not, a model that treats both alike knows many of the pairs that are held
    /// back.
    pub unordered: bool,
    /// The share of the pairs whose sum is replaced by any number, evenly; of those held back, too.
    pub noise: f64,
}

/// Pairs, their sums, and which of them are learned from.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The modulus p.
    pub modulus: usize,
    /// Pairs that are learned from, as `p a + b`.
    pub train: Vec<u32>,
    /// Pairs that are held back.
    pub test: Vec<u32>,
    /// The target of every pair. Shape: `[p²]`.
    pub targets: Vec<u32>,
}

impl Task {
    /// Draws the pairs.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a modulus below 2 or above 1,000, shares outside `[0, 1]`, and a fraction that leaves no pair on one side.
    ///
    /// # Example
    /// ```
    /// use hattention_lab::{modular::{Task, TaskOptions}, seeds::generator};
    /// let options = TaskOptions { modulus: 7, fraction: 0.5, unordered: true, noise: 0.0 };
    /// let task = Task::new(options, &mut generator("example", "", "pairs", 0)).unwrap();
    /// assert_eq!(task.train.len() + task.test.len(), 49);
    /// assert!(task.train.iter().all(|pair| task.train.contains(&(pair % 7 * 7 + pair / 7))));
    /// assert_eq!(task.targets[3 * 7 + 5], 1);
    /// ```
    pub fn new(options: Options, generator: &mut Generator) -> Result<Self, Error> {
        let Options { modulus, fraction, unordered, noise } = options;
        let share = |x: f64| (0.0..=1.0).contains(&x);
        if !(2..=1000).contains(&modulus) || !share(fraction) || !share(noise) {
            let allowed = "a modulus of 2 to 1,000, and shares from 0 to 1";
            return Err(Error::Parameter { name: "the options of a task", got: format!("{options:?}"), allowed });
        }
        let p = modulus as u32;
        let mut groups: Vec<Vec<u32>> = if unordered {
            let of = |a: u32| (a..p).map(move |b| if a == b { vec![p * a + b] } else { vec![p * a + b, p * b + a] });
            (0..p).flat_map(of).collect()
        } else {
            (0..p * p).map(|pair| vec![pair]).collect()
        };
        groups.shuffle(generator);
        let wanted = (fraction * f64::from(p * p)).round() as usize;
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for group in groups {
            let side = if train.len() < wanted { &mut train } else { &mut test };
            side.extend(group);
        }
        if train.is_empty() || test.is_empty() {
            let (name, got) = ("the fraction", fraction.to_string());
            return Err(Error::Parameter { name, got, allowed: "one that leaves pairs on both sides" });
        }
        train.sort_unstable();
        test.sort_unstable();
        let noisy = |pair: u32, generator: &mut Generator| {
            let (replaced, any) = (generator.random::<f64>() < noise, generator.random_range(0..p));
            if replaced { any } else { (pair / p + pair % p) % p }
        };
        let targets = (0..p * p).map(|pair| noisy(pair, generator)).collect();
        Ok(Self { modulus, train, test, targets })
    }

    /// The targets of some pairs.
    pub(super) fn targets_of(&self, pairs: &[u32]) -> Vec<u32> {
        pairs.iter().map(|pair| self.targets[*pair as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::generator;

    #[test]
    fn pairs_are_parted_as_asked() {
        let of = |options| Task::new(options, &mut generator("test", "task", "pairs", 0));
        let plain = Options { modulus: 23, fraction: 0.3, unordered: false, noise: 0.0 };
        let task = of(plain).unwrap();
        assert_eq!((task.train.len(), task.test.len()), (159, 529 - 159));
        assert!(task.targets.iter().enumerate().all(|(pair, t)| *t as usize == (pair / 23 + pair % 23) % 23));
        let noisy = of(Options { noise: 0.5, ..plain }).unwrap();
        let wrong = noisy.targets.iter().zip(&task.targets).filter(|(a, b)| a != b).count();
        assert!((200..310).contains(&wrong), "{wrong}");
        for wrong in [
            Options { modulus: 1, ..plain },
            Options { fraction: 0.0, ..plain },
            Options { fraction: 1.0, ..plain },
            Options { fraction: f64::NAN, ..plain },
            Options { noise: 1.5, ..plain },
        ] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }
}
