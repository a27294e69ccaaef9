//! Searches that are watched.

use std::cell::RefCell;
use std::sync::Arc;

/// A step of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Searches that were begun, this one included: every fit, fold and penalty has one.
    pub searches: usize,
    /// Steps of this search.
    pub step: usize,
    /// The loss.
    pub loss: f64,
}

/// Who is told of steps.
pub type Observer = Arc<dyn Fn(Step) + Send + Sync>;

thread_local! {
    static WATCHING: RefCell<Option<(Observer, usize)>> = const { RefCell::new(None) };
}

/// Runs fits, choices of penalties and intervals by folds, and tells of every step of their searches.
///
/// # Example
/// ```
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
/// use hattention::attention_regression::{AttentionRegression, Options, watched};
/// let x: Vec<f64> = (0..60).map(|i| i as f64 / 60.0).collect();
/// let y: Vec<f64> = x.iter().map(|x| (9.0 * x).sin()).collect();
/// let steps = Arc::new(AtomicUsize::new(0));
/// let count = steps.clone();
/// let observer = Arc::new(move |_| { count.fetch_add(1, Ordering::Relaxed); });
/// let model = watched(observer, || AttentionRegression::fit(&[&x], &y, Options::default()).unwrap());
/// assert_eq!(steps.load(Ordering::Relaxed), model.report.steps);
/// ```
pub fn watched<T>(observer: Observer, work: impl FnOnce() -> T) -> T {
    // (Whatever work ends with, nobody watches after it.)
    struct Before(Option<(Observer, usize)>);
    impl Drop for Before {
        fn drop(&mut self) {
            WATCHING.set(self.0.take());
        }
    }
    let _before = Before(WATCHING.replace(Some((observer, 0))));
    work()
}

/// A search begins.
pub(super) fn begin() {
    WATCHING.with_borrow_mut(|watching| watching.iter_mut().for_each(|(_, searches)| *searches += 1));
}

/// It took a step.
pub(super) fn tell(step: usize, loss: f64) {
    // (The observer may itself fit: it is not called while the place is borrowed.)
    let watching = WATCHING.with_borrow(Clone::clone);
    if let Some((observer, searches)) = watching {
        observer(Step { searches, step, loss });
    }
}
