//! Trainings resume, stop where they cannot go on, and say why.

use serde_json::json;

use super::*;
use crate::text::stories;
use crate::train::numbers;
use crate::transformer::tests::{texts, transformers, waves};
use crate::transformer::{Block, Kernel, Shape};

fn corpus() -> Corpus {
    Corpus::new(&stories(4_000, &mut generator("test", "trainer", "stories", 0)), 12).unwrap()
}

fn model(corpus: &Corpus, block: Block) -> Transformer {
    let shape = Shape { vocabulary: corpus.vocabulary().len(), context: 12, width: 8, heads: 2, layers: 2 };
    Transformer::new(shape, block, Kernel::Softmax).unwrap()
}

const OPTIONS: Options = Options { steps: 12, batch: 4, rate: 1e-2, warm_up: 3, least: 0.1, clip: 1.0, decay: 0.1 };

#[test]
fn a_training_resumes_bit_by_bit() {
    let corpus = corpus();
    for block in [Block::Plain, Block::R2, Block::KickDrift] {
        let model = model(&corpus, block);
        let new = || Trainer::new(&model, &corpus, OPTIONS, 3, Device::Cpu).unwrap();
        let mut whole = new();
        let losses: Vec<f64> = (0..12).map(|_| whole.step().unwrap()).collect();
        assert!(whole.is_done() && whole.tokens() == 12 * 4 * 12);
        for cut in [0, 5] {
            let mut first = new();
            for _ in 0..cut {
                first.step().unwrap();
            }
            let mut second = new();
            assert_eq!(second.restore(&first.checkpoint(&json!({"a": 1})).unwrap()).unwrap()["a"], 1);
            assert_eq!(second.steps(), cut);
            let rest: Vec<f64> = (cut..12).map(|_| second.step().unwrap()).collect();
            assert_eq!(rest, losses[cut..], "{block:?}");
            assert!(second.checkpoint(&Value::Null).unwrap() == whole.checkpoint(&Value::Null).unwrap());
            assert_eq!(second.validate(100).unwrap(), whole.validate(100).unwrap());
        }
    }
}

#[test]
fn threads_do_not_show() {
    let corpus = corpus();
    let model = model(&corpus, Block::KickDrift);
    let trained = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            // (Three parts, the last of them smaller.)
            let options = Options { batch: 2 * PART + 2, ..OPTIONS };
            let mut trainer = Trainer::new(&model, &corpus, options, 1, Device::Cpu).unwrap();
            let mut losses: Vec<f64> = (0..6).map(|_| trainer.step().unwrap()).collect();
            losses.push(trainer.validate(30).unwrap());
            losses
        })
    };
    assert_eq!(trained(1), trained(3));
}

#[test]
fn other_checkpoints_are_refused() {
    let corpus = corpus();
    let (plain, other) = (model(&corpus, Block::Plain), model(&corpus, Block::HeavyBall));
    let of = |model| Trainer::new(model, &corpus, OPTIONS, 3, Device::Cpu).unwrap();
    let mut trainer = of(&plain);
    let before = trainer.checkpoint(&Value::Null).unwrap();
    let mut trained = of(&plain);
    trained.step().unwrap();
    let after = trained.checkpoint(&Value::Null).unwrap();
    for wrong in
        [&of(&other).checkpoint(&Value::Null).unwrap()[..], &after[..after.len() - 8], &[], b"not a checkpoint at all"]
    {
        let refused = trainer.restore(wrong).unwrap_err();
        assert!(matches!(refused, Error::Checkpoint { .. }) && refused.hint().is_some(), "{refused}");
        assert!(trainer.checkpoint(&Value::Null).unwrap() == before);
    }
    let mut seeded = Trainer::new(&plain, &corpus, OPTIONS, 4, Device::Cpu).unwrap();
    assert!(seeded.restore(&after).unwrap_err().to_string().contains("another training"));
    trainer.restore(&after).unwrap();
}

#[test]
fn trainings_that_diverge_say_so() {
    let corpus = corpus();
    let model = model(&corpus, Block::Plain);
    let wild = Options { rate: 1e30, warm_up: 0, ..OPTIONS };
    let mut trainer = Trainer::new(&model, &corpus, wild, 0, Device::Cpu).unwrap();
    let end = (0..12).find_map(|_| trainer.step().err()).expect("a rate of 1e30 goes well");
    assert!(matches!(end, Error::Diverged { .. }) && end.hint().unwrap().contains("rate"), "{end}");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let corpus = corpus();
    let model = model(&corpus, Block::Plain);
    for options in [
        Options { steps: 0, ..OPTIONS },
        Options { batch: 0, ..OPTIONS },
        Options { rate: f64::NAN, ..OPTIONS },
        Options { clip: 0.0, ..OPTIONS },
        Options { decay: -1.0, ..OPTIONS },
    ] {
        assert!(Trainer::new(&model, &corpus, options, 0, Device::Cpu).is_err(), "{options:?}");
    }
    let trainer = Trainer::new(&model, &corpus, OPTIONS, 0, Device::Cpu).unwrap();
    assert!(trainer.validate(0).is_err() && trainer.validate_by_prefixes(0).is_err());
    let long = Shape { context: 1000, ..model.shape() };
    let long = Transformer::new(long, Block::Plain, Kernel::Softmax).unwrap();
    let refused = Trainer::new(&long, &corpus, OPTIONS, 0, Device::Cpu).err().unwrap();
    assert!(refused.to_string().contains("too short for a context of 1000"), "{refused}");
    let few = Shape { vocabulary: 3, ..model.shape() };
    let few = Transformer::new(few, Block::Plain, Kernel::Softmax).unwrap();
    assert!(Trainer::new(&few, &corpus, OPTIONS, 0, Device::Cpu).is_err());
}

/// Losses of ten steps and sums over gradients of every block: as in PyTorch, by `reference/transformers.py`.
#[test]
fn ten_losses_are_those_of_pytorch() {
    let reference: Value = serde_json::from_str(include_str!("../transformer/reference.json")).unwrap();
    let reference = reference.as_array().unwrap();
    assert_eq!(reference.len(), transformers().count());
    let text: String = (0..7).map(|k| char::from(b'a' + k)).collect();
    let corpus = Corpus::new(&text.repeat(20), 6).unwrap();
    let options = Options { steps: 10, ..OPTIONS };
    for (model, expected) in transformers().zip(reference) {
        let name = format!("{} {}", model.block().word(), model.kernel().word());
        assert_eq!(name, format!("{} {}", expected["block"].as_str().unwrap(), expected["kernel"].as_str().unwrap()));
        let mut trainer = Trainer::new(&model, &corpus, options, 0, Device::Cpu).unwrap();
        trainer.learned.parameters = waves(&model);
        let leaves: Vec<Tensor<2>> = trainer.learned.leaves();
        let (text, next) = texts(0);
        let gradients = model.loss(&leaves, text.autodiff(), next.autodiff()).backward();
        for (leaf, name_of) in leaves.iter().zip(model.names()) {
            let slope = leaf.grad(&gradients).map_or_else(Vec::new, |slope| numbers(slope).unwrap());
            let sum: f64 = slope.iter().enumerate().map(|(k, s)| s * (0.9 * k as f64 + 0.2).sin()).sum();
            let expected = expected["gradients"][name_of].as_f64().unwrap();
            // (Burn rounds constants of some derivatives to single precision.)
            assert!((sum - expected).abs() <= 1e-6 * expected.abs().max(0.1), "{name} {name_of}: {sum} {expected}");
        }
        for (step, expected) in expected["losses"].as_array().unwrap().iter().enumerate() {
            let (text, next) = texts(step);
            let (found, expected) = (trainer.learn(text, next).unwrap(), expected.as_f64().unwrap());
            // (So it does with the optimiser's β; and Adam makes much of gradients that are nearly zero.)
            let allowed = if step < 3 { 1e-6 } else { 3e-5 };
            assert!((found - expected).abs() <= allowed * expected, "{name} step {step}: {found} {expected}");
        }
    }
}
