//! Steps a second of training a small transformer: `training_speed [BLOCK] [KERNEL] [STEPS] [BATCH] [CONTEXT] [WIDTH] [HEADS] [LAYERS]
//! [VOCABULARY]`, by the median time of the steps after five, as JSON. `bench/transformers.py` runs it beside PyTorch.

use std::time::Instant;

use hattention_lab::Error;
use hattention_lab::statistics::middle;
use hattention_lab::text::Corpus;
use hattention_lab::train::Device;
use hattention_lab::trainer::{Options, Trainer};
use hattention_lab::transformer::{Block, Kernel, Shape, Transformer};
use serde_json::json;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Steps that do not count.
const WARM: usize = 5;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let of = |place: usize, default: usize| arguments.get(place).and_then(|text| text.parse().ok()).unwrap_or(default);
    let block = arguments.first().and_then(|word| Block::of(word)).unwrap_or(Block::Plain);
    let kernel = arguments.get(1).and_then(|word| Kernel::of(word)).unwrap_or(Kernel::Softmax);
    let (steps, batch, context) = (of(2, 60), of(3, 16), of(4, 64));
    let shape = Shape { vocabulary: of(8, 65), context, width: of(5, 64), heads: of(6, 4), layers: of(7, 4) };
    let letter = |k: usize| char::from_u32(0x100 + (k * k + k / 7) as u32 % shape.vocabulary as u32).unwrap_or('a');
    let all = (0..shape.vocabulary as u32).filter_map(|k| char::from_u32(0x100 + k));
    let text: String = all.chain((0..100_000).map(letter)).collect();
    let corpus = Corpus::new(&text, context)?;
    let model = Transformer::new(shape, block, kernel)?;
    let options = Options { steps: steps + WARM, batch, ..Options::default() };
    let mut trainer = Trainer::new(&model, &corpus, options, 0, Device::Cpu)?;
    let mut seconds = Vec::new();
    while !trainer.is_done() {
        let start = Instant::now();
        trainer.step()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let rate = 1.0 / middle(&seconds[WARM..]);
    let found = json!({
        "block": block.word(), "kernel": kernel.word(), "parameters": model.count(), "steps_per_second": rate,
        "tokens_per_second": rate * (batch * context) as f64,
    });
    println!("{found:#}");
    Ok(())
}
