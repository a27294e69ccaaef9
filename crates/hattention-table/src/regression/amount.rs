//! How much to shrink.

use super::failure::Failure;

/// A number, or the choice of generalised cross-validation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number<T> {
    /// This number.
    Given(T),
    /// What generalised cross-validation chooses.
    Auto,
}

/// How much to shrink.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Not at all: least squares.
    Ols,
    /// A penalty on `XᵀX`, scikit-learn's alpha.
    Ridge(Number<f64>),
    /// So many principal components.
    Components(Number<usize>),
}

impl Amount {
    /// Reads a penalty and a number of components, of which one at most is given, as the program has them.
    ///
    /// # Errors
    /// If a number is none, or both are given.
    pub fn parse(ridge: Option<&str>, components: Option<&str>) -> Result<Self, Failure> {
        match (ridge, components) {
            (Some(_), Some(_)) => Err(Failure::usage("--ridge and --components", "leave out one of the two")),
            (Some("auto"), _) => Ok(Self::Ridge(Number::Auto)),
            (Some(text), _) => match text.parse::<f64>() {
                Ok(alpha) if alpha >= 0.0 && alpha.is_finite() => Ok(Self::Ridge(Number::Given(alpha))),
                _ => {
                    Err(Failure::usage(format!("--ridge is `{text}`, expected a number, zero or more, or `auto`"), ""))
                }
            },
            (None, Some("auto")) => Ok(Self::Components(Number::Auto)),
            (None, Some(text)) => match text.parse::<usize>() {
                Ok(count) => Ok(Self::Components(Number::Given(count))),
                Err(_) => {
                    Err(Failure::usage(format!("--components is `{text}`, expected a whole number or `auto`"), ""))
                }
            },
            (None, None) => Ok(Self::Ols),
        }
    }
}
