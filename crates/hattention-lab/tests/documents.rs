//! What the documents say of the lab is what its full runs found: links, numbers, verdicts; and heads state thresholds.

use std::path::{Path, PathBuf};

use hattention_lab::Error;
use hattention_lab::claim::{Claim, Criterion, number};
use hattention_lab::experiment::{Results, Size};
use hattention_lab::experiments::ALL;
use hattention_lab::run::{Host, Provenance, report};
use serde_json::Value;

/// Experiments all of whose claims stand on the page.
const WHOLE: [&str; 4] = ["ols-construction", "ols-shift", "ols-training", "ols-depth"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn summary(experiment: &str) -> Value {
    let path = root().join("results").join(experiment).join("summary.json");
    serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

/// The cells of a claim: the number with its interval, and the verdict.
fn cells(claim: &Value) -> (String, String) {
    let text = |value: &Value| value.as_f64().map_or("—".to_owned(), number);
    let (measured, interval) = (text(&claim["measured"]), &claim["interval"]);
    let measured = match interval.is_object() {
        true => format!("{measured} ({} to {})", text(&interval["low"]), text(&interval["high"])),
        false => measured,
    };
    (measured, claim["verdict"].as_str().unwrap().to_owned())
}

/// Experiment and claim of a link to a report.
fn linked(text: &str) -> Option<(&str, &str)> {
    let (experiment, rest) = text.split_once("](../results/")?.1.split_once("/report.html#")?;
    Some((experiment, rest.split_once(')')?.0))
}

/// The page with what the summaries say in its rows, and the claims it links.
fn current(page: &str) -> (String, Vec<(String, String)>) {
    let mut claims = Vec::new();
    let line = |line: &str| -> String {
        let parts: Vec<&str> = line.split(" | ").collect();
        let Some((experiment, id)) = linked(line) else { return line.to_owned() };
        assert!(
            parts.len() == 4 && line.matches("report.html#").count() == 1,
            "no row of four cells with one link: {line}"
        );
        let summary = summary(experiment);
        assert_eq!(summary["size"], "full", "{experiment}");
        let found = summary["claims"].as_array().unwrap().iter().find(|claim| claim["id"] == id);
        let (measured, verdict) = cells(found.unwrap_or_else(|| panic!("{experiment} has no claim `{id}`")));
        claims.push((experiment.to_owned(), id.to_owned()));
        format!("{} | {} | {measured} | {verdict} |", parts[0], parts[1])
    };
    let lines: Vec<String> = page.lines().map(line).collect();
    (lines.join("\n") + "\n", claims)
}

/// `UPDATE_DOCUMENTS=1 cargo test` writes the page anew; without it the test says what is out of date.
#[test]
fn the_page_on_the_construction_says_what_was_found() {
    let path = root().join("docs/construction.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (now, claims) = current(&page);
    for (experiment, id) in &claims {
        let shown = std::fs::read_to_string(root().join("results").join(experiment).join("report.html")).unwrap();
        assert!(shown.contains(&format!("id=\"{id}\"")), "the report of {experiment} has no anchor `{id}`");
    }
    for experiment in WHOLE {
        for claim in summary(experiment)["claims"].as_array().unwrap() {
            let id = claim["id"].as_str().unwrap();
            let said = claims.iter().any(|(e, i)| e == experiment && i == id);
            assert!(said, "docs/construction.md does not name `{id}` of {experiment}");
        }
    }
    for experiment in ALL {
        assert!(
            claims.iter().any(|(e, _)| e == experiment.name),
            "docs/construction.md leaves out {}",
            experiment.name
        );
    }
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(&path, now).unwrap();
        return;
    }
    for (said, found) in page.lines().zip(now.lines()) {
        assert_eq!(said, found, "docs/construction.md is out of date: run `UPDATE_DOCUMENTS=1 cargo test --release`");
    }
}

/// A host that writes to a copy.
struct Quiet;

impl Host for Quiet {
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        std::fs::write(path, bytes).map_err(|e| Error::File { path: path.display().to_string(), why: e.to_string() })
    }

    fn note(&self, text: &str) {
        panic!("{text}");
    }

    fn progress(&self, _: usize, _: usize, _: &str, _: f64) {}

    fn provenance(&self) -> Provenance {
        Provenance { commit: String::new(), machine: String::new() }
    }
}

/// What is committed is whole, was made by committed code, and is what this code makes of the units' files; and no share has
/// a threshold that its number of trials cannot meet, even if all of them succeed.
#[test]
fn full_runs_are_current_and_their_claims_can_be_met() {
    for name in WHOLE {
        let here = root().join("results").join(name);
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("runs")).unwrap();
        for file in std::fs::read_dir(here.join("runs")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join("runs").join(file.file_name())).unwrap();
        }
        let outcome = report(copy.path(), &Quiet).unwrap();
        assert_eq!(outcome.missing, Vec::<String>::new(), "{name}");
        let committed = summary(name);
        assert!(committed["seeds"].as_u64() >= Some(20) && committed["units"]["planned"] == committed["units"]["run"]);
        assert!(!committed["commit"].as_str().unwrap().contains("changes"), "{name} was run from a changed tree");
        for (now, then) in outcome.judgement.claims.iter().zip(committed["claims"].as_array().unwrap()) {
            let words = (then["id"].as_str().unwrap(), then["verdict"].as_str().unwrap());
            assert_eq!((now.id(), now.verdict().words()), words, "{name}: run `hat lab report results/{name}`");
            if let Some(trials) = now.interval().and_then(|i| i.trials) {
                let all = now.threshold().can_be_met_by(trials);
                assert!(all, "{name}: `{}` asks of {trials} trials what they cannot show", now.id());
            }
        }
        let page = std::fs::read_to_string(here.join("report.html")).unwrap();
        let made = std::fs::read_to_string(copy.path().join("report.html")).unwrap();
        assert!(page == made, "{name}: run `hat lab report results/{name}`");
    }
}

/// Whether a claim's name follows a pattern with `*` for its end.
fn follows(id: &str, pattern: &str) -> bool {
    pattern.strip_suffix('*').map_or(id == pattern, |start| id.starts_with(start))
}

/// The numbers of a text, as `0.95`, `1e-12`, `1,000`, `−1.05`.
fn numbers(text: &str) -> Vec<f64> {
    let plain = text.replace('−', "-").replace(',', "");
    let words = plain.split(|c: char| !(c.is_ascii_digit() || ".e-".contains(c)));
    words.filter_map(|word| word.trim_matches(['.', 'e']).trim_end_matches('-').parse().ok()).collect()
}

/// The numbers of a claim's threshold. Those of these claims are predictions, which the head says in words.
fn limits(claim: &Claim) -> Vec<f64> {
    if ["square-", "gram-"].iter().any(|start| claim.id().starts_with(start)) {
        return Vec::new();
    }
    let of = |criterion: &Criterion| match *criterion {
        Criterion::AtMost { limit } | Criterion::AtLeast { limit } => vec![limit],
        Criterion::Within { low, high } => vec![low, high],
        Criterion::Covers { value } => vec![value],
    };
    let threshold = claim.threshold();
    let partly = threshold.partly.iter().flat_map(of);
    of(&threshold.criterion).into_iter().chain(partly).chain(threshold.widest).collect()
}

/// What stands in the code stands in the head: an item of the thresholds that names the claim has its numbers.
#[test]
fn heads_state_the_thresholds_of_every_claim() {
    for experiment in ALL.iter().filter(|e| WHOLE.contains(&e.name)) {
        let head = experiment.head();
        let section = head.split("## Thresholds").nth(1).unwrap().split("\n## ").next().unwrap();
        assert!(head.contains("\n## Revisions"), "{}: the head does not say what was changed", experiment.name);
        let judgement = (experiment.judge)(&experiment.plan(Size::Full, None), &Results::default()).unwrap();
        for claim in &judgement.claims {
            let naming = |item: &&str| item.split('`').skip(1).step_by(2).any(|pattern| follows(claim.id(), pattern));
            let found: Vec<&str> = section.split("\n- ").filter(naming).collect();
            assert!(!found.is_empty(), "{}: the thresholds do not name `{}`", experiment.name, claim.id());
            let stated: Vec<f64> = found.iter().flat_map(|item| numbers(item)).collect();
            for limit in limits(claim) {
                let near = |x: &f64| (x - limit).abs() <= 0.01 * limit.abs();
                assert!(
                    stated.iter().any(near),
                    "{} `{}`: {limit} is not among {stated:?}",
                    experiment.name,
                    claim.id()
                );
            }
        }
    }
}
