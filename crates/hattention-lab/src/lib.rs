//! The lab: claims about least squares as attention, measured.
//!
//! An [`Experiment`] is one file in [`experiments`]. Its units measure ([`experiment`] is the contract), the
//! engine ([`mod@run`]) keeps their files and resumes, its judge turns rows into claims whose verdicts are computed from
//! thresholds ([`claim`]), and a report shows them with plots ([`plot`]).
//!
//! ```text
//! Plan ──units──▶ Unit ──run──▶ rows ──▶ runs/<unit>.json ──judge──▶ summary.json, results.csv, report.html
//! ```
//!
//! # How to add an experiment
//! Write `experiments/<name>.rs`: module documentation that is the head of the report, and a constant `EXPERIMENT`; name it
//! in [`experiments::ALL`]. Random numbers come from [`experiment::Context::generator`] only, one purpose a stream;
//! parallel loops collect by index, so that threads do not show. Every claim gets a [`claim::Threshold`] fixed in the head.

pub mod claim;
pub mod crossing;
pub mod designs;
pub mod error;
pub mod experiment;
pub mod experiments;
pub mod learner;
pub mod modular;
pub mod particles;
pub mod plot;
pub mod quarters;
pub mod report;
pub mod rows;
pub mod run;
pub mod scored;
pub mod seeds;
pub mod statistics;
pub mod text;
pub mod train;
pub mod trainer;
pub mod transformer;

pub use error::Error;
pub use experiment::Experiment;
