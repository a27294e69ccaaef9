//! Seconds a step of learning modular addition: `modular_speed [MODULUS] [FRACTION] [STEPS] [lean|plain]`, the median of the steps after
//! five, as JSON. `bench/modular.py` runs it beside PyTorch.

use std::time::Instant;

use hattention_lab::Error;
use hattention_lab::modular::{Form, Options, Shape, Task, TaskOptions, Training};
use hattention_lab::seeds::generator;
use hattention_lab::statistics::middle;
use hattention_lab::train::Device;
use serde_json::json;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Steps that do not count.
const WARM: usize = 5;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let of = |place: usize| arguments.get(place).map(String::as_str).unwrap_or_default();
    let modulus = of(0).parse().unwrap_or(113);
    let fraction = of(1).parse().unwrap_or(0.3);
    let steps: usize = of(2).parse().unwrap_or(40);
    let form = if of(3) == "plain" { Form::Plain } else { Form::Lean };
    let options = TaskOptions { modulus, fraction, unordered: false, noise: 0.0 };
    let task = Task::new(options, &mut generator("modular-speed", "", "pairs", 0))?;
    let mut training = Training::new(&task, Shape::of(modulus), form, Options::default(), 0, Device::Cpu)?;
    let mut seconds = Vec::new();
    for _ in 0..steps + WARM {
        let start = Instant::now();
        training.step()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let start = Instant::now();
    let test = training.test()?;
    let tested = start.elapsed().as_secs_f64();
    let start = Instant::now();
    training.observe()?;
    let observed = start.elapsed().as_secs_f64();
    let step = middle(&seconds[WARM..]);
    let found = json!({
        "form": of(3), "pairs": task.train.len(), "seconds_per_step": step, "seconds_to_test": tested,
        "seconds_to_observe": observed, "test_loss": test.loss,
    });
    println!("{found:#}");
    Ok(())
}
