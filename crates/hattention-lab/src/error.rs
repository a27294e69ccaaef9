//! What can go wrong, as data.

/// Everything the lab refuses, with what it expected and what it got.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that no experiment has.
    #[error("no experiment is called `{name}`")]
    UnknownExperiment {
        /// The name asked for.
        name: String,
        /// The name nearest to it.
        nearest: &'static str,
    },
    /// A file that cannot be read or written.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        why: String,
    },
    /// A file whose contents are not what they should be.
    #[error("{path} is not a whole result of a unit: expected {expected}, got {got}")]
    Format {
        /// The file.
        path: String,
        /// What was expected.
        expected: String,
        /// What was found.
        got: String,
    },
    /// A folder that holds results of another size, of other seeds, of another device, or of a newer version.
    #[error("{folder} holds a run of {holds}; a run of {asked} would replace it")]
    Occupied {
        /// The folder of the experiment.
        folder: String,
        /// What it holds.
        holds: String,
        /// What is asked for.
        asked: String,
    },
    /// A folder without results.
    #[error("{folder} holds no runs of an experiment")]
    NoRuns {
        /// The folder.
        folder: String,
    },
    /// A parameter outside what is allowed.
    #[error("{name} is {got}, expected {allowed}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// The value given.
        got: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A device that this build, or this machine, does not have.
    #[error("device `{device}` cannot be used: {why}")]
    Device {
        /// The device asked for.
        device: &'static str,
        /// Why not.
        why: String,
    },
    /// A device for an experiment that has no use for it.
    #[error("`{experiment}` trains nothing: device `{device}` would not be used")]
    UnusedDevice {
        /// The experiment.
        experiment: &'static str,
        /// The device asked for.
        device: &'static str,
    },
    /// A tensor that cannot be read back.
    #[error("tensor: {0}")]
    Tensor(String),
    /// A training whose loss or gradient is no number any more.
    #[error("the training diverged at step {step}: its loss is {loss}, or its gradient is not finite")]
    Diverged {
        /// Steps taken before.
        step: usize,
        /// The loss there.
        loss: f64,
    },
    /// A checkpoint from which a training cannot go on.
    #[error("the checkpoint cannot be used: {why}")]
    Checkpoint {
        /// What is wrong.
        why: String,
    },
    /// A plot that cannot be drawn.
    #[error("plot `{title}`: {why}")]
    Plot {
        /// Its title.
        title: String,
        /// What is wrong.
        why: String,
    },
    /// What the library of regressions refused.
    #[error(transparent)]
    Regression(#[from] hattention::Error),
}

impl Error {
    /// The way out, for a message's `hint:` line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownExperiment { nearest, .. } => {
                Some(format!("the nearest name is `{nearest}`; `hat lab list` shows all"))
            }
            Self::Format { .. } => {
                Some("remove the file, or run the experiment again: it makes the unit anew".to_owned())
            }
            Self::Occupied { .. } => Some("choose another folder with `-o`, or remove this one".to_owned()),
            Self::NoRuns { .. } => Some("name the folder of an experiment, as `results/hopfield-capacity`".to_owned()),
            Self::Device { device: "cuda", .. } => {
                Some("build with `--features cuda` on a machine with CUDA, or use `--device cpu`".to_owned())
            }
            Self::UnusedDevice { .. } => {
                Some("leave `--device` out; these numbers are made on the processor".to_owned())
            }
            Self::Diverged { .. } => Some("lower the rate, or warm up for longer".to_owned()),
            Self::Checkpoint { .. } => Some("remove it: the training then begins anew".to_owned()),
            Self::Regression(error) => error.hint().map(str::to_owned),
            _ => None,
        }
    }
}
