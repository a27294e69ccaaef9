//! The experiments, one file each.

pub mod attreg_identification;
pub mod attreg_monte_carlo;
pub mod attreg_real_data;
pub mod attreg_weights;
pub mod grokking_reference;
pub mod grokking_specific_heat;
pub mod hopfield_capacity;
pub mod icl_one_layer;
pub mod ols_construction;
pub mod ols_depth;
pub mod ols_evolution;
pub mod ols_shift;
pub mod ols_training;
pub mod symp_convergence;
pub mod symp_language_model;
pub mod symp_leak;
pub mod symp_theory;
pub mod temperature_dial;
pub mod thermo_identities;
pub mod thermo_regression;

use crate::error::Error;
use crate::experiment::Experiment;

/// All experiments, in the order in which `hat lab list` shows them.
pub const ALL: [Experiment; 20] = [
    ols_construction::EXPERIMENT,
    ols_training::EXPERIMENT,
    ols_shift::EXPERIMENT,
    ols_depth::EXPERIMENT,
    ols_evolution::EXPERIMENT,
    icl_one_layer::EXPERIMENT,
    hopfield_capacity::EXPERIMENT,
    attreg_monte_carlo::EXPERIMENT,
    attreg_real_data::EXPERIMENT,
    attreg_identification::EXPERIMENT,
    attreg_weights::EXPERIMENT,
    temperature_dial::EXPERIMENT,
    symp_theory::EXPERIMENT,
    symp_convergence::EXPERIMENT,
    symp_leak::EXPERIMENT,
    symp_language_model::EXPERIMENT,
    thermo_identities::EXPERIMENT,
    thermo_regression::EXPERIMENT,
    grokking_reference::EXPERIMENT,
    grokking_specific_heat::EXPERIMENT,
];

/// The experiment of that name.
///
/// # Errors
/// [`Error::UnknownExperiment`] with the nearest name.
pub fn find(name: &str) -> Result<&'static Experiment, Error> {
    static EXPERIMENTS: [Experiment; ALL.len()] = ALL;
    if let Some(found) = EXPERIMENTS.iter().find(|e| e.name == name) {
        return Ok(found);
    }
    let nearest = EXPERIMENTS.iter().map(|e| e.name).min_by_key(|known| distance(name, known)).unwrap_or_default();
    Err(Error::UnknownExperiment { name: name.to_owned(), nearest })
}

/// Edits (insertions, deletions, replacements) between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_or_the_nearest_offered() {
        for experiment in &ALL {
            assert_eq!(find(experiment.name).unwrap().name, experiment.name);
            assert!(!experiment.head().is_empty(), "{} has no head", experiment.name);
        }
        let refused = find("hopfeld-capacity").err().unwrap();
        let nearest = "hopfield-capacity";
        assert_eq!(refused, Error::UnknownExperiment { name: "hopfeld-capacity".to_owned(), nearest });
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("abc", "")), (3, 3, 3));
    }
}
