//! Restrictions on coefficients as people write them: `x = 1`, `a - 2*b = 0`, `x = z = 0`, `x, z`.

use super::failure::Failure;

/// One restriction `Σ factor · coefficient = right`.
#[derive(Clone, Debug, PartialEq)]
pub struct Restriction {
    /// Factors. Shape: `[coefficients]`.
    pub row: Vec<f64>,
    /// The right side.
    pub right: f64,
}

/// A sum over the coefficients, and a constant.
type Sum = (Vec<f64>, f64);

/// Reads restrictions: equations with commas between them, each of sums with `=` between them; a sum alone is zero.
///
/// Names of coefficients are matched whole, the longest first, since they may hold signs; within backticks, or as statsmodels
/// writes them (`Intercept`, `g[T.b]`), too.
///
/// # Equals
/// The strings of `linearHypothesis` in R's car, and of `f_test` in statsmodels, without parentheses.
///
/// # Errors
/// If something is no coefficient and no number, if a name is that of two, and if an equation names no coefficient.
pub fn parse(text: &str, names: &[String]) -> Result<Vec<Restriction>, Failure> {
    let mut reader = Reader { whole: text, rest: text.trim_start(), names };
    let mut found = Vec::new();
    loop {
        let mut sides = vec![reader.sum()?];
        while reader.taken("=") {
            reader.taken("=");
            sides.push(reader.sum()?);
        }
        if sides.len() == 1 {
            sides.push((vec![0.0; names.len()], 0.0));
        }
        for pair in sides.windows(2) {
            found.push(difference(&pair[0], &pair[1]).ok_or_else(|| nameless(text))?);
        }
        if !reader.taken(",") {
            break;
        }
    }
    if reader.rest.is_empty() { Ok(found) } else { Err(reader.unknown()) }
}

/// `left = right` as a restriction, if it names a coefficient.
fn difference(left: &Sum, right: &Sum) -> Option<Restriction> {
    let row: Vec<f64> = left.0.iter().zip(&right.0).map(|(a, b)| a - b).collect();
    row.iter().any(|factor| *factor != 0.0).then_some(Restriction { row, right: right.1 - left.1 })
}

/// A restriction as [`parse`] reads it.
pub fn text_of(restriction: &Restriction, names: &[String]) -> String {
    let mut text = String::new();
    for (factor, name) in restriction.row.iter().zip(names).filter(|(factor, _)| **factor != 0.0) {
        let sign = match (text.is_empty(), *factor < 0.0) {
            (true, false) => "",
            (true, true) => "-",
            (false, false) => " + ",
            (false, true) => " - ",
        };
        let times = if factor.abs() == 1.0 { String::new() } else { format!("{}*", factor.abs()) };
        text.push_str(&format!("{sign}{times}{name}"));
    }
    format!("{text} = {}", restriction.right)
}

struct Reader<'a> {
    whole: &'a str,
    rest: &'a str,
    names: &'a [String],
}

impl Reader<'_> {
    /// Takes a sign, if it comes next.
    fn taken(&mut self, sign: &str) -> bool {
        let after = self.rest.strip_prefix(sign);
        self.rest = after.map_or(self.rest, str::trim_start);
        after.is_some()
    }

    /// Products with `+` and `-` between them.
    fn sum(&mut self) -> Result<Sum, Failure> {
        let (mut row, mut constant) = (vec![0.0; self.names.len()], 0.0);
        let mut sign = if self.taken("-") { -1.0 } else { 1.0 };
        if sign > 0.0 {
            self.taken("+");
        }
        loop {
            match self.product()? {
                (Some(k), factor) => row[k] += sign * factor,
                (None, number) => constant += sign * number,
            }
            sign = match (self.taken("+"), self.taken("-")) {
                (true, false) => 1.0,
                (false, true) => -1.0,
                (false, false) => return Ok((row, constant)),
                (true, true) => return Err(self.unknown()),
            };
        }
    }

    /// Numbers and at most one coefficient, with `*` and `/` between them.
    fn product(&mut self) -> Result<(Option<usize>, f64), Failure> {
        let (mut coefficient, mut factor) = self.operand()?;
        loop {
            let divided = match (self.taken("*"), self.taken("/")) {
                (true, false) => false,
                (false, true) => true,
                (false, false) => return Ok((coefficient, factor)),
                (true, true) => return Err(self.unknown()),
            };
            let before = self.rest;
            match self.operand()? {
                (None, 0.0) if divided => {
                    let divides = format!("the hypothesis `{}` divides by zero", self.whole);
                    return Err(Failure::usage(divides, "write a factor other than zero"));
                }
                (None, number) if divided => factor /= number,
                (None, number) => factor *= number,
                (Some(k), _) if !divided && coefficient.is_none() => coefficient = Some(k),
                (Some(_), _) => return Err(Self { rest: before, ..*self }.unknown()),
            }
        }
    }

    /// A coefficient (and 1), or a number.
    fn operand(&mut self) -> Result<(Option<usize>, f64), Failure> {
        // (The longest name, and of equally long ones the one that is written as it is.)
        let mut best: Option<(usize, bool, usize)> = None;
        let mut several = false;
        for (k, name) in self.names.iter().enumerate() {
            let Some((length, plain)) = length_of(self.rest, name) else { continue };
            let known = best.map(|(length, plain, _)| (length, plain));
            several = known == Some((length, plain)) || several && known > Some((length, plain));
            if known.is_none_or(|known| known < (length, plain)) {
                best = Some((length, plain, k));
            }
        }
        match best {
            Some((length, _, _)) if several => Err(Failure::usage(
                format!(
                    "`{}` in the hypothesis `{}` is the name of several coefficients",
                    &self.rest[..length],
                    self.whole
                ),
                "rename a column so that their names differ",
            )),
            Some((length, _, k)) => {
                self.rest = self.rest[length..].trim_start();
                Ok((Some(k), 1.0))
            }
            None => {
                let (number, rest) = leading_number(self.rest).ok_or_else(|| self.unknown())?;
                self.rest = rest.trim_start();
                Ok((None, number))
            }
        }
    }

    fn unknown(&self) -> Failure {
        let got = if self.rest.is_empty() { "its end".to_owned() } else { format!("`{}`", self.rest.trim_end()) };
        let shown: Vec<&str> = self.names.iter().take(12).map(String::as_str).collect();
        let more = if self.names.len() > 12 { ", …" } else { "" };
        Failure::usage(
            format!("cannot read {got} in the hypothesis `{}`: expected a coefficient or a number", self.whole),
            format!("the coefficients are {}{more}", shown.join(", ")),
        )
    }
}

fn nameless(text: &str) -> Failure {
    Failure::usage(format!("`{text}` names no coefficient"), "write for example `x = 0` or `a - b = 1`")
}

/// How much of the text is a coefficient's name, and whether it is written as it is: else it is within backticks, or as
/// statsmodels writes it.
fn length_of(text: &str, name: &str) -> Option<(usize, bool)> {
    if text.starts_with(name) {
        return Some((name.len(), true));
    }
    let quoted = || text.strip_prefix('`')?.strip_prefix(name)?.starts_with('`').then_some(name.len() + 2);
    let constant = || (name == hattention::INTERCEPT && text.starts_with("Intercept")).then_some("Intercept".len());
    let length = quoted().or_else(constant).or_else(|| treatment(text, name))?;
    Some((length, false))
}

/// The same for levels as statsmodels writes them: `g[T.b]` is `gb`, `b[T.True]` is `bTRUE`.
fn treatment(text: &str, name: &str) -> Option<usize> {
    let (mut rest, mut missing, mut within) = (text, name, false);
    while within || !missing.is_empty() {
        if let Some(after) = rest.strip_prefix("[T.").filter(|_| !within) {
            (rest, within) = (after, true);
            for (theirs, ours) in [("True]", "TRUE"), ("False]", "FALSE")] {
                if let (true, Some(left)) = (rest.starts_with(theirs), missing.strip_prefix(ours)) {
                    (rest, missing) = (&rest[theirs.len() - 1..], left);
                }
            }
        } else if let (true, Some(after)) = (within && !missing.starts_with(']'), rest.strip_prefix(']')) {
            (rest, within) = (after, false);
        } else {
            let next = missing.chars().next()?;
            (rest, missing) = (rest.strip_prefix(next)?, &missing[next.len_utf8()..]);
        }
    }
    Some(text.len() - rest.len())
}

fn leading_number(text: &str) -> Option<(f64, &str)> {
    let end = (1..=text.len()).rev().filter(|&end| text.is_char_boundary(end)).find(|&end| {
        let candidate = &text[..end];
        candidate.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && candidate.trim_end() == candidate
            && candidate.parse::<f64>().is_ok()
    })?;
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, names: &[&str]) -> Result<Vec<(Vec<f64>, f64)>, Failure> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(parse(text, &names)?.into_iter().map(|one| (one.row, one.right)).collect())
    }

    #[test]
    fn hypotheses_are_rows_over_the_coefficients() {
        let names = ["(Intercept)", "x", "x:z", "I(x^2)"];
        let row = |text: &str| read(text, &names).unwrap();
        assert_eq!(row("x"), [(vec![0.0, 1.0, 0.0, 0.0], 0.0)]);
        assert_eq!(row("2*x - x:z + 1 = I(x^2)"), [(vec![0.0, 2.0, -1.0, -1.0], -1.0)]);
        assert_eq!(row("(Intercept) = 1e-3"), [(vec![1.0, 0.0, 0.0, 0.0], 1e-3)]);
        assert_eq!(row("Intercept == 1"), [(vec![1.0, 0.0, 0.0, 0.0], 1.0)]);
        assert_eq!(row("-`x` = -2"), [(vec![0.0, -1.0, 0.0, 0.0], -2.0)]);
        assert_eq!(row("x*3/2 = 1/4"), [(vec![0.0, 1.5, 0.0, 0.0], 0.25)]);
        let both = [(vec![0.0, 1.0, 0.0, 0.0], 0.0), (vec![0.0, 0.0, 1.0, 0.0], 2.0)];
        assert_eq!(row("x = 0, x:z = 2"), both);
        assert_eq!(row("x, x:z = 2"), both);
        assert_eq!(row("x = x:z = 0"), [(vec![0.0, 1.0, -1.0, 0.0], 0.0), (vec![0.0, 0.0, 1.0, 0.0], 0.0)]);
        for wrong in
            ["x/0 = 1", "y = 1", "1 = 1", "x x", "x =", "x = 0,", "", "x*x", "2/x", "x = 1 = 1", "x + - 1", "x*/2"]
        {
            assert!(read(wrong, &names).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_matched_whole() {
        let names = ["`a b`", "`a, b`", "`a=b`:x", "`_x`", "x", "TRUE", "`TRUE`", "`🙂`", "g2 = c"];
        for (k, name) in names.iter().enumerate() {
            let rows = read(&format!("2*{name} = x + 1"), &names).unwrap();
            let mut expected = vec![0.0; names.len()];
            expected[k] = 2.0;
            expected[4] -= 1.0;
            assert_eq!(rows, [(expected, 1.0)], "{name}");
        }
        assert!(read("gb", &["gb", "gb"]).unwrap_err().message.contains("several"));
    }

    #[test]
    fn levels_are_read_as_statsmodels_writes_them() {
        let names = ["g", "gb", "C(g)b", "gb:x", "C(g)b:C(h)c", "bTRUE", "g[T.z]"];
        let texts = ["g", "g[T.b]", "C(g)[T.b]", "g[T.b]:x", "C(g)[T.b]:C(h)[T.c]", "b[T.True]", "g[T.z]"];
        for (k, text) in texts.iter().enumerate() {
            let rows = read(text, &names).unwrap();
            assert_eq!(rows[0].0.iter().position(|factor| *factor == 1.0), Some(k), "{text}");
        }
        assert!(read("g[T.b", &names).is_err() && read("g[T.q]", &names).is_err());
    }

    #[test]
    fn restrictions_are_written_as_they_are_read() {
        let names: Vec<String> = ["(Intercept)", "x", "x:z"].map(String::from).into();
        for text in ["x = 0", "-x + 2*x:z = 1.5", "(Intercept) - 0.5*x:z = -1"] {
            assert_eq!(text_of(&parse(text, &names).unwrap()[0], &names), text);
        }
    }
}
