//! Effects of many levels on graphs that are hard: steps, error and time.
//!
//! `cargo run --release -p hattention --example absorb_graphs -- [LEVELS]`

use std::time::Instant;

use hattention::absorb::{AbsorbOptions, Absorbed, EffectMoments};
use hattention::{Block, Column, Design, Error};

/// SplitMix64.
struct Source(u64);

impl Source {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, count: u32) -> u32 {
        (self.bits() % count as u64) as u32
    }

    fn real(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * 2f64.powi(-52) - 1.0
    }
}

/// Codes of both effects.
type Codes = [Vec<u32>; 2];

/// Every level meets the next one only.
fn chain(levels: u32) -> Codes {
    [(0..levels).flat_map(|i| [i, i, i]).collect(), (0..levels).flat_map(|i| [i, i, (i + 1) % levels]).collect()]
}

/// A ring with a few chords near by: a chain that no elimination takes apart.
fn band(levels: u32, source: &mut Source) -> Codes {
    let near = |i: u32, source: &mut Source| (i + source.below(8)) % levels;
    let first = (0..levels).flat_map(|i| [i; 5]).collect();
    [first, (0..levels).flat_map(|i| [i; 5]).map(|i| near(i, source)).collect()]
}

/// Two halves that one row joins.
fn halves(levels: u32, source: &mut Source) -> Codes {
    let half = levels / 2;
    let first: Vec<u32> = (0..levels).flat_map(|i| [i; 5]).chain([0]).collect();
    let second = first[..first.len() - 1].iter().map(|i| i / half * half + source.below(half)).collect::<Vec<_>>();
    [first, second.into_iter().chain([levels - 1]).collect()]
}

/// Workers of firms, one in twenty of whom moves once.
fn movers(levels: u32, source: &mut Source) -> Codes {
    let mut codes = [Vec::new(), Vec::new()];
    for worker in 0..levels {
        let firm = source.below(levels);
        let moves = source.below(20) == 0;
        for year in 0..5 {
            codes[0].push(worker);
            codes[1].push(if moves && year > 2 { (firm + 1 + source.below(50)) % levels } else { firm });
        }
    }
    codes
}

fn main() -> Result<(), Error> {
    let levels: u32 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let mut source = Source(1);
    let graphs = [
        ("chain", chain(levels)),
        ("band", band(levels, &mut source)),
        ("halves", halves(levels, &mut source)),
        ("movers", movers(levels, &mut source)),
    ];
    println!("graph    rows      parts  steps  error left   sums      solving   slope of x − 1");
    for (name, codes) in graphs {
        let rows = codes[0].len();
        let x: Vec<f64> =
            (0..rows).map(|i| source.real() + 1e-3 * codes[0][i] as f64 + (codes[1][i] as f64).sin()).collect();
        let z: Vec<f64> = (0..rows).map(|_| source.real()).collect();
        let effect = |code: u32| (code as f64 * 0.01).cos();
        // Only roundings are left of the target: its slope tells what the solution is worth.
        let y: Vec<f64> = (0..rows).map(|i| x[i] + effect(codes[0][i]) + effect(codes[1][i] + 7)).collect();
        let block = Block { rows, columns: [&x, &z, &y].map(|c| Column::Dense(c)).to_vec(), weights: None };
        let start = Instant::now();
        let mut state = EffectMoments::new(3, ["g", "h"]);
        state.push(&block, &[&codes[0], &codes[1]])?;
        let sums = start.elapsed();
        let start = Instant::now();
        let absorbed = Absorbed::of(&state, &AbsorbOptions::default())?;
        let solving = start.elapsed();
        let whitening = absorbed.whitening(&Design::plain(["x", "z"], true), Default::default())?;
        let fit = absorbed.fit(&whitening, 2, "y")?;
        let (solution, slope) = (absorbed.solution(), fit.estimates[0].map_or(f64::NAN, |b| b.to_f64()));
        println!(
            "{name:8} {rows:8} {:6} {:6} {:11.1e} {sums:9.2?} {solving:9.2?} {:9.1e}",
            absorbed.parts(),
            solution.steps,
            solution.reached,
            slope - 1.0
        );
    }
    Ok(())
}
