//! The laws of the state and of the fits, over one table of named designs.

mod support;

#[path = "laws/absorb.rs"]
mod absorb;
#[path = "laws/any_data.rs"]
mod any_data;
#[path = "laws/decay.rs"]
mod decay;
#[path = "laws/dependence.rs"]
mod dependence;
#[path = "laws/fits.rs"]
mod fits;
#[path = "laws/groups.rs"]
mod groups;
#[path = "laws/hopfield.rs"]
mod hopfield;
#[path = "laws/in_memory.rs"]
mod in_memory;
#[path = "laws/inflation.rs"]
mod inflation;
#[path = "laws/memory.rs"]
mod memory;
#[path = "laws/polynomials.rs"]
mod polynomials;
#[path = "laws/press.rs"]
mod press;
#[path = "laws/quartic.rs"]
mod quartic;
#[path = "laws/refusals.rs"]
mod refusals;
#[path = "laws/roll.rs"]
mod roll;
#[path = "laws/state.rs"]
mod state;
#[path = "laws/stored.rs"]
mod stored;
#[path = "laws/strided.rs"]
mod strided;
#[path = "laws/table.rs"]
mod table;
#[path = "laws/thermodynamics.rs"]
mod thermodynamics;
#[path = "laws/transformer.rs"]
mod transformer;
#[path = "laws/weights.rs"]
mod weights;
