//! Files and tables to blocks of regression design rows.

pub mod design;
pub mod error;
pub mod formula;
pub mod keys;
pub mod source;

pub use datafusion::{arrow, parquet};
