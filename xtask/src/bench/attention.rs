//! The forward pass of the constructed transformer beside a tensor library's linear attention.

use std::path::Path;
use std::time::Instant;

use hattention::matrix::{Matrix, Real};
use hattention::{Block, Column, Design, Error, Filter, Fit, Moments, Transformer, Whitening};
use serde_json::{Value, json};

use super::contestant::Contestant;
use super::data::Data;
use super::peer::{self, Peer};
use super::{Options, machine};
use crate::Failure;

/// Before each run, as for fits in memory.
const SETTLE: std::time::Duration = std::time::Duration::from_millis(100);
/// The pass that the issue of speed is about.
const SHAPE: (usize, usize) = (100_000, 100);
const QUICK: (usize, usize) = (5_000, 20);

/// The constructed weights, and tokens row by row.
struct Prepared {
    /// All three projections the same, as constructed.
    shared: Transformer,
    /// The same numbers, but not known to be the same: three projections are computed.
    separate: Transformer,
    x: Matrix,
    x_single: Matrix<f32>,
}

impl Prepared {
    fn new(data: &Data) -> Result<Self, Error> {
        let columns = data.x.iter().chain([&data.y]).map(|c| Column::Dense(c)).collect();
        let moments = Moments::of(&Block { rows: data.rows, columns, weights: None })?;
        let design = Design::plain((1..=data.x.len()).map(|j| format!("x{j}")), true);
        let whitening = Whitening::of(&moments, &design, Filter::Ols, Default::default(), None)?;
        let fit = Fit::of(&moments, &whitening, data.x.len(), "y")?;
        let shared = Transformer::of(&whitening, &[fit], &Default::default())?;
        let mut separate = shared.clone();
        // Zeros of either sign are equal numbers, so bits are what must differ: by one unit in the last place.
        let last = separate.w_k.data.len() - 1;
        separate.w_k.data[last] *= 1.0 + f64::EPSILON;
        separate.w_v.data[last] *= 1.0 - f64::EPSILON;
        let x = Matrix::from_fn(data.rows, data.x.len(), |i, j| data.x[j][i]);
        Ok(Self { shared, separate, x_single: x.cast(), x })
    }

    /// What the peers read: tokens with their constant and without their means, the one map to keys, and `W_p`.
    fn write(&self, folder: &Path) -> std::io::Result<()> {
        let tokens = Matrix::from_fn(self.x.rows, 1 + self.x.columns, |i, j| match j {
            0 => 1.0,
            _ => self.x.at(i, j - 1) - self.shared.x_mean[j - 1],
        });
        for (name, matrix) in [("tokens", &tokens), ("w", &self.shared.w_q), ("w_p", &self.shared.w_p)] {
            let bytes: Vec<u8> = matrix.data.iter().flat_map(|x| x.to_le_bytes()).collect();
            std::fs::write(folder.join(format!("{name}.f64")), bytes)?;
        }
        Ok(())
    }
}

/// Name, layout, what is computed, and how to time it once: seconds and some predictions.
type Way = (&'static str, &'static str, &'static str, fn(&Prepared) -> Result<(f64, Vec<f64>), Error>);

const WAYS: &[Way] = &[
    ("hattention, keys shared", "doubles", "one projection", |p| pass(&p.shared, &p.x)),
    ("hattention, three projections", "doubles", "three projections", |p| pass(&p.separate, &p.x)),
    ("hattention, keys shared", "singles", "one projection", |p| pass(&p.shared, &p.x_single)),
    ("hattention, three projections", "singles", "three projections", |p| pass(&p.separate, &p.x_single)),
];

fn pass<T: Real>(model: &Transformer, x: &Matrix<T>) -> Result<(f64, Vec<f64>), Error> {
    let layer = model.layer::<T>()?;
    let start = Instant::now();
    let predictions = layer.among(x, None)?;
    let seconds = start.elapsed().as_secs_f64();
    Ok((seconds, predictions.data.iter().take(PREDICTIONS).map(|y| y.to_f64()).collect()))
}

/// Predictions that are compared.
const PREDICTIONS: usize = 100;

pub(crate) fn run(options: &Options) -> Result<Value, Failure> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|e| Failure::work(format!("cannot start threads: {e}")))?;
    let (rows, columns) = if options.quick { QUICK } else { SHAPE };
    eprintln!("── attention, {rows} x {columns}");
    let broken = |e: &dyn std::fmt::Display| Failure::work(format!("the pass cannot be prepared: {e}"));
    let data = pool.install(|| Data::new(rows, columns));
    let prepared = pool.install(|| Prepared::new(&data)).map_err(|e| broken(&e))?;
    let folder = tempfile::tempdir().map_err(|e| broken(&e))?;
    prepared.write(folder.path()).map_err(|e| broken(&e))?;
    let mut notes = Vec::new();
    let mut peer = None;
    if let Some(python) = &options.python {
        let started = Peer::start(peer::python(python, &["serve-attention"], options.threads)).and_then(|mut peer| {
            peer.ask(&format!("load {} {rows} {}", folder.path().display(), columns + 1)).map(|_| peer)
        });
        match started {
            Ok(started) => peer = Some(started),
            Err(why) => notes.push(json!(format!("left out: {why}"))),
        }
    }
    let own = WAYS.iter().map(|(name, layout, computes, _)| Contestant::new(name, layout, computes));
    let mut contestants: Vec<Contestant> = own.collect();
    let greeting = peer.as_ref().map_or(Value::Null, |peer| peer.greeting.clone());
    for said in greeting["peers"].as_array().into_iter().flatten() {
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        contestants.push(Contestant::new(&text("name"), &text("layout"), &text("computes")));
    }
    let mut once = |index: usize| -> Result<(f64, Vec<f64>), String> {
        std::thread::sleep(SETTLE);
        match (WAYS.get(index), &mut peer) {
            (Some((.., run)), _) => pool.install(|| run(&prepared)).map_err(|e| e.to_string()),
            (None, Some(peer)) => {
                let answer = peer.ask(&format!("run {}", index - WAYS.len()))?;
                let numbers = answer["predictions"].as_array().into_iter().flatten();
                let numbers = numbers.map(|v| v.as_f64().unwrap_or(f64::NAN)).collect();
                Ok((answer["seconds"].as_f64().ok_or("no time in the answer")?, numbers))
            }
            (None, None) => Err("no such contestant".to_owned()),
        }
    };
    let (_, expected) = once(0).map_err(|e| broken(&e))?;
    let mut others = Vec::new();
    for round in 0..=options.rounds {
        others.push(json!(machine::cores_of_others()));
        for step in 0..contestants.len() {
            let index = (round + step) % contestants.len();
            match once(index) {
                // The first round only warms up.
                Ok((_, predictions)) if round == 0 => {
                    if !predictions.is_empty() {
                        contestants[index].compare_to_size(&predictions, &expected);
                    }
                }
                Ok((seconds, _)) => contestants[index].seconds.push(seconds),
                Err(why) => contestants[index].remark = Some(why),
            }
        }
    }
    Ok(json!({
        "date": options.date,
        "commit": machine::commit(),
        "machine": machine::describe(),
        "threads": options.threads,
        "rounds": options.rounds,
        "quick": options.quick,
        "versions": greeting["versions"],
        "rows": rows,
        "columns": columns,
        "cores_of_others": others,
        "contestants": contestants.iter().map(Contestant::to_json).collect::<Vec<_>>(),
        "notes": notes,
    }))
}
