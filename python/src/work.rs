//! Work beside Python: on threads of its own, without the interpreter's lock, stopped by Ctrl-C.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hattention::interrupt::stoppable;
use hattention_table::regression::{Failure, Pass, Watch};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::failure::exception;

/// How often a computation looks for signals.
const LOOK: Duration = Duration::from_millis(50);

/// Threads that can be asked for.
const MOST_THREADS: i64 = 1024;

/// The threads that compute, of the process that made them: a forked child has none of its parent's.
struct Threads {
    wanted: Option<usize>,
    pool: Option<(u32, Arc<ThreadPool>)>,
}

static THREADS: Mutex<Threads> = Mutex::new(Threads { wanted: None, pool: None });

/// Sets the number of threads that compute; `None` is one for each processor.
#[pyfunction]
#[pyo3(signature = (threads=None))]
pub fn set_threads(threads: Option<i64>) -> PyResult<()> {
    if let Some(count) = threads.filter(|count| !(1..=MOST_THREADS).contains(count)) {
        let message = format!("threads is {count}, expected 1 to {MOST_THREADS}, or None for all cores");
        return Err(PyValueError::new_err(message));
    }
    let mut current = THREADS.lock().map_err(|_| lost())?;
    *current = Threads { wanted: threads.map(|count| count as usize), pool: None };
    Ok(())
}

/// The number of threads that compute.
#[pyfunction]
pub fn get_threads() -> PyResult<usize> {
    Ok(pool()?.current_num_threads())
}

fn pool() -> PyResult<Arc<ThreadPool>> {
    let mut threads = THREADS.lock().map_err(|_| lost())?;
    let process = std::process::id();
    if let Some((owner, pool)) = &threads.pool {
        if *owner == process {
            return Ok(Arc::clone(pool));
        }
        // The parent's threads are not here, and waiting for their end would take for ever.
        std::mem::forget(threads.pool.take());
    }
    let count = threads.wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |count| count.get()));
    let built = ThreadPoolBuilder::new().num_threads(count).thread_name(|_| "hattention".into()).build();
    let pool = Arc::new(built.map_err(|e| PyRuntimeError::new_err(format!("cannot start {count} threads: {e}")))?);
    threads.pool = Some((process, Arc::clone(&pool)));
    Ok(pool)
}

fn lost() -> PyErr {
    PyRuntimeError::new_err("a thread of hattention failed; this is a defect: please report it")
}

/// Hears notes, and tells work to stop.
#[derive(Default)]
pub struct Listener {
    stop: Arc<AtomicBool>,
    notes: Mutex<Vec<String>>,
}

impl Listener {
    /// Whether the work is to stop.
    ///
    /// # Errors
    /// If it is.
    pub fn go_on(&self) -> Result<(), Failure> {
        if self.stop.load(Ordering::Relaxed) { Err(Failure::interrupted()) } else { Ok(()) }
    }
}

impl Watch for Listener {
    fn note(&self, text: &str) {
        if let Ok(mut notes) = self.notes.lock() {
            notes.push(crate::failure::in_python(text));
        }
    }

    fn second_pass(&self, _: &str) {}

    fn pass<'a>(&'a self, _: &'static str, _: Option<u64>) -> Box<dyn Pass + 'a> {
        Box::new(Listening(self))
    }
}

struct Listening<'a>(&'a Listener);

impl Pass for Listening<'_> {
    fn add(&self, _: u64) -> Result<(), Failure> {
        self.0.go_on()
    }
}

/// Runs work on the threads that compute, while Python goes on; gives its result, or the exception of its failure. Notes
/// become warnings.
pub fn run<T: Send>(py: Python<'_>, work: impl FnOnce(&Listener) -> Result<T, Failure> + Send) -> PyResult<T> {
    let (pool, listener) = (pool()?, Listener::default());
    let result = py.detach(|| {
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(1);
            let (pool, listener) = (&pool, &listener);
            scope.spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(|| pool.install(|| heard(listener, work))));
                // (The other side waits until it has heard.)
                drop(sender.send(result));
            });
            let mut signal = None;
            loop {
                match receiver.recv_timeout(LOOK) {
                    Ok(result) => return (Some(result), signal),
                    Err(RecvTimeoutError::Timeout) => {
                        if signal.is_none()
                            && let Err(error) = Python::attach(|py| py.check_signals())
                        {
                            signal = Some(error);
                            listener.stop.store(true, Ordering::Relaxed);
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => return (None, signal),
                }
            }
        })
    });
    let (result, signal) = result;
    if let Some(signal) = signal {
        return Err(signal);
    }
    let result = result.and_then(Result::ok).ok_or_else(lost)?;
    warn(py, &listener)?;
    result.map_err(|failure| exception(py, &failure))
}

/// Work that looks, within its steps as between them, whether it is to stop.
fn heard<T>(listener: &Listener, work: impl FnOnce(&Listener) -> Result<T, Failure>) -> Result<T, Failure> {
    stoppable(&listener.stop, || work(listener)).unwrap_or_else(|_| Err(Failure::interrupted()))
}

/// [`run`] of work that takes less than a signal would be worth: a thread that listens would take longer.
pub fn run_briefly<T: Send>(py: Python<'_>, work: impl FnOnce(&Listener) -> Result<T, Failure> + Send) -> PyResult<T> {
    let (pool, listener) = (pool()?, Listener::default());
    let result = py.detach(|| catch_unwind(AssertUnwindSafe(|| pool.install(|| work(&listener)))));
    let result = result.map_err(|_| lost())?;
    warn(py, &listener)?;
    result.map_err(|failure| exception(py, &failure))
}

/// Notes as warnings of the package.
fn warn(py: Python<'_>, listener: &Listener) -> PyResult<()> {
    let notes = listener.notes.lock().map(|notes| notes.clone()).unwrap_or_default();
    if notes.is_empty() {
        return Ok(());
    }
    let errors = py.import("hattention.errors")?;
    notes.iter().try_for_each(|note| errors.call_method1("_warn", (note,)).map(drop))
}
