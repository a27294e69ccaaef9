//! Files and tables to blocks of regression design rows.

#[cfg(feature = "sql")]
pub mod aggregate;
pub mod design;
pub mod error;
pub mod formula;
pub mod keys;
pub mod regression;
pub mod source;
pub mod state;

pub use {arrow, parquet};
