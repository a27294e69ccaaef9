//! Nothing but tests: `tests/onnx.rs` runs the ONNX files of `hat transformer export` in tract.
