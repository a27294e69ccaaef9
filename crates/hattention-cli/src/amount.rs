//! How much to shrink: `--ridge` and `--components`.

use crate::args::ReadOutArgs;
use crate::failure::Failure;

/// A number or `auto`.
pub enum Number<T> {
    Given(T),
    Auto,
}

/// How much to shrink.
pub enum Amount {
    Ols,
    Ridge(Number<f64>),
    Components(Number<usize>),
}

impl Amount {
    /// Reads `--ridge` and `--components`.
    ///
    /// # Errors
    /// If a number is none.
    pub fn parse(args: &ReadOutArgs) -> Result<Self, Failure> {
        match (&args.ridge, &args.components) {
            (Some(text), _) if text == "auto" => Ok(Self::Ridge(Number::Auto)),
            (Some(text), _) => match text.parse::<f64>() {
                Ok(alpha) if alpha >= 0.0 && alpha.is_finite() => Ok(Self::Ridge(Number::Given(alpha))),
                _ => {
                    Err(Failure::usage(format!("--ridge is `{text}`, expected a number, zero or more, or `auto`"), ""))
                }
            },
            (None, Some(text)) if text == "auto" => Ok(Self::Components(Number::Auto)),
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
