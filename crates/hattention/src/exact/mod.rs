//! Exact sums of products.
//!
//! A double is an integer times a power of two. Within a chunk of rows every column is written on one fixed-point grid
//! and cut into *planes* of 52 bits ([`planes`]); the Gram matrix of the planes is a sum of products of small integers,
//! which hardware multiplies and adds without any rounding ([`kernel`]); and the sums of all chunks are gathered in wide
//! two's-complement integers ([`wide`]). Nothing is rounded anywhere, so the result cannot depend on order, chunk size,
//! thread count or instruction set, and a row can be taken out again without a trace.
//!
//! Solving then happens in binary floating point of as many bits as the condition asks for ([`float`]).
//!
//! # References
//! Kulisch & Miranker (1981) for long accumulators; Demmel & Nguyen (2015) for reproducible sums; Ozaki et al. (2012)
//! for matrix products by error-free slices; Emmart, Zheng & Weems (2018) for exact products by fused multiply-add.

pub(crate) mod accumulator;
mod apart;
pub(crate) mod centred;
pub(crate) mod chunk;
pub(crate) mod float;
pub(crate) mod kernel;
pub(crate) mod ldl;
pub(crate) mod levels;
pub(crate) mod planes;
pub(crate) mod quartic;
pub(crate) mod quartic_table;
pub(crate) mod stored;
pub(crate) mod wide;
pub(crate) mod within;
