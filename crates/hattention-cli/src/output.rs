//! Writing: to standard output that may close, and to files that are whole or absent.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::failure::Failure;

/// Files being written, removed on Ctrl-C.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Files opened so far.
static OPENED: AtomicU64 = AtomicU64::new(0);

/// What else is to be done on Ctrl-C.
static LAST_WORDS: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

/// What else is to be done on Ctrl-C, instead of what was to be done so far.
pub fn on_interrupt(action: impl FnOnce() + Send + 'static) {
    if let Ok(mut last) = LAST_WORDS.lock() {
        *last = Some(Box::new(action));
    }
}

/// On Ctrl-C: removes unfinished files and leaves with the customary code.
pub fn clean_up_on_interrupt() {
    let result = ctrlc::set_handler(|| {
        if let Ok(files) = UNFINISHED.lock() {
            for file in files.iter() {
                let _ = std::fs::remove_file(file);
            }
        }
        // A copy of standard input.
        let prefix = hattention_table::source::temporary_prefix();
        for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        if let Some(action) = LAST_WORDS.lock().ok().and_then(|mut last| last.take()) {
            action();
        }
        eprintln!("\nerror: interrupted; unfinished files are removed, and finished ones stay");
        std::process::exit(130);
    });
    if result.is_err() {
        eprintln!("note: Ctrl-C may leave a temporary file behind");
    }
}

/// Writes to standard output; a reader that has gone away ends the program quietly.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) => stdout_failed(&error),
    }
}

/// What a failed write to standard output means.
pub fn stdout_failed(error: &std::io::Error) -> Result<(), Failure> {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    Err(Failure::usage(format!("cannot write to standard output: {error}"), ""))
}

/// A file that appears under its name only when finished.
pub struct Whole {
    target: PathBuf,
    beside: PathBuf,
    /// The open file; write here.
    pub file: std::io::BufWriter<std::fs::File>,
    finished: bool,
}

impl Whole {
    /// Opens a file beside the target.
    ///
    /// # Errors
    /// If the target is there and is no ordinary file, or the folder cannot be written to.
    pub fn create(target: &Path) -> Result<Self, Failure> {
        let target = ordinary(target)?;
        let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        // Two files of one name may be open at once, and neither may write into the other.
        let serial = OPENED.fetch_add(1, Ordering::Relaxed);
        let beside = target.with_file_name(format!(".{name}.{}.{serial}.tmp", std::process::id()));
        let file = std::fs::File::create(&beside).map_err(|e| cannot(&target, &e.to_string()))?;
        if let Ok(mut files) = UNFINISHED.lock() {
            files.push(beside.clone());
        }
        Ok(Self { target, beside, file: std::io::BufWriter::new(file), finished: false })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// If the last bytes cannot be written or the name not be given.
    pub fn finish(mut self) -> Result<(), Failure> {
        let written = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        written
            .and_then(|()| std::fs::rename(&self.beside, &self.target))
            .map_err(|e| cannot(&self.target, &e.to_string()))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.beside);
        }
        if let Ok(mut files) = UNFINISHED.lock() {
            files.retain(|file| *file != self.beside);
        }
    }
}

/// Whether two paths, of files that need not be there yet, mean one file.
pub fn same(a: &Path, b: &Path) -> bool {
    let full = |path: &Path| {
        std::fs::canonicalize(path).ok().or_else(|| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Some(std::fs::canonicalize(folder).ok()?.join(path.file_name()?))
        })
    };
    a == b || full(a).is_some_and(|a| Some(a) == full(b))
}

/// Whether a file can be created there, before long work is done for it.
///
/// # Errors
/// If not.
pub fn check_writable(target: &Path) -> Result<(), Failure> {
    Whole::create(target).map(drop)
}

/// Refuses to put a result in the place of the rows that it is made of.
///
/// # Errors
/// If the target is one of the sources, as they were named.
pub fn check_apart(target: &Path, sources: &[String]) -> Result<(), Failure> {
    if sources.iter().all(|source| !same(Path::new(source), target)) {
        return Ok(());
    }
    let message = format!("{} is a source, and would be written over", target.display());
    Err(Failure::usage(message, "give the result another name"))
}

/// Makes a folder and sees whether files can be created in it, before long work is done for them.
///
/// # Errors
/// If not.
pub fn check_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|e| {
        let message = format!("cannot make the folder {}: {e}", folder.display());
        Failure::usage(message, "name a folder, which is made if it is not there; results are several files")
    })?;
    check_writable(&folder.join("summary.json"))
}

/// The file that a path means, through links; a device or a pipe would be replaced by the file, not written to.
fn ordinary(target: &Path) -> Result<PathBuf, Failure> {
    let refuse = |why: &str| Err(cannot(target, why));
    match std::fs::metadata(target) {
        Ok(found) if found.is_dir() => refuse("it is a folder"),
        Ok(found) if !found.is_file() => refuse("it is a device or a pipe"),
        Ok(_) => std::fs::canonicalize(target).map_err(|e| cannot(target, &e.to_string())),
        Err(_) if target.file_name().is_none() => refuse("it is not a file name"),
        Err(_) => Ok(target.to_owned()),
    }
}

fn cannot(target: &Path, why: &str) -> Failure {
    Failure::usage(format!("cannot write {}: {why}", target.display()), "name a file in a folder you can write to")
}

/// Writes bytes to a file that is whole or absent.
///
/// # Errors
/// If it cannot be written.
pub fn write(target: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut whole = Whole::create(target)?;
    whole.file.write_all(bytes).map_err(|e| cannot(target, &e.to_string()))?;
    whole.finish()
}
