//! A pass in which the thread that decodes rows also works on them, while they are in its cache, if there are parts enough.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::batches::BatchScan;
use super::error::SourceError;
use super::files::{FileSet, Plan};
use super::scan::{NumberedBatch, ScanOrder};
use super::work::{Decoded, WorkQueue};
use super::{Content, Source};
use crate::error::TableError;

/// Parts of files that are there for every thread, at least, if threads are to decode for themselves.
const PARTS_A_THREAD: usize = 4;

impl Source {
    /// Runs `work` on every batch of the rows with these columns, in any order, on so many threads, each with a state of
    /// its own that begins as `start` says; gives the states.
    ///
    /// # Numerics
    /// Memory is that of [`Source::scan`], and the states. Rayon's work within `work` stays on its thread.
    ///
    /// # Errors
    /// Those of [`Source::scan`] and of `work`; which of several is given depends on the threads.
    pub fn fold<State: Send, Error: From<TableError> + Send>(
        &self,
        columns: &[String],
        threads: usize,
        start: impl Fn() -> State + Sync,
        work: impl Fn(&mut State, &NumberedBatch) -> Result<(), Error> + Sync,
    ) -> Result<Vec<State>, Error> {
        match &self.content {
            Content::Files(set) if set.parts_min(PARTS_A_THREAD * threads) => {
                let plan = set.plan(columns, &self.label).map_err(TableError::from)?;
                let queue = Mutex::new(WorkQueue::new(std::sync::Arc::clone(set)));
                let stop = AtomicBool::new(false);
                let one = || {
                    let mut state = start();
                    let result = drain(set, &plan, &queue, &stop, &mut |batch| work(&mut state, batch));
                    stop.fetch_or(result.is_err(), Ordering::Relaxed);
                    result.map(|()| state)
                };
                self.on_threads(threads, one)
            }
            Content::Batches(batches) => {
                let scan = batches.scan(columns, &self.label).map_err(TableError::from)?;
                let next = AtomicUsize::new(0);
                let one = || {
                    let mut state = start();
                    let result = take(&scan, &next, &mut |batch| work(&mut state, batch));
                    if result.is_err() {
                        next.store(scan.len(), Ordering::Relaxed);
                    }
                    result.map(|()| state)
                };
                self.on_threads(threads, one)
            }
            // Few parts would leave threads without work: whoever is free takes the next batch.
            _ => {
                let scan = Mutex::new(self.scan(columns, ScanOrder::Any)?);
                let one = || {
                    let mut state = start();
                    loop {
                        let next = scan.lock().map_err(|_| self.stopped())?.next();
                        let Some(batch) = next else { return Ok(state) };
                        work(&mut state, &batch?)?;
                    }
                };
                self.on_threads(threads, one)
            }
        }
    }

    fn on_threads<State: Send, Error: From<TableError> + Send>(
        &self,
        threads: usize,
        one: impl Fn() -> Result<State, Error> + Sync,
    ) -> Result<Vec<State>, Error> {
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(|| alone(&one))).collect();
            let results = workers.into_iter().map(|worker| worker.join());
            results.map(|result| result.unwrap_or_else(|_| Err(self.stopped().into()))).collect()
        })
    }

    fn stopped(&self) -> TableError {
        SourceError::Stopped { path: self.label.clone(), what: "a thread that reads and computes".into() }.into()
    }
}

/// Runs it where work that could be shared out is not: all threads have work of their own.
fn alone<T>(work: impl FnOnce() -> T) -> T {
    let _pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
    work()
}

/// Takes work until there is none.
fn drain<Error: From<TableError>>(
    set: &FileSet,
    plan: &Plan,
    queue: &Mutex<WorkQueue>,
    stop: &AtomicBool,
    work: &mut dyn FnMut(&NumberedBatch) -> Result<(), Error>,
) -> Result<(), Error> {
    let stopped = || {
        let path = set.files.first().map(|file| file.name().to_owned()).unwrap_or_default();
        TableError::from(SourceError::Stopped { path, what: "another thread".into() })
    };
    while !stop.load(Ordering::Relaxed) {
        let next = queue.lock().map_err(|_| stopped())?.next_work(plan).map_err(TableError::from)?;
        let Some(next) = next else { return Ok(()) };
        let mut failed = None;
        let decoded = next.decode(set, plan, &mut |Decoded { first_row, batch, bytes }| {
            failed = work(&NumberedBatch { first_row, batch, bytes }).err();
            failed.is_none() && !stop.load(Ordering::Relaxed)
        });
        if let Some(error) = failed {
            return Err(error);
        }
        decoded.map_err(TableError::from)?;
    }
    Ok(())
}

/// Takes batches in memory until there are none.
fn take<Error: From<TableError>>(
    scan: &BatchScan,
    next: &AtomicUsize,
    work: &mut dyn FnMut(&NumberedBatch) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= scan.len() {
            return Ok(());
        }
        let Decoded { first_row, batch, bytes } = scan.batch(number).map_err(TableError::from)?;
        work(&NumberedBatch { first_row, batch, bytes })?;
    }
}
