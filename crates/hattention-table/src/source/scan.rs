//! One pass over a source: threads decode, the consumer pulls batches.
//!
//! Work is handed out in order under a lock; decoding happens outside it. In [`ScanOrder::File`] every piece of work
//! has a channel of its own and the consumer reads the channels in order; in [`ScanOrder::Any`] there is one channel.
//! All channels are bounded, so memory is bounded whatever the speeds of the two sides.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::batches::BatchScan;
use super::error::SourceError;
use super::files::{FileSet, Plan};
use super::spool::Spool;
use super::work::{Decoded, WorkQueue};
use crate::error::TableError;

/// In which order a scan gives the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanOrder {
    /// As they come; fastest.
    Any,
    /// In the order of the files and of the rows in them.
    File,
}

/// Some rows of a source.
#[derive(Clone, Debug)]
pub struct NumberedBatch {
    /// The number of the batch's first row within the source, counted from 0. Always known in [`ScanOrder::File`];
    /// in [`ScanOrder::Any`] known for Parquet and for tables in memory only.
    pub first_row: Option<u64>,
    /// The columns that were asked for, in the order asked for.
    pub batch: RecordBatch,
    /// Bytes of the source that the batch stands for. Over a whole scan they add up to about
    /// [`Source::bytes_total`](super::Source::bytes_total).
    pub bytes: u64,
}

/// Batches of one work item that wait for the consumer in [`ScanOrder::File`].
const WAITING_PER_WORK: usize = 8;

type Item = Result<Decoded, SourceError>;

/// What the threads of a scan share.
struct Shared {
    set: Arc<FileSet>,
    plan: Plan,
    queue: Mutex<Queue>,
    stop: AtomicBool,
}

struct Queue {
    work: WorkQueue,
    /// Number of the next piece of work.
    next: u64,
}

/// A running pass over a source. Dropping it stops the threads.
///
/// It is an iterator, and `Send`: several threads can share it behind a mutex.
pub struct Scan {
    schema: SchemaRef,
    state: State,
    next_row: u64,
    order: ScanOrder,
    failed: bool,
    /// Standard input's copy stays until the last scan is over.
    _spool: Option<Arc<Spool>>,
}

enum State {
    /// Items with the number of their work.
    Any { items: Option<Receiver<(u64, Item)>>, threads: Threads },
    /// The channel being read, and those that come after it.
    File { lane: Option<Receiver<Item>>, lanes: Option<Receiver<Receiver<Item>>>, threads: Threads },
    /// Batches of a query.
    #[cfg_attr(not(feature = "sql"), allow(dead_code))]
    Query(super::sql::QueryScan),
    /// Batches in memory.
    Batches(BatchScan),
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("order", &self.order).field("next_row", &self.next_row).finish_non_exhaustive()
    }
}

impl Scan {
    /// Starts a pass over files.
    pub(crate) fn files(set: Arc<FileSet>, plan: Plan, order: ScanOrder) -> Result<Self, SourceError> {
        let schema = Arc::clone(&plan.schema);
        let count = set.reading.threads.max(1);
        let path = set.files.first().map(|file| file.name().to_owned()).unwrap_or_default();
        let work = WorkQueue::new(Arc::clone(&set));
        let queue = Mutex::new(Queue { work, next: 0 });
        let shared = Shared { set, plan, queue, stop: AtomicBool::new(false) };
        let state = match order {
            ScanOrder::Any => {
                let (sender, items) = sync_channel(2 * count);
                let threads = Threads::spawn(shared, path, count, move |shared| run_any(shared, &sender))?;
                State::Any { items: Some(items), threads }
            }
            ScanOrder::File => {
                let (sender, lanes) = sync_channel(2 * count);
                let threads = Threads::spawn(shared, path, count, move |shared| run_file(shared, &sender))?;
                State::File { lane: None, lanes: Some(lanes), threads }
            }
        };
        Ok(Self { schema, state, next_row: 0, order, failed: false, _spool: None })
    }

    /// Gives the batches of a query.
    #[cfg_attr(not(feature = "sql"), allow(dead_code))]
    pub(crate) fn query(query: super::sql::QueryScan, schema: SchemaRef, order: ScanOrder) -> Self {
        Self { schema, state: State::Query(query), next_row: 0, order, failed: false, _spool: None }
    }

    /// Gives batches that are in memory.
    pub(crate) fn batches(batches: BatchScan, order: ScanOrder) -> Self {
        let schema = Arc::clone(&batches.schema);
        Self { schema, state: State::Batches(batches), next_row: 0, order, failed: false, _spool: None }
    }

    /// Keeps a temporary file as long as the scan.
    pub(crate) fn keeping(mut self, spool: Option<Arc<Spool>>) -> Self {
        self._spool = spool;
        self
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn next_item(&mut self) -> Option<Result<NumberedBatch, SourceError>> {
        if self.failed {
            return None;
        }
        let item = match &mut self.state {
            State::Any { items, threads } => next_any(items, threads),
            State::File { lane, lanes, threads } => next_in_order(lane, lanes, threads),
            State::Query(query) => {
                query.next().map(|batch| batch.map(|batch| Decoded { first_row: None, batch, bytes: 0 }))
            }
            State::Batches(batches) => batches.next(),
        };
        self.failed = matches!(item, Some(Err(_)));
        Some(item?.map(|decoded| self.number(decoded)))
    }

    fn number(&mut self, decoded: Decoded) -> NumberedBatch {
        let Decoded { first_row, batch, bytes } = decoded;
        let counted = (self.order == ScanOrder::File).then_some(self.next_row);
        self.next_row += batch.num_rows() as u64;
        NumberedBatch { first_row: counted.or(first_row), batch, bytes }
    }
}

impl Iterator for Scan {
    type Item = Result<NumberedBatch, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_item()?.map_err(TableError::from))
    }
}

/// The next batch in any order. After an error, the error of the earliest work counts, so that it is always the same.
fn next_any(items: &mut Option<Receiver<(u64, Item)>>, threads: &mut Threads) -> Option<Item> {
    let received = items.as_ref()?.recv();
    match received {
        Ok((_, Ok(decoded))) => return Some(Ok(decoded)),
        Ok((number, Err(error))) => {
            threads.stop();
            let mut first = (number, error);
            while let Some(Ok((number, item))) = items.as_ref().map(Receiver::recv) {
                if let Err(error) = item
                    && number < first.0
                {
                    first = (number, error);
                }
            }
            *items = None;
            return Some(Err(first.1));
        }
        Err(_) => *items = None,
    }
    threads.join().err().map(Err)
}

/// The next batch in file order.
fn next_in_order(
    lane: &mut Option<Receiver<Item>>,
    lanes: &mut Option<Receiver<Receiver<Item>>>,
    threads: &mut Threads,
) -> Option<Item> {
    loop {
        if let Some(Ok(item)) = lane.as_ref().map(Receiver::recv) {
            return Some(item);
        }
        match lanes.as_ref()?.recv() {
            Ok(next) => *lane = Some(next),
            Err(_) => {
                *lane = None;
                *lanes = None;
                return threads.join().err().map(Err);
            }
        }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        // Without receivers, threads that wait to send come back.
        match &mut self.state {
            State::Any { items, threads } => {
                threads.stop();
                *items = None;
                drop(threads.join());
            }
            State::File { lane, lanes, threads } => {
                threads.stop();
                *lane = None;
                *lanes = None;
                drop(threads.join());
            }
            State::Query(_) | State::Batches(_) => {}
        }
    }
}

/// The threads of a scan.
struct Threads {
    shared: Arc<Shared>,
    path: String,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    fn spawn(
        shared: Shared,
        path: String,
        count: usize,
        run: impl Fn(&Shared) + Clone + Send + 'static,
    ) -> Result<Self, SourceError> {
        let mut threads = Self { shared: Arc::new(shared), path, handles: Vec::with_capacity(count) };
        for _ in 0..count {
            let (shared, run) = (Arc::clone(&threads.shared), run.clone());
            let spawned = std::thread::Builder::new().name("hattention-scan".into()).spawn(move || run(&shared));
            match spawned {
                Ok(handle) => threads.handles.push(handle),
                // One thread is enough to go on.
                Err(_) if !threads.handles.is_empty() => break,
                Err(error) => return Err(super::parquet::io_error(&threads.path, &error)),
            }
        }
        Ok(threads)
    }

    fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for the threads; a thread that panicked has lost rows.
    fn join(&mut self) -> Result<(), SourceError> {
        let mut result = Ok(());
        for handle in self.handles.drain(..) {
            if handle.join().is_err() {
                result = Err(SourceError::Stopped { path: self.path.clone(), what: "a reading thread".into() });
            }
        }
        result
    }
}

/// A thread in any order.
fn run_any(shared: &Shared, sender: &SyncSender<(u64, Item)>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let (number, work) = {
            let Ok(mut queue) = shared.queue.lock() else {
                return;
            };
            queue.next += 1;
            (queue.next, queue.work.next_work(&shared.plan))
        };
        let result = match work {
            Ok(None) => return,
            Ok(Some(work)) => {
                let mut emit = |decoded| sender.send((number, Ok(decoded))).is_ok();
                work.decode(&shared.set, &shared.plan, &mut emit)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            // Work behind this is not begun; work ahead of it is finished, and may have an earlier error.
            shared.stop();
            drop(sender.send((number, Err(error))));
            return;
        }
    }
}

/// A thread in file order. The channel of a piece of work is handed over under the lock, so that channels have its order.
fn run_file(shared: &Shared, lanes: &SyncSender<Receiver<Item>>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let (sender, receiver) = sync_channel(WAITING_PER_WORK);
        let work = {
            let Ok(mut queue) = shared.queue.lock() else {
                return;
            };
            let work = queue.work.next_work(&shared.plan);
            if matches!(work, Ok(None)) || lanes.send(receiver).is_err() {
                return;
            }
            work
        };
        let result = match work {
            Ok(None) => return,
            Ok(Some(work)) => {
                let mut emit = |decoded| sender.send(Ok(decoded)).is_ok();
                work.decode(&shared.set, &shared.plan, &mut emit)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            shared.stop();
            drop(sender.send(Err(error)));
            return;
        }
    }
}

impl Shared {
    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
