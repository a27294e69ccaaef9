//! The text of a formula to tokens.

use winnow::ascii::{digit0, digit1};
use winnow::combinator::{alt, delimited, eof, not, opt, preceded, repeat};
use winnow::error::EmptyError;
use winnow::prelude::*;
use winnow::token::{any, none_of, one_of, take_while};

use crate::error::TableError;

/// One word of a formula.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// A number.
    Number(f64),
    /// A quoted text.
    Text(String),
    /// A name, with or without backticks.
    Name(String),
    /// A lone `.`: every other column.
    Dot,
    /// An operator or a bracket; `**` arrives as `^`.
    Symbol(char),
    /// The end of the formula.
    End,
}

/// A word and where it starts, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub word: Word,
    pub start: usize,
}

impl Word {
    /// How a message names the word.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Number(number) => format!("the number {number}"),
            Self::Text(text) => format!("the text \"{text}\""),
            Self::Name(name) => format!("`{name}`"),
            Self::Dot => "`.`".into(),
            Self::Symbol(symbol) => format!("`{symbol}`"),
            Self::End => "the end of the formula".into(),
        }
    }
}

/// Splits a formula into tokens; the last one is [`Word::End`].
///
/// # Errors
/// - [`TableError::Formula`] at the first character that no token starts with, or at a quote without its end.
pub(super) fn tokens(formula: &str) -> Result<Vec<Token>, TableError> {
    let mut rest = formula;
    let mut tokens = Vec::new();
    loop {
        rest = rest.trim_start();
        let start = formula.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            tokens.push(Token { word: Word::End, start });
            return Ok(tokens);
        };
        let word = word.parse_next(&mut rest).map_err(|_| {
            let (expected, got) = match first {
                '"' | '\'' => (format!("a closing {first}"), "a text without its end".into()),
                '`' => ("a closing backtick".into(), "a name without its end".into()),
                '<' | '>' | '=' | '!' | '&' => (
                    "a name, a number or one of + - * / ^ : ( )".into(),
                    format!("`{first}` (comparisons are not part of a formula)"),
                ),
                _ => ("a name, a number or one of + - * / ^ : ( )".to_owned(), format!("`{first}`")),
            };
            TableError::Formula { formula: formula.to_owned(), offset: start, expected, got }
        })?;
        tokens.push(Token { word, start });
    }
}

type Lexed<T> = winnow::Result<T, EmptyError>;

fn word(input: &mut &str) -> Lexed<Word> {
    alt((number, name, text('"'), text('\''), backticked, symbol)).parse_next(input)
}

fn number(input: &mut &str) -> Lexed<Word> {
    let mantissa = alt(((digit1, opt(('.', digit0))).take(), ('.', digit1).take()));
    let exponent = (one_of(['e', 'E']), opt(one_of(['+', '-'])), digit1);
    let value = (mantissa, opt(exponent)).take().parse_to().parse_next(input)?;
    // R's suffix for integers.
    opt('L').parse_next(input)?;
    not(name_character).parse_next(input)?;
    Ok(Word::Number(value))
}

fn name_character(input: &mut &str) -> Lexed<char> {
    any.verify(|c: &char| c.is_alphanumeric() || matches!(c, '_' | '.')).parse_next(input)
}

fn name(input: &mut &str) -> Lexed<Word> {
    let first = any.verify(|c: &char| c.is_alphabetic() || matches!(c, '_' | '.'));
    let rest = take_while(0.., |c: char| c.is_alphanumeric() || matches!(c, '_' | '.'));
    let text = (first, rest).take().parse_next(input)?;
    Ok(if text == "." { Word::Dot } else { Word::Name(text.to_owned()) })
}

/// A run of characters up to `quote`, where a backslash takes the next character as it is.
fn quoted(quote: char) -> impl FnMut(&mut &str) -> Lexed<String> {
    move |input| {
        let character = alt((preceded('\\', any), none_of(['\\', quote])));
        delimited(quote, repeat(0.., character), quote).parse_next(input)
    }
}

fn text(quote: char) -> impl FnMut(&mut &str) -> Lexed<Word> {
    move |input| quoted(quote).map(Word::Text).parse_next(input)
}

fn backticked(input: &mut &str) -> Lexed<Word> {
    quoted('`').verify(|name: &String| !name.is_empty()).map(Word::Name).parse_next(input)
}

fn symbol(input: &mut &str) -> Lexed<Word> {
    let power = "**".value('^');
    let equals = ('=', alt((not('=').void(), eof.void()))).value('=');
    alt((power, equals, one_of(['+', '-', '*', '/', '^', ':', '~', '(', ')', ',', '|'])))
        .map(Word::Symbol)
        .parse_next(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(formula: &str) -> Vec<Word> {
        tokens(formula).unwrap().into_iter().map(|token| token.word).collect()
    }

    #[test]
    fn words_of_every_kind() {
        let name = |text: &str| Word::Name(text.into());
        assert_eq!(words("y~."), [name("y"), Word::Symbol('~'), Word::Dot, Word::End]);
        assert_eq!(words("a.b _c .d größe"), [name("a.b"), name("_c"), name(".d"), name("größe"), Word::End]);
        assert_eq!(words("`a \\` b`"), [name("a ` b"), Word::End]);
        assert_eq!(words("'it' \"is\\\"\""), [Word::Text("it".into()), Word::Text("is\"".into()), Word::End]);
        let numbers = [1.0, 1.5, 0.5, 1e-3, 2.0, 3.0].map(Word::Number);
        assert_eq!(words("1 1.5 .5 1e-3 2. 3L")[..6], numbers);
        assert_eq!(words("a**2"), [name("a"), Word::Symbol('^'), Word::Number(2.0), Word::End]);
    }

    #[test]
    fn offsets_count_bytes() {
        let starts: Vec<usize> = tokens("ä ~ b").unwrap().iter().map(|token| token.start).collect();
        assert_eq!(starts, [0, 3, 5, 6]);
    }

    #[test]
    fn the_offending_character_is_named() {
        for (formula, at) in
            [("y ~ a $ b", 6), ("y ~ 'a", 4), ("y ~ `a", 4), ("y ~ I(a == 1)", 8), ("y ~ ``", 4), ("y ~ 3x", 4)]
        {
            match tokens(formula) {
                Err(TableError::Formula { offset, .. }) => assert_eq!(offset, at, "{formula}"),
                other => panic!("{formula}: {other:?}"),
            }
        }
    }
}
