//! Tokens to expressions, with the precedence of R: `^`, sign, `:`, `* /`, `+ -`, `~`.

use super::lexer::{Token, Word, tokens};
use super::syntax::{Argument, Expr, Kind, Link, Operator};
use crate::error::TableError;

/// Brackets, signs and powers may nest this deep: every walk over an expression recurses no deeper.
const NESTING_LIMIT: usize = 100;

/// How tightly operators bind; the looser the smaller.
mod binding {
    pub const SUM: u8 = 1;
    pub const PRODUCT: u8 = 2;
    pub const INTERACTION: u8 = 3;
    pub const SIGN: u8 = 4;
    pub const POWER: u8 = 5;
}

/// The effects after `|`, each with where it starts.
pub(super) type Effects = Vec<(String, usize)>;

/// The two sides of `left ~ right`, and the effects of `left ~ right | effects`.
///
/// # Errors
/// - [`TableError::Formula`] at the first token that does not fit.
pub(super) fn sides(formula: &str) -> Result<(Expr, Expr, Effects), TableError> {
    let mut parser = Parser { formula, tokens: tokens(formula)?, at: 0 };
    if let Word::Symbol('~') = parser.word() {
        return Err(parser.expected("a target before `~`"));
    }
    let left = parser.expression(0, 0)?;
    if parser.word() != &Word::Symbol('~') {
        return Err(parser.expected("`~` after the target"));
    }
    parser.at += 1;
    let right = parser.expression(0, 0)?;
    let effects = if parser.word() == &Word::Symbol('|') { parser.effects()? } else { Vec::new() };
    match parser.word() {
        Word::End => Ok((left, right, effects)),
        _ => Err(parser.expected("an operator, `|` or the end of the formula")),
    }
}

/// Why combinations of effects are refused.
const COMBINED: &str =
    "`+` or the end of the formula (the combinations of two columns are an effect if a column has them)";

/// Why `|` is refused inside brackets.
const ABSORBED: &str = "an operator or `)` (effects stand after all terms: y ~ a + b | g)";

struct Parser<'a> {
    formula: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

impl Parser<'_> {
    /// The present word. The token list always ends with `End`, which is never passed.
    fn word(&self) -> &Word {
        &self.tokens[self.at].word
    }

    fn start(&self) -> usize {
        self.tokens[self.at].start
    }

    fn expected(&self, expected: &str) -> TableError {
        TableError::Formula {
            formula: self.formula.to_owned(),
            offset: self.start(),
            expected: expected.to_owned(),
            got: self.word().describe(),
        }
    }

    /// `| g + h`, from the `|` on.
    fn effects(&mut self) -> Result<Effects, TableError> {
        let mut effects: Effects = Vec::new();
        while matches!(self.word(), Word::Symbol('|' | '+')) {
            if self.word() == &Word::Symbol('|') && !effects.is_empty() {
                return Err(self.expected("`+` between effects, or the end of the formula"));
            }
            self.at += 1;
            let Word::Name(name) = self.word().clone() else {
                return Err(self.expected("the column of an effect"));
            };
            if effects.iter().any(|(known, _)| *known == name) {
                return Err(self.expected("each effect once"));
            }
            effects.push((name, self.start()));
            self.at += 1;
            match self.word() {
                Word::Symbol('^' | ':' | '*') => return Err(self.expected(COMBINED)),
                Word::Symbol('(') => return Err(self.expected("`+` or the end (an effect is a bare column)")),
                _ => {}
            }
        }
        Ok(effects)
    }

    /// An expression of operators that bind at least as tightly as `minimum`.
    fn expression(&mut self, minimum: u8, depth: usize) -> Result<Expr, TableError> {
        if depth > NESTING_LIMIT {
            return Err(self.expected(&format!("at most {NESTING_LIMIT} nested brackets, signs and powers")));
        }
        let mut left = self.operand(depth)?;
        loop {
            let (operator, strength) = match self.word() {
                Word::Symbol('+') => (Some(Operator::Plus), binding::SUM),
                Word::Symbol('-') => (Some(Operator::Minus), binding::SUM),
                Word::Symbol('*') => (Some(Operator::Times), binding::PRODUCT),
                Word::Symbol('/') => (Some(Operator::Divide), binding::PRODUCT),
                Word::Symbol(':') => (Some(Operator::Colon), binding::INTERACTION),
                Word::Symbol('^') => (None, binding::POWER),
                _ => return Ok(left),
            };
            if strength < minimum {
                return Ok(left);
            }
            let at = self.start();
            self.at += 1;
            left = match operator {
                Some(operator) => {
                    let operand = self.expression(strength + 1, depth + 1)?;
                    chain(left, Link { operator, at, operand }, strength)
                }
                None => {
                    let exponent = Box::new(self.expression(strength, depth + 1)?);
                    Expr { start: left.start, kind: Kind::Power { base: Box::new(left), exponent } }
                }
            };
        }
    }

    /// A name, a number, a text, a call, a bracket or a signed operand.
    fn operand(&mut self, depth: usize) -> Result<Expr, TableError> {
        let start = self.start();
        let kind = match self.word().clone() {
            Word::Number(number) => Kind::Number(number),
            Word::Text(text) => Kind::Text(text),
            Word::Dot => Kind::Dot,
            Word::Name(name) => {
                self.at += 1;
                if self.word() != &Word::Symbol('(') {
                    return Ok(Expr { kind: Kind::Name(name), start });
                }
                self.at += 1;
                let arguments = self.arguments(depth)?;
                Kind::Call { function: name, arguments }
            }
            Word::Symbol('(') => {
                self.at += 1;
                let inner = self.expression(0, depth + 1)?;
                match self.word() {
                    Word::Symbol(')') => Kind::Group(Box::new(inner)),
                    Word::Symbol('|') => return Err(self.expected(ABSORBED)),
                    _ => return Err(self.expected("an operator or `)`")),
                }
            }
            Word::Symbol(sign @ ('+' | '-')) => {
                self.at += 1;
                let operand = Box::new(self.expression(binding::SIGN, depth + 1)?);
                return Ok(Expr { kind: Kind::Unary { minus: sign == '-', operand }, start });
            }
            _ => return Err(self.expected("a column, a number, a function or `(`")),
        };
        self.at += 1;
        Ok(Expr { kind, start })
    }

    /// The arguments of a call, up to its closing bracket, which is left for the caller to pass.
    fn arguments(&mut self, depth: usize) -> Result<Vec<Argument>, TableError> {
        let mut arguments = Vec::new();
        if self.word() == &Word::Symbol(')') {
            return Ok(arguments);
        }
        loop {
            let start = self.start();
            let name = match (self.word(), self.tokens.get(self.at + 1).map(|token| &token.word)) {
                (Word::Name(name), Some(Word::Symbol('='))) => Some(name.clone()),
                _ => None,
            };
            if name.is_some() {
                self.at += 2;
            }
            let value = self.expression(0, depth + 1)?;
            arguments.push(Argument { name, value, start });
            match self.word() {
                Word::Symbol(',') => self.at += 1,
                Word::Symbol(')') => return Ok(arguments),
                _ => return Err(self.expected("an operator, `,` or `)`")),
            }
        }
    }
}

/// Appends a link to `left` where that is a chain of the same strength, else starts a chain.
fn chain(left: Expr, link: Link, strength: u8) -> Expr {
    let start = left.start;
    match left.kind {
        Kind::Chain { first, mut rest }
            if rest.first().is_some_and(|present| present.operator.strength() == strength) =>
        {
            rest.push(link);
            Expr { kind: Kind::Chain { first, rest }, start }
        }
        kind => Expr { kind: Kind::Chain { first: Box::new(Expr { kind, start }), rest: vec![link] }, start },
    }
}

impl Operator {
    fn strength(self) -> u8 {
        match self {
            Self::Plus | Self::Minus => binding::SUM,
            Self::Times | Self::Divide => binding::PRODUCT,
            Self::Colon => binding::INTERACTION,
        }
    }
}
