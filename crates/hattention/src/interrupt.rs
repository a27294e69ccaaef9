//! Long computations that can be stopped from another thread.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    /// What stops the computation that this thread began.
    static CURRENT: RefCell<Stop> = const { RefCell::new(Stop(None)) };
}

/// The computation was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

/// Runs a computation that ends early once `stop` is true.
///
/// Factorisations, sums over rows in memory and refinements look at it every few milliseconds to tenths of a second. What
/// they had done by then is dropped; whatever was given to them is as it was.
///
/// # Errors
/// [`Interrupted`] if it was stopped.
///
/// # Example
/// ```
/// use std::sync::{Arc, atomic::AtomicBool};
/// use hattention::interrupt::{Interrupted, stoppable};
/// use hattention::{Block, Column, Moments};
/// let x = [1.0, 2.0, 4.0];
/// let state = || Moments::of(&Block { rows: 3, columns: vec![Column::Dense(&x)], weights: None });
/// let stop = Arc::new(AtomicBool::new(false));
/// assert_eq!(stoppable(&stop, state).unwrap().unwrap().rows(), 3);
/// ```
pub fn stoppable<T>(stop: &Arc<AtomicBool>, work: impl FnOnce() -> T) -> Result<T, Interrupted> {
    let before = CURRENT.replace(Stop(Some(Arc::clone(stop))));
    // (What the work has borrowed it cannot have changed by halves: it is given by reference, or dropped.)
    let result = catch_unwind(AssertUnwindSafe(work));
    CURRENT.set(before);
    result.map_err(|panic: Box<dyn Any + Send>| match panic.downcast::<Interrupted>() {
        Ok(interrupted) => *interrupted,
        Err(other) => resume_unwind(other),
    })
}

/// What may stop a computation, for the threads that it works on.
#[derive(Clone)]
pub(crate) struct Stop(Option<Arc<AtomicBool>>);

impl Stop {
    /// That of the computation this thread is in.
    pub(crate) fn current() -> Self {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Ends the computation if it is to stop: unwinds to [`stoppable`], which is the only place that sets one.
    #[inline]
    pub(crate) fn check(&self) {
        if self.0.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            resume_unwind(Box::new(Interrupted));
        }
    }
}

/// Work on many things, by threads that look first whether the computation this thread is in is to stop.
pub(crate) fn checked<T, R>(work: impl Fn(T) -> R + Sync + Send) -> impl Fn(T) -> R + Sync + Send {
    let stop = Stop::current();
    move |thing| {
        stop.check();
        work(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    #[test]
    fn work_on_all_threads_is_stopped() {
        let stop = Arc::new(AtomicBool::new(false));
        assert_eq!(stoppable(&stop, || 3), Ok(3));
        let done = stoppable(&stop, || {
            let current = Stop::current();
            (0..10_000).into_par_iter().for_each(|at| {
                if at == 5000 {
                    stop.store(true, Ordering::Relaxed);
                }
                current.check();
            });
        });
        assert_eq!(done, Err(Interrupted));
        // Outside nothing stops, and within another computation its own flag counts.
        Stop::current().check();
        let other = Arc::new(AtomicBool::new(false));
        assert_eq!(stoppable(&stop, || stoppable(&other, || Stop::current().check())), Ok(Ok(())));
        assert!(stoppable(&stop, || Stop::current().check()).is_err());
    }
}
