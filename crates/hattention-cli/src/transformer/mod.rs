//! `hat transformer`: a regression as a transformer.

pub mod args;
mod build;
mod context;
mod export;
mod forward;
mod report;
mod verify;
mod weights;

use args::TransformerCommand;

use crate::failure::Failure;

/// Runs the command.
pub fn run(command: &TransformerCommand, quiet: bool) -> Result<(), Failure> {
    match command {
        TransformerCommand::Build(args) => build::run(args, quiet),
        TransformerCommand::Forward(args) => forward::run(args, quiet),
        TransformerCommand::Verify(args) => verify::run(args, quiet),
        TransformerCommand::Export(args) => export::run(args),
    }
}
