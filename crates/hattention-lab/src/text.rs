//! Texts as sequences of characters.

use rand::RngExt;

use crate::error::Error;
use crate::seeds::Generator;

/// The share of a text, at its end, that is kept for validation.
const VALIDATION: f64 = 0.1;
/// Different characters at most.
const MOST: usize = 1000;

/// A text, its characters numbered, in two parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Corpus {
    vocabulary: Vec<char>,
    train: Vec<u32>,
    validation: Vec<u32>,
}

/// Windows of a text and the tokens that follow each of theirs. Shapes: `[windows · length]`, row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// The tokens.
    pub text: Vec<i32>,
    /// The next ones.
    pub next: Vec<i32>,
}

impl Corpus {
    /// Numbers the characters of a text, in the order of their code points; its last tenth is for validation.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a text whose last tenth has no window of `context` characters and one more, and for one of more than
    /// 1,000 different characters.
    ///
    /// # Example
    /// ```
    /// let text = "to be or not to be ".repeat(20);
    /// let corpus = hattention_lab::text::Corpus::new(&text, 16).unwrap();
    /// assert_eq!(corpus.vocabulary().iter().collect::<String>(), " benort");
    /// assert_eq!(corpus.train().len() + corpus.validation().len(), text.len());
    /// ```
    pub fn new(text: &str, context: usize) -> Result<Self, Error> {
        let mut vocabulary: Vec<char> = text.chars().collect();
        let count = vocabulary.len();
        vocabulary.sort_unstable();
        vocabulary.dedup();
        let refused = |got: String, allowed: &'static str| Err(Error::Parameter { name: "the text", got, allowed });
        if vocabulary.len() > MOST {
            return refused(format!("of {} different characters", vocabulary.len()), "at most 1,000 different ones");
        }
        let kept = (count as f64 * VALIDATION) as usize;
        if kept <= context {
            let got = format!("{count} characters, for a context of {context}");
            return refused(got, "ten times as many as the context and ten more: a tenth is for validation");
        }
        let place = |c: char| vocabulary.binary_search(&c).unwrap_or_default() as u32;
        let tokens: Vec<u32> = text.chars().map(place).collect();
        let (train, validation) = tokens.split_at(count - kept);
        Ok(Self { train: train.to_vec(), validation: validation.to_vec(), vocabulary })
    }

    /// The characters, in order.
    pub fn vocabulary(&self) -> &[char] {
        &self.vocabulary
    }

    /// Tokens to learn from.
    pub fn train(&self) -> &[u32] {
        &self.train
    }

    /// Tokens to validate by.
    pub fn validation(&self) -> &[u32] {
        &self.validation
    }

    /// Windows of the training part at random places.
    pub fn draw(&self, windows: usize, length: usize, generator: &mut Generator) -> Windows {
        let places = (0..windows).map(|_| generator.random_range(0..self.train.len() - length));
        Windows::at(&self.train, places, length)
    }

    /// At most so many windows of the validation part, side by side and evenly spread.
    pub fn held_out(&self, windows: usize, length: usize) -> Windows {
        let all = (self.validation.len() - 1) / length;
        let count = windows.min(all);
        Windows::at(&self.validation, (0..count).map(|k| k * all / count * length), length)
    }
}

impl Windows {
    fn at(tokens: &[u32], places: impl Iterator<Item = usize>, length: usize) -> Self {
        let mut windows = Self::default();
        for place in places {
            windows.text.extend(tokens[place..place + length].iter().map(|t| *t as i32));
            windows.next.extend(tokens[place + 1..place + length + 1].iter().map(|t| *t as i32));
        }
        windows
    }

    /// How many windows of a length there are.
    pub fn count(&self, length: usize) -> usize {
        self.text.len() / length
    }
}

/// A text to try things on: short stories, made up from a small grammar, in which a question at the end asks for what was said at the
/// beginning. About so many characters.
///
/// # Example
/// ```
/// use hattention_lab::{seeds::generator, text::stories};
/// let text = stories(500, &mut generator("example", "", "stories", 0));
/// assert!(text.len() >= 500 && text.contains("Where was the"));
/// ```
pub fn stories(characters: usize, generator: &mut Generator) -> String {
    const PEOPLE: [(&str, &str); 12] = [
        ("Ada", "She"),
        ("Carl", "He"),
        ("Emmy", "She"),
        ("Felix", "He"),
        ("Grace", "She"),
        ("Henri", "He"),
        ("Ida", "She"),
        ("Leo", "He"),
        ("Mary", "She"),
        ("Nils", "He"),
        ("Olga", "She"),
        ("Pierre", "He"),
    ];
    const COLOURS: [&str; 8] = ["red", "blue", "green", "old", "small", "heavy", "broken", "golden"];
    const THINGS: [&str; 10] = ["ball", "lamp", "key", "book", "map", "coin", "shell", "ring", "letter", "flute"];
    const PLACES: [&str; 10] = [
        "in the box",
        "under the bed",
        "by the river",
        "on the shelf",
        "behind the door",
        "in the garden",
        "at the market",
        "in a drawer",
        "on the roof",
        "near the well",
    ];
    const DOINGS: [&str; 8] = [
        "walked to the sea",
        "slept until noon",
        "counted the birds",
        "wrote a long letter",
        "sang with the others",
        "looked at the stars",
        "baked some bread",
        "waited for the rain",
    ];
    let mut pick = |count: usize| generator.random_range(0..count);
    let mut text = String::new();
    while text.len() < characters {
        let (person, pronoun) = PEOPLE[pick(PEOPLE.len())];
        let (colour, thing, place) = (COLOURS[pick(8)], THINGS[pick(10)], PLACES[pick(10)]);
        let opening = ["Once", "One day", "Long ago", "In spring"][pick(4)];
        text += &format!("{opening} {person} had a {colour} {thing}. {pronoun} kept it {place}. ");
        for _ in 0..=pick(3) {
            text += &format!("{pronoun} {}. ", DOINGS[pick(8)]);
        }
        text += &match pick(3) {
            0 => format!("Where was the {thing}? It was {place}.\n"),
            1 => format!("Whose was the {thing}? It was the {colour} {thing} of {person}.\n"),
            _ => format!("Where was the {colour} {thing} of {person}? It was {place}.\n"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::generator;

    #[test]
    fn windows_are_of_their_parts() {
        let text = stories(20_000, &mut generator("test", "text", "stories", 0));
        let corpus = Corpus::new(&text, 32).unwrap();
        let drawn = corpus.draw(3, 32, &mut generator("test", "text", "batch", 0));
        assert_eq!((drawn.count(32), drawn.text[1..32].to_vec()), (3, drawn.next[..31].to_vec()));
        let held = corpus.held_out(1000, 32);
        assert_eq!(held.count(32), (corpus.validation().len() - 1) / 32);
        let first: Vec<u32> = held.text[..32].iter().map(|t| *t as u32).collect();
        assert_eq!(first, corpus.validation()[..32]);
        assert_eq!(corpus.held_out(7, 32).count(32), 7);
        assert!(Corpus::new("too short", 32).is_err());
        let many: String = (0..2000).filter_map(|k| char::from_u32(0x4e00 + k)).collect();
        assert!(Corpus::new(&many.repeat(3), 32).unwrap_err().to_string().contains("2000 different"));
    }
}
