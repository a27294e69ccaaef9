//! # Do tokens with momentum make a better language model?
//!
//! Source: Stein, Li & Steidl (2026, arXiv 2603.16535) and the authors' later results (five seeds, 100 million tokens, 4 layers, 4
//! heads, width 64; TinyStories and OpenWebText): momentum (H0, Y) lowers the loss, the geometric correction (H1, R2) does not show. There
//! momentum starts from a learned embedding that plain attention lacks: of 6.65 million parameters 3.23. Here controls
//! have it too: *summed* adds it to the tokens at the start, *injected* to every half of every layer, by a learned factor.
//!
//! ## World
//! A model of characters: context 64, width 64, 4 heads, 4 layers (a token costs 4 oracle calls of every block), tied output; formulas of
//! all blocks stand in `hattention_lab::transformer`. The text is the file that `--data` names, its last tenth for validation; without one,
//! 200,000 characters of made-up stories. 1,000 steps of 16 windows (1.02 million tokens), AdamW (0.9, 0.95, decay 0.1), rate 3e-3
//! after 100 steps, then a cosine to a tenth, gradients clipped to 1. Of one seed all blocks see the same windows, and what they have in
//! common starts alike: differences are paired. Loss: nats a character on 400 windows of the last tenth, or all there are; a training
//! that diverges counts as guessing, log(vocabulary). Every block also runs at rates of 1e-3, 3e-3 and 1e-2 for a quarter of the steps with
//! a seed of its own, which decides nothing. Of characters the second embedding is 4 % of the parameters; it is the start that the
//! controls share.
//!
//! ## Thresholds
//! Mean differences of losses at the end, with Student's interval over seeds, must be at most 0 with their whole intervals; softmax and
//! linear apart.
//! - `momentum-heavy-ball-*`, `momentum-yuriiformer-*`: less plain; at most 0.
//! - `control-summed-*`, `control-injected-*`: heavy ball, less a control that has as many parameters; at most 0.
//! - `geometry-h1-*`, `geometry-r2-*`: less heavy ball; at most 0.
//! - `presymplectic-kick-drift-*`, `presymplectic-exponential-euler-*`: less Euler's step; at most 0. `stepped-kick-drift-*`: kick–drift less
//!   plain; at most 0.
//! - `calls-*`, `time-*`: the share of plain's steps (of its seconds) that heavy ball needs to reach plain's loss at the end: at most 1;
//!   validation every 50 steps, on 80 windows, a straight line between; 2 where it is not reached. Seconds are those of
//!   whole units, with their validation: other work on the machine shows.
//!
//! ## Revisions
//! None. (Before the run, plain, heavy ball and kick–drift with softmax were tried for 300 steps of another seed at three rates, which
//! chose the rate: validation 2.526, 2.513, 2.527 at 1e-3; 2.443, 2.392, 2.455 at 3e-3; 2.410, 2.397, diverged at 1e-2.)
//!
//! ## Time
//! Two and a half hours on two cores, of which a training uses hardly more than one: 100 units of a minute, 60 of a quarter.

mod judge;
mod training;

pub(crate) use training::{corpus, model, train};

use serde_json::json;

use crate::experiment::{Experiment, Plan, Seeds, Size, Unit};
use crate::transformer::{Block, Kernel};

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "symp-language-model",
    trains: true,
    summary: "Language models of characters whose tokens have momentum: ten blocks, two controls among them, two kernels",
    source: "Stein, Li & Steidl 2026, arXiv 2603.16535",
    file: include_str!("symp_language_model.rs"),
    version: 1,
    hours: 2.5,
    seeds: Seeds { full: 5, smoke: 2 },
    units,
    run: training::run,
    judge: judge::judge,
};

/// Blocks that are compared: all that leave the future out.
const BLOCKS: [Block; 10] = [
    Block::Plain,
    Block::Summed,
    Block::Injected,
    Block::HeavyBall,
    Block::YuriiFormer,
    Block::H1,
    Block::R2,
    Block::Euler,
    Block::ExponentialEuler,
    Block::KickDrift,
];
/// Rates that are tried besides.
const RATES: [f64; 2] = [1e-3, 1e-2];

fn units(plan: &Plan) -> Vec<Unit> {
    let full = plan.size == Size::Full;
    let sizes = if full {
        json!({"context": 64, "width": 64, "heads": 4, "layers": 4, "batch": 16, "every": 50, "some": 80, "windows": 400, "characters": 200_000})
    } else {
        json!({"context": 16, "width": 16, "heads": 2, "layers": 2, "batch": 4, "every": 5, "some": 8, "windows": 20, "characters": 10_000})
    };
    let steps = if full { 1000 } else { 20 };
    let unit = |block: Block, kernel: Kernel, seed: usize, rate: f64, steps: usize, name: String| {
        let mut parameters = sizes.clone();
        parameters["block"] = block.word().into();
        parameters["kernel"] = kernel.word().into();
        parameters["seed"] = seed.into();
        parameters["rate"] = rate.into();
        parameters["steps"] = steps.into();
        Unit::new(name, parameters)
    };
    let mut units = Vec::new();
    for seed in 0..plan.seeds {
        for kernel in Kernel::ALL {
            for block in BLOCKS {
                let name = format!("{}-{}-{seed}", kernel.word(), block.word());
                units.push(unit(block, kernel, seed, 3e-3, steps, name));
            }
        }
    }
    for kernel in Kernel::ALL {
        for block in BLOCKS {
            for rate in RATES.iter().filter(|_| full) {
                let name = format!("rate-{rate:e}-{}-{}", kernel.word(), block.word());
                units.push(unit(block, kernel, 1000, *rate, steps / 4, name));
            }
            if full {
                let name = format!("rate-3e-3-{}-{}", kernel.word(), block.word());
                units.push(unit(block, kernel, 1000, 3e-3, steps / 4, name));
            }
        }
    }
    units
}
