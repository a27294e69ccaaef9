//! Who watches long work.

use hattention::attention_regression::Observer;

use super::failure::Failure;

/// Shows how far work is, hears what is worth saying, and may stop it.
pub trait Watch: Sync {
    /// Something that the user should know, and that is no error.
    fn note(&self, text: &str);

    /// Something asked for needs the rows a second time.
    fn second_pass(&self, why: &str) {
        self.note(why);
    }

    /// A long search begins; it ends when the observer is dropped. Nobody looks, if there is none.
    fn search(&self, _what: &'static str) -> Option<Observer> {
        None
    }

    /// A pass over so many bytes begins, if their number is known; it ends when the pass is dropped.
    fn pass<'a>(&'a self, what: &'static str, bytes: Option<u64>) -> Box<dyn Pass + 'a>;
}

/// A pass that is watched.
pub trait Pass: Sync {
    /// More bytes are done.
    ///
    /// # Errors
    /// [`Failure::interrupted`], if the work is to stop.
    fn add(&self, bytes: u64) -> Result<(), Failure>;
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn note(&self, _: &str) {}

    fn pass<'a>(&'a self, _: &'static str, _: Option<u64>) -> Box<dyn Pass + 'a> {
        Box::new(Self)
    }
}

impl Pass for Unwatched {
    fn add(&self, _: u64) -> Result<(), Failure> {
        Ok(())
    }
}
