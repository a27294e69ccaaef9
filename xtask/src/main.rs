//! The program hat.
fn main() {}
