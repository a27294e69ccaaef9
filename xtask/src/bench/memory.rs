//! Fits of arrays in memory.

use serde_json::{Value, json};

use super::contestant::Contestant;
use super::data::Data;
use super::ours::{Run, WAYS};
use super::peer::{self, Peer};
use super::{Options, machine};
use crate::Failure;

/// Before each run: the threads of OpenBLAS stay awake, looking for work, for some 30 ms after a call, and would take a
/// core from whoever comes next.
const SETTLE: std::time::Duration = std::time::Duration::from_millis(100);

/// How to run a contestant once.
enum Runner {
    Ours(usize),
    /// Of which peer, and its number there.
    Peer(usize, usize),
}

pub(crate) fn run(options: &Options, results: &mut Value) -> Result<(), Failure> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|e| Failure::work(format!("cannot start threads: {e}")))?;
    let mut peers = start_peers(options, results);
    for &(rows, columns) in &options.shapes {
        eprintln!("── {rows} x {columns}");
        let data = pool.install(|| Data::new(rows, columns));
        let folder = tempfile::tempdir().map_err(|e| Failure::work(format!("cannot make a temporary folder: {e}")))?;
        data.write(folder.path()).map_err(|e| Failure::work(format!("cannot write the data: {e}")))?;
        let mut race = Race::new(options, &data, &pool, &mut peers);
        let load = format!("load {} {rows} {columns}", folder.path().display());
        race.loaded = race.peers.iter_mut().map(|p| p.ask(&load).map(|_| ())).collect();
        let digits = race.run()?;
        let contestants: Vec<Value> = race.contestants.iter().map(|(c, _)| c.to_json()).collect();
        let shape = json!({
            "rows": rows,
            "columns": columns,
            "cores_of_others": race.others,
            "exact_digits": digits,
            "contestants": contestants,
        });
        results["memory"].as_array_mut().expect("made as a list").push(shape);
    }
    Ok(())
}

/// Starts Python and R; what cannot be started is noted in the results.
fn start_peers(options: &Options, results: &mut Value) -> Vec<Peer> {
    let python = options.python.as_ref().map(|path| peer::python(path, &["serve"], options.threads));
    let r = options.wants("R lm.fit").then(|| peer::r(&options.rscript, &["serve"], options.threads));
    let mut peers = Vec::new();
    for command in [python, r].into_iter().flatten() {
        match Peer::start(command) {
            Ok(peer) => {
                machine::merge_versions(results, &peer.greeting["versions"]);
                peers.push(peer);
            }
            Err(why) => {
                eprintln!("left out: {why}");
                results["notes"].as_array_mut().expect("made as a list").push(json!(why));
            }
        }
    }
    peers
}

struct Race<'a> {
    options: &'a Options,
    data: &'a Data,
    pool: &'a rayon::ThreadPool,
    peers: &'a mut Vec<Peer>,
    /// Whether each peer could read the data.
    loaded: Vec<Result<(), String>>,
    contestants: Vec<(Contestant, Runner)>,
    /// Cores that others kept busy, before each round.
    others: Vec<Option<f64>>,
}

impl<'a> Race<'a> {
    fn new(options: &'a Options, data: &'a Data, pool: &'a rayon::ThreadPool, peers: &'a mut Vec<Peer>) -> Self {
        let mut contestants: Vec<(Contestant, Runner)> = WAYS
            .iter()
            .enumerate()
            .map(|(number, way)| (Contestant::new(way.name, "columns", way.computes), Runner::Ours(number)))
            .collect();
        for (index, peer) in peers.iter().enumerate() {
            for (number, said) in peer.greeting["peers"].as_array().into_iter().flatten().enumerate() {
                let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
                if options.wants(&text("name")) {
                    let contestant = Contestant::new(&text("name"), &text("layout"), &text("computes"));
                    contestants.push((contestant, Runner::Peer(index, number)));
                }
            }
        }
        Self { options, data, pool, peers, loaded: Vec::new(), contestants, others: Vec::new() }
    }

    /// One untimed run of everyone, then rounds that start with another contestant each time, so that drift of the
    /// machine meets all alike. Returns the digits of the coefficients all are compared with.
    fn run(&mut self) -> Result<f64, Failure> {
        let (exact, digits) = self.exact()?;
        let count = self.contestants.len();
        let mut rounds = vec![0; count];
        for (index, left) in rounds.iter_mut().enumerate() {
            match self.once(index) {
                Ok(run) => {
                    let contestant = &mut self.contestants[index].0;
                    contestant.compare(&run.coefficients, &exact);
                    *left = ((self.options.budget / run.seconds) as usize).clamp(1, self.options.rounds);
                    if *left < self.options.rounds {
                        contestant.remark = Some(format!("{left} rounds"));
                    }
                    eprintln!("{:>10.1} ms  {} ({})", 1e3 * run.seconds, contestant.name, contestant.layout);
                }
                Err(why) => {
                    let contestant = &mut self.contestants[index].0;
                    eprintln!("    failed     {} ({}): {why}", contestant.name, contestant.layout);
                    contestant.remark = Some(why);
                }
            }
        }
        for round in 0..self.options.rounds {
            self.others.push(machine::cores_of_others());
            for step in 0..count {
                let index = (round + step) % count;
                if round < rounds[index] {
                    self.timed(index);
                }
            }
        }
        Ok(digits)
    }

    fn timed(&mut self, index: usize) {
        let run = self.once(index);
        let contestant = &mut self.contestants[index].0;
        match run {
            Ok(run) => {
                contestant.seconds.push(run.seconds);
                run.parts.iter().for_each(|&(name, value)| contestant.part(name, value));
            }
            Err(why) => contestant.remark = Some(why),
        }
    }

    fn once(&mut self, index: usize) -> Result<Run, String> {
        std::thread::sleep(SETTLE);
        match self.contestants[index].1 {
            Runner::Ours(number) => self.pool.install(|| (WAYS[number].run)(self.data)).map_err(|e| e.to_string()),
            Runner::Peer(peer, number) => {
                self.loaded[peer].clone()?;
                let answer = self.peers[peer].ask(&format!("run {number}"))?;
                let numbers = answer["coefficients"].as_array();
                Ok(Run {
                    seconds: answer["seconds"].as_f64().ok_or("no time in the answer")?,
                    parts: Vec::new(),
                    coefficients: numbers.into_iter().flatten().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect(),
                })
            }
        }
    }

    /// hattention's coefficients and the digits it states for them.
    fn exact(&self) -> Result<(Vec<f64>, f64), Failure> {
        self.pool
            .install(|| super::ours::exact(self.data))
            .map_err(|e| Failure::work(format!("hattention's own fit failed: {e}")))
    }
}
