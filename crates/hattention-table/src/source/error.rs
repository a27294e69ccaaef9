//! What can be wrong with files, as data.

/// What is wrong with a source, with the file, the line and the column where they are known.
///
/// Paths and operating-system messages are kept as text, so that errors can be compared and cloned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// No source was named.
    #[error("no source, expected a path, a glob, a directory or `-`")]
    NoSource,
    /// The path does not exist.
    #[error("{path}: no such file or directory")]
    NotFound {
        /// The path that was asked for.
        path: String,
        /// An existing path that is spelt almost alike.
        nearest: Option<String>,
    },
    /// The glob matches nothing.
    #[error("{pattern}: the pattern matches no file")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// The glob is not well formed.
    #[error("{pattern}: not a pattern: {message}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        message: String,
    },
    /// The directory holds no file of a known format.
    #[error("{path}: the directory holds no file of a known format")]
    EmptyDirectory {
        /// The directory.
        path: String,
    },
    /// Files of several formats stand where one is expected.
    #[error("{path}: expected files of one format, got {}", formats.join(" and "))]
    SeveralFormats {
        /// The directory, the glob, or the list of sources.
        path: String,
        /// The formats found.
        formats: Vec<String>,
    },
    /// The extension names no known format.
    #[error("{path}: unknown format, expected the extension {known}")]
    UnknownFormat {
        /// The file.
        path: String,
        /// The known extensions.
        known: String,
    },
    /// Standard input can be read once.
    #[error("standard input is named twice, expected `-` once")]
    StdinTwice,
    /// The path is a device or a pipe, which cannot be read more than once.
    #[error("{path}: a device or a pipe, expected a file")]
    NotAFile {
        /// The path.
        path: String,
    },
    /// The fields of a CSV file are separated by something else than commas.
    #[error("{path}: expected commas between the names in the header, got {got}")]
    OtherDelimiter {
        /// The file.
        path: String,
        /// What stands between the names.
        got: String,
    },
    /// An address of an unknown kind.
    #[error(
        "{spec}: unknown kind of address {scheme}, expected a path, or s3://, gs://, az://, abfs://, http:// or https://"
    )]
    NotAvailable {
        /// The source.
        spec: String,
        /// The scheme of its address.
        scheme: String,
    },
    /// A file is not the one that was looked at first.
    #[error("{path}: the file changed while it was read: {before} bytes at first, {now} now{}", if before == now { ", written anew" } else { "" })]
    Changed {
        /// The file.
        path: String,
        /// Its bytes when it was looked at.
        before: u64,
        /// Its bytes now.
        now: u64,
    },
    /// An object store or a web server refused, or cannot be reached.
    #[error("{url}: {message}")]
    Remote {
        /// The address.
        url: String,
        /// What it said.
        message: String,
        /// The way out.
        hint: Option<String>,
        /// Whether the connection broke, so that another attempt is worth it.
        again: bool,
    },
    /// The operating system refused.
    #[error("{path}: {message}")]
    Io {
        /// The file.
        path: String,
        /// The operating system's message.
        message: String,
    },
    /// The file has no content, not even a header.
    #[error("{path}: the file is empty, expected {expected}")]
    EmptyFile {
        /// The file.
        path: String,
        /// What the file should begin with.
        expected: String,
    },
    /// The content is not of the format that the extension promises.
    #[error("{path}: not {expected}, got {got}")]
    NotTheFormat {
        /// The file.
        path: String,
        /// The format and its mark.
        expected: String,
        /// What the file holds instead.
        got: String,
    },
    /// The file ends too early.
    #[error("{path}: the file is truncated, expected {expected}")]
    Truncated {
        /// The file.
        path: String,
        /// What is missing.
        expected: String,
    },
    /// The file's content contradicts itself.
    #[error("{path}: damaged {format}: {message}")]
    Damaged {
        /// The file.
        path: String,
        /// The format.
        format: String,
        /// The reader's message.
        message: String,
    },
    /// A table in memory that cannot be used.
    #[error("{path}: {message}")]
    InMemory {
        /// What it is called.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// Two columns have the same name.
    #[error("{path}: columns {first} and {second} are both named `{column}`, expected distinct names")]
    DuplicateColumn {
        /// The file.
        path: String,
        /// The name.
        column: String,
        /// Position of the first, counted from 1.
        first: usize,
        /// Position of the second, counted from 1.
        second: usize,
    },
    /// A row has more or fewer fields than the header.
    #[error("{path}:{line}: expected {expected} field{}, got {got}", if *expected == 1 { "" } else { "s" })]
    RaggedRow {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: u64,
        /// Fields in the header.
        expected: usize,
        /// Fields in the row.
        got: usize,
    },
    /// A line is not UTF-8.
    #[error("{path}:{line}: not UTF-8, got {got}")]
    NotUtf8 {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: u64,
        /// The first bytes that are not UTF-8, and what stands before them.
        got: String,
    },
    /// A quoted field is never closed.
    #[error("{path}:{line}: a quoted field opens in this row and never closes")]
    UnclosedQuote {
        /// The file.
        path: String,
        /// The line where the row begins, counted from 1.
        line: u64,
    },
    /// A row is longer than the limit.
    #[error("{path}:{line}: the row is longer than {limit} bytes")]
    RowTooLong {
        /// The file.
        path: String,
        /// The line where the row begins, counted from 1.
        line: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// A cell does not fit its column.
    #[error("{path}:{line}: column `{column}`: expected {expected}, got `{value}`")]
    Value {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: u64,
        /// The column.
        column: String,
        /// What the column holds elsewhere.
        expected: String,
        /// The cell.
        value: String,
    },
    /// A column of numbers holds text.
    #[error(
        "{path}:{line}: column `{column}` holds numbers, except in {texts} of the first {seen} values, here `{value}`"
    )]
    TextAmongNumbers {
        /// The file.
        path: String,
        /// The line of the first text, counted from 1.
        line: u64,
        /// The column.
        column: String,
        /// The first text.
        value: String,
        /// How many values were looked at; missing ones do not count.
        seen: u64,
        /// How many of them are not numbers.
        texts: u64,
    },
    /// Files of one source have different columns.
    #[error("{right}: expected the columns of {left}{}{}", listed("; missing", missing), listed("; not there", extra))]
    ColumnsDiffer {
        /// The first file.
        left: String,
        /// The file that differs.
        right: String,
        /// Columns of the first that the other lacks.
        missing: Vec<String>,
        /// Columns of the other that the first lacks.
        extra: Vec<String>,
    },
    /// A column has different types in files of one source.
    #[error("column `{column}` is {left_type} in {left} and {right_type} in {right}, expected one type")]
    TypesDiffer {
        /// The column.
        column: String,
        /// A file.
        left: String,
        /// The type there.
        left_type: String,
        /// Another file.
        right: String,
        /// The type there.
        right_type: String,
    },
    /// A column was asked for that the source does not have.
    #[error("{path}: no column `{column}`")]
    NoColumn {
        /// The source.
        path: String,
        /// The column that was asked for.
        column: String,
        /// The columns closest to it, best first.
        nearest: Vec<String>,
    },
    /// Two sources of a query would be tables of the same name.
    #[error("{left} and {right} are both table `{table}` of the query, expected distinct file names")]
    SameTable {
        /// The table's name.
        table: String,
        /// A source.
        left: String,
        /// Another source.
        right: String,
    },
    /// A query, in a build without the query engine.
    #[error("this build has no query engine")]
    NoSql,
    /// The query is wrong, or failed.
    #[error("--sql: {message}")]
    Query {
        /// The query engine's message, in one line.
        message: String,
        /// The tables and their columns.
        tables: Vec<String>,
    },
    /// A thread of the reader ended without a result: a defect of this program.
    #[error("{path}: reading stopped unexpectedly ({what})")]
    Stopped {
        /// The source.
        path: String,
        /// What stopped.
        what: String,
    },
}

impl SourceError {
    /// The way out, if there is one to name: lower case, no full stop.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoSource => "for example `hat fit 'y ~ x' data.csv`".into(),
            Self::NotFound { nearest, .. } => return nearest.as_ref().map(|near| format!("did you mean {near}?")),
            Self::NoMatch { .. } | Self::Pattern { .. } => {
                "`*` matches within a directory, `**` across directories, `[[]` a bracket; quote the pattern in the shell".into()
            }
            Self::EmptyDirectory { .. } => format!("known extensions: {}", super::format::KNOWN_EXTENSIONS),
            Self::UnknownFormat { .. } => "give the file the extension of what it holds".into(),
            Self::SeveralFormats { .. } => "name the files of one format with a glob such as `data/*.parquet`".into(),
            Self::StdinTwice => "name a file for the second".into(),
            Self::NotAFile { .. } => "write it to a file, or pipe CSV into `-`".into(),
            Self::OtherDelimiter { got, .. } if got == "tabs" => "end the file's name in .tsv".into(),
            Self::OtherDelimiter { .. } => "write the file with commas, and with points in decimals".into(),
            Self::NotAvailable { .. } => "download the file first".into(),
            Self::Changed { .. } => "read it when nobody writes it, or copy it first".into(),
            Self::Remote { hint, .. } => return hint.clone(),
            Self::EmptyFile { .. } => "check how the file was written".into(),
            Self::NotTheFormat { .. } => "give the file the extension of what it holds".into(),
            Self::Truncated { .. } | Self::Damaged { .. } => "copy or write the file again".into(),
            Self::InMemory { .. } => "convert the column to numbers or text".into(),
            Self::DuplicateColumn { .. } => "rename one of them in the header".into(),
            Self::RaggedRow { .. } => "fields that hold the delimiter or a line break need double quotes".into(),
            Self::NotUtf8 { .. } => "convert the file, for example with `iconv -f latin1 -t utf8`".into(),
            Self::UnclosedQuote { .. } | Self::RowTooLong { .. } => {
                "close the quote; a quote within a quoted field is written twice".into()
            }
            Self::TextAmongNumbers { column, .. } => format!(
                "correct the value, or leave it empty if it is missing; if `{column}` is a label, write C({column})"
            ),
            Self::Value { .. } => "correct the value, or leave it empty if it is missing".into(),
            Self::ColumnsDiffer { .. } => "read them one by one, or join them with --sql".into(),
            Self::TypesDiffer { .. } => "write the column alike in all files, or CAST it with --sql".into(),
            Self::NoColumn { nearest, .. } => {
                return nearest.first().map(|near| format!("did you mean `{near}`?"));
            }
            Self::SameTable { .. } => "rename one of the files".into(),
            Self::Query { tables, .. } => format!("tables: {}", tables.join("; ")),
            Self::NoSql => "run the query where the data are (DuckDB, polars, …) and hand over its result".into(),
            Self::Stopped { .. } => "this is a defect of hattention: please report it".into(),
            Self::Io { .. } => return None,
        };
        Some(hint)
    }
}

/// `lead: a, b` or nothing.
fn listed(lead: &str, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = names.iter().take(5).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > shown.len() { ", …" } else { "" };
    format!("{lead}: {}{more}", shown.join(", "))
}
