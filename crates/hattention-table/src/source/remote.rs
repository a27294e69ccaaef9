//! Objects in stores: fetched in pieces ahead of their use, by a few threads of their own.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::{Builder, Runtime};

use super::error::SourceError;
use super::store_error::explain;

/// Bytes that are asked for at once.
const PIECE_BYTES: u64 = 4 << 20;
/// Pieces on their way for one reader.
const PIECES_AHEAD: usize = 4;
/// Bytes on their way for one reader.
pub(crate) const BYTES_AHEAD: u64 = PIECES_AHEAD as u64 * PIECE_BYTES;
/// Ranges that lie as close as this are fetched together.
const GAP_BYTES: u64 = 64 << 10;
/// How often a piece whose connection broke is asked for, beside the retries of the client.
const ATTEMPTS: u32 = 4;
/// The wait before it is asked for again, doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// An object as it was when it was found.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) path: Path,
    pub(crate) url: String,
    pub(crate) size: u64,
    pub(crate) tag: Option<String>,
}

/// The threads that wait for stores, or why there are none.
fn runtime() -> Result<&'static Runtime, SourceError> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let start = || {
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(2).thread_name("hattention-fetch").enable_all();
        runtime.build().map_err(|error| error.to_string())
    };
    RUNTIME
        .get_or_init(start)
        .as_ref()
        .map_err(|message| SourceError::Io { path: "the threads for object stores".into(), message: message.clone() })
}

/// What a task gives, once.
pub(crate) type Promise<T> = Receiver<Result<T, SourceError>>;

/// Starts a task.
pub(crate) fn start<T: Send + 'static>(
    task: impl Future<Output = Result<T, SourceError>> + Send + 'static,
) -> Result<Promise<T>, SourceError> {
    let (sender, promise) = sync_channel(1);
    runtime()?.spawn(async move { drop(sender.send(task.await)) });
    Ok(promise)
}

/// Waits for what a task gives.
pub(crate) fn wait<T>(promise: &Promise<T>, url: &str) -> Result<T, SourceError> {
    let lost = || SourceError::Stopped { path: url.into(), what: "a thread that fetches".into() };
    promise.recv().unwrap_or_else(|_| Err(lost()))
}

impl Object {
    /// A range of the object, which must still be the one that was found.
    async fn fetch(self: Arc<Self>, range: Range<u64>) -> Result<Bytes, SourceError> {
        let mut wait = FIRST_WAIT;
        for _ in 1..ATTEMPTS {
            match self.try_fetch(range.clone()).await {
                Err(SourceError::Remote { again: true, .. }) => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                result => return result,
            }
        }
        self.try_fetch(range).await
    }

    async fn try_fetch(&self, range: Range<u64>) -> Result<Bytes, SourceError> {
        // A weak tag (`W/…`) matches nothing.
        let known = self.tag.as_deref().map(quoted);
        let if_match = known.clone().filter(|tag| !tag.starts_with("W/"));
        let expected = range.end - range.start;
        let options = GetOptions { range: Some(GetRange::Bounded(range)), if_match, ..GetOptions::default() };
        let failed = |error| explain(&self.url, error);
        let result = self.store.get_opts(&self.path, options).await.map_err(failed)?;
        let (now, tag) = (result.meta.size, result.meta.e_tag.as_deref().map(quoted));
        if now != self.size || (tag.is_some() && known.is_some() && tag != known) {
            return Err(SourceError::Changed { path: self.url.clone(), before: self.size, now });
        }
        let bytes = result.bytes().await.map_err(failed)?;
        if bytes.len() as u64 == expected {
            return Ok(bytes);
        }
        let message = format!("expected {expected} bytes, got {}", bytes.len());
        Err(SourceError::Remote { url: self.url.clone(), message, hint: None, again: true })
    }

    /// A range, now.
    pub(crate) fn range(self: &Arc<Self>, range: Range<u64>) -> Result<Bytes, SourceError> {
        wait(&start(Arc::clone(self).fetch(range))?, &self.url)
    }

    /// Starts to fetch ranges; those that lie close to each other come as one.
    pub(crate) fn start(self: &Arc<Self>, ranges: Vec<Range<u64>>) -> Result<Promise<Vec<Piece>>, SourceError> {
        let object = Arc::clone(self);
        start(async move {
            let joined = joined(ranges);
            let cut = joined.iter().flat_map(|range| pieces(range.clone())).collect::<Vec<_>>();
            let fetched = futures::stream::iter(cut).map(|range| Arc::clone(&object).fetch(range));
            let mut fetched = fetched.buffered(PIECES_AHEAD).try_collect::<VecDeque<Bytes>>().await?;
            let whole = |range: &Range<u64>| {
                let parts: Vec<Bytes> = pieces(range.clone()).filter_map(|_| fetched.pop_front()).collect();
                let content = if let [only] = &parts[..] { only.clone() } else { Bytes::from(parts.concat()) };
                Piece { start: range.start, content }
            };
            Ok(joined.iter().map(whole).collect())
        })
    }
}

/// A tag as headers have it: Azure's lists leave out the quotes.
fn quoted(tag: &str) -> String {
    if tag.ends_with('"') { tag.to_owned() } else { format!("\"{tag}\"") }
}

/// Ranges in order, those that lie close to each other as one.
fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end + GAP_BYTES => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    (range.start..end).step_by(PIECE_BYTES as usize).map(move |start| start..end.min(start + PIECE_BYTES))
}

/// A part of an object.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    start: u64,
    pub(crate) content: Bytes,
}

/// An object of which parts have been fetched, for the reader of Parquet.
pub(crate) struct RemoteChunks {
    pub(crate) object: Arc<Object>,
    pub(crate) pieces: Vec<Piece>,
}

impl RemoteChunks {
    /// The object's end, where a Parquet file says what it holds.
    pub(crate) fn with_tail(object: Arc<Object>, bytes: u64) -> Result<Self, SourceError> {
        let start = object.size.saturating_sub(bytes);
        let content = object.range(start..object.size)?;
        Ok(Self { object, pieces: vec![Piece { start, content }] })
    }

    /// From an offset to the end of what was fetched there.
    fn known(&self, start: u64) -> Option<Bytes> {
        let piece = self
            .pieces
            .iter()
            .find(|piece| (piece.start..piece.start + piece.content.len() as u64).contains(&start))?;
        Some(piece.content.slice((start - piece.start) as usize..))
    }

    fn fetch(&self, start: u64, length: u64) -> ParquetResult<Bytes> {
        let end = self.object.size.min(start.saturating_add(length));
        if start >= end {
            return Err(ParquetError::EOF(format!("expected bytes at {start}, and there are {}", self.object.size)));
        }
        self.object.range(start..end).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

impl Length for RemoteChunks {
    fn len(&self) -> u64 {
        self.object.size
    }
}

impl ChunkReader for RemoteChunks {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let content = self.known(start).map_or_else(|| self.fetch(start, PIECE_BYTES), Ok)?;
        Ok(bytes::Buf::reader(content))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        match self.known(start).filter(|known| known.len() >= length) {
            Some(known) => Ok(known.slice(..length)),
            None => self.fetch(start, length as u64),
        }
    }
}

/// Reads an object from its beginning, pieces ahead; or from where it is told.
pub(crate) struct RemoteReader {
    object: Arc<Object>,
    position: u64,
    /// The piece that is being read, and where it begins: a buffer before this reader steps back within it.
    piece: Bytes,
    piece_start: u64,
    ahead: VecDeque<Promise<Bytes>>,
    /// Where the next piece that is asked for begins.
    asked: u64,
}

impl RemoteReader {
    pub(crate) fn new(object: Arc<Object>) -> Self {
        Self { object, position: 0, piece: Bytes::new(), piece_start: 0, ahead: VecDeque::new(), asked: 0 }
    }

    pub(crate) fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// What comes next of the piece.
    fn rest(&self) -> &[u8] {
        self.piece.get((self.position - self.piece_start) as usize..).unwrap_or_default()
    }

    fn next_piece(&mut self) -> Result<(), SourceError> {
        while self.ahead.len() < PIECES_AHEAD && self.asked < self.object.size {
            let end = self.object.size.min(self.asked + PIECE_BYTES);
            self.ahead.push_back(start(Arc::clone(&self.object).fetch(self.asked..end))?);
            self.asked = end;
        }
        if let Some(promise) = self.ahead.pop_front() {
            self.piece = wait(&promise, &self.object.url)?;
            self.piece_start = self.position;
        }
        Ok(())
    }
}

impl Read for RemoteReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest().is_empty() {
            self.next_piece().map_err(io::Error::other)?;
        }
        let rest = self.rest();
        let length = buffer.len().min(rest.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for RemoteReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.object.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let target = target.ok_or_else(|| io::Error::other("a position before the beginning"))?;
        if !(self.piece_start..=self.piece_start + self.piece.len() as u64).contains(&target) {
            (self.piece, self.piece_start, self.asked) = (Bytes::new(), target, target);
            self.ahead.clear();
        }
        self.position = target;
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_lists_and_of_headers_are_the_same() {
        assert_eq!([quoted("0x8D"), quoted("\"0x8D\""), quoted("W/\"1\"")], ["\"0x8D\"", "\"0x8D\"", "W/\"1\""]);
    }

    #[test]
    fn ranges_that_touch_are_joined_and_long_ones_cut() {
        assert_eq!(joined(vec![100_000..200_000, 0..10, 20..30]), [0..30, 100_000..200_000]);
        let cut: Vec<Range<u64>> = pieces(5..PIECE_BYTES + 6).collect();
        assert_eq!(cut, [5..PIECE_BYTES + 5, PIECE_BYTES + 5..PIECE_BYTES + 6]);
    }
}
