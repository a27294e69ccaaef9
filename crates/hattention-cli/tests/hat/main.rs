//! The program, run as a user runs it.

mod absorb;
mod attend;
mod bad_input;
mod classics;
mod cluster;
mod drift;
mod flights;
mod groups;
mod lab;
mod orders;
mod probe;
mod roll;
mod states;
mod states_hc;
mod store_server;
mod stores;
mod support;
mod transformer;
mod transformer_edges;
