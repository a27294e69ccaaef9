//! Failures as exceptions of `hattention.errors`, in Python's words.

use hattention_table::regression::{Failure, Kind};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

/// The exception of a failure.
pub fn exception(py: Python<'_>, failure: &Failure) -> PyErr {
    let class = match failure.kind {
        Kind::Usage => "DataError",
        Kind::NoAnswer => "NoAnswerError",
        Kind::Interrupted => return PyKeyboardInterrupt::new_err(()),
    };
    let made = py.import("hattention.errors").and_then(|errors| {
        let hint = failure.hint.as_deref().map(in_python);
        errors.getattr(class)?.call1((in_python(&failure.message), hint, failure.row))
    });
    made.map_or_else(|error| error, PyErr::from_value)
}

/// The exception of data that are wrong: `DataError`, or `DataTypeError` where their type is.
pub fn data_error(py: Python<'_>, class: &str, message: &str, hint: Option<&str>, row: Option<usize>) -> PyErr {
    let made = py.import("hattention.errors").and_then(|errors| errors.getattr(class)?.call1((message, hint, row)));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// What only a command line has, and what stands in its place.
const OF_THE_SHELL: [(&str, &str); 4] = [
    ("; quote the pattern in the shell", ""),
    (", or join them with --sql", ""),
    (", or CAST it with --sql", ""),
    ("`hat fit 'y ~ x' data.csv`", "`hattention.fit(\"y ~ x\", \"data.csv\")`"),
];

/// A whole number that must not be less than `least`.
///
/// # Errors
/// By the name of the argument.
pub fn at_least(name: &str, value: i64, least: i64) -> PyResult<i64> {
    let allowed = || format!("a whole number of at least {least}");
    if value >= least { Ok(value) } else { Err(not_in(name, &value.to_string(), &allowed())) }
}

/// A value that an argument cannot have.
pub fn not_in(name: &str, got: &str, expected: &str) -> PyErr {
    let failure = Failure::usage(format!("{name} is {got}, expected {expected}"), "");
    Python::attach(|py| exception(py, &failure))
}

/// A message of the program with its options as Python has them: `--vcov` is `vcov`, `` `--aliased drop` `` is
/// `` `aliased="drop"` ``.
pub fn in_python(text: &str) -> String {
    let text = OF_THE_SHELL.iter().fold(text.to_owned(), |text, (shell, here)| text.replace(shell, here));
    let mut words = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = option_at(rest) {
        let (before, after) = rest.split_at(at);
        words.push_str(before);
        let after = &after[2..];
        let end = after.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(after.len());
        let (name, tail) = after.split_at(end);
        let name = if name == "with-hc" { "hc" } else { name };
        words.push_str(&name.replace('-', "_"));
        rest = tail;
        // Within backticks the word that follows is the option's value.
        if before.ends_with('`')
            && let Some((value, more)) = tail.strip_prefix(' ').and_then(|tail| tail.split_once('`'))
        {
            words.push_str(&format!("=\"{value}\"`"));
            rest = more;
        }
    }
    words + rest
}

/// Where the next option of the program begins.
fn option_at(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    (0..bytes.len().saturating_sub(2)).find(|&at| {
        let begins = at == 0 || matches!(bytes[at - 1], b' ' | b'`' | b'(' | b'"');
        begins && &bytes[at..at + 2] == b"--" && bytes[at + 2].is_ascii_lowercase()
    })
}

#[cfg(test)]
mod tests {
    use super::in_python;

    #[test]
    fn options_become_arguments() {
        assert_eq!(in_python("drop them, or use `--aliased drop`"), "drop them, or use `aliased=\"drop\"`");
        assert_eq!(in_python("--vcov HC3 with --with-hc"), "vcov HC3 with hc");
        assert_eq!(in_python("a -- b, `x--y`, --"), "a -- b, `x--y`, --");
        assert_eq!(in_python("a bracket; quote the pattern in the shell"), "a bracket");
        assert_eq!(in_python("let `--unseen null` leave"), "let `unseen=\"null\"` leave");
    }
}
