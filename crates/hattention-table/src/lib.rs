//! Files and tables to blocks of regression design rows.

pub mod aggregate;
pub mod design;
pub mod error;
pub mod formula;
pub mod keys;
pub mod source;
pub mod state;

pub use datafusion::{arrow, parquet};
