//! What the documents say of the lab is what its full runs found: links, numbers, verdicts; and heads state thresholds.

use std::path::{Path, PathBuf};

use hattention_lab::Error;
use hattention_lab::claim::{Claim, Criterion, number};
use hattention_lab::experiment::{Experiment, Results, Size};
use hattention_lab::experiments::ALL;
use hattention_lab::run::{Host, Provenance, report};
use serde_json::Value;

/// Experiments all of whose claims stand on the page.
const WHOLE: [&str; 4] = ["ols-construction", "ols-shift", "ols-training", "ols-depth"];
/// Pages, and the experiments that each is about.
const PAGES: [(&str, &[&str]); 3] = [
    (
        "construction.md",
        &[
            "ols-construction",
            "ols-shift",
            "ols-training",
            "ols-depth",
            "ols-evolution",
            "icl-one-layer",
            "hopfield-capacity",
            "attreg-monte-carlo",
            "attreg-real-data",
            "attreg-identification",
            "attreg-weights",
            "temperature-dial",
        ],
    ),
    ("accelerated-attention.md", &["symp-theory", "symp-convergence", "symp-leak", "symp-language-model"]),
    ("thermodynamics.md", &["thermo-identities", "thermo-regression", "grokking-reference", "grokking-specific-heat"]),
];
/// Experiments whose full run has not come or is not whole; what is must leave this list.
const AWAITED: [&str; 2] = ["attreg-monte-carlo", "attreg-real-data"];

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

/// `UPDATE_DOCUMENTS=1 cargo test` writes the pages anew; without it the test says what is out of date.
#[test]
fn pages_say_what_was_found() {
    for experiment in &ALL {
        let on = PAGES.iter().filter(|(_, about)| about.contains(&experiment.name)).count();
        assert_eq!(on, 1, "{} belongs on one page", experiment.name);
    }
    for (name, about) in PAGES {
        check_page(name, about);
    }
}

fn check_page(name: &str, about: &[&str]) {
    let path = root().join("docs").join(name);
    let page = std::fs::read_to_string(&path).unwrap();
    let (now, claims) = current(&page);
    for (experiment, id) in &claims {
        let shown = std::fs::read_to_string(root().join("results").join(experiment).join("report.html")).unwrap();
        assert!(shown.contains(&format!("id=\"{id}\"")), "the report of {experiment} has no anchor `{id}`");
    }
    for experiment in WHOLE.iter().filter(|experiment| about.contains(experiment)) {
        for claim in summary(experiment)["claims"].as_array().unwrap() {
            let id = claim["id"].as_str().unwrap();
            let said = claims.iter().any(|(e, i)| e == experiment && i == id);
            assert!(said, "docs/{name} does not name `{id}` of {experiment}");
        }
    }
    for experiment in about.iter().filter(|experiment| !AWAITED.contains(experiment)) {
        assert!(claims.iter().any(|(e, _)| e == experiment), "docs/{name} leaves out {experiment}");
    }
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(&path, now).unwrap();
        return;
    }
    for (said, found) in page.lines().zip(now.lines()) {
        assert_eq!(said, found, "docs/{name} is out of date: run `UPDATE_DOCUMENTS=1 cargo test --release`");
    }
}

/// A host that writes to a copy.
struct Quiet {
    /// Whether units may miss.
    partly: bool,
}

impl Host for Quiet {
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        std::fs::write(path, bytes).map_err(|e| Error::File { path: path.display().to_string(), why: e.to_string() })
    }

    fn note(&self, text: &str) {
        assert!(self.partly && text.contains("were not run"), "{text}");
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
    for experiment in &ALL {
        let name = experiment.name;
        let here = root().join("results").join(name);
        if AWAITED.contains(&name) {
            let nothing = (experiment.judge)(&experiment.plan(Size::Full, None), &Results::default()).unwrap();
            check_head(experiment, &nothing.claims);
            if !here.exists() {
                continue;
            }
        }
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("runs")).unwrap();
        for file in std::fs::read_dir(here.join("runs")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join("runs").join(file.file_name())).unwrap();
        }
        let outcome = report(copy.path(), &Quiet { partly: AWAITED.contains(&name) }).unwrap();
        if AWAITED.contains(&name) {
            assert!(!outcome.missing.is_empty(), "{name} has come");
            continue;
        }
        assert_eq!(outcome.missing, Vec::<String>::new(), "{name}");
        let committed = summary(name);
        let seeds = experiment.seeds.full.min(20) as u64;
        assert!(
            committed["seeds"].as_u64() >= Some(seeds) && committed["units"]["planned"] == committed["units"]["run"]
        );
        assert!(!committed["commit"].as_str().unwrap().contains("changes"), "{name} was run from a changed tree");
        check_head(experiment, &outcome.judgement.claims);
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

/// Whether a claim's name follows a pattern with `*` for anything.
fn follows(id: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return id == pattern };
    let Some(id) = id.strip_prefix(start) else { return false };
    (0..=id.len()).filter(|at| id.is_char_boundary(*at)).any(|at| follows(&id[at..], rest))
}

#[test]
fn patterns_of_names() {
    for (id, pattern, expected) in [
        ("linear-0-scale", "*-scale", true),
        ("linear-0-scale", "linear-*", true),
        ("exponential-0-rate-rest", "exponential-*-rate", false),
        ("few-errors-limit", "few-errors", false),
        ("a", "*", true),
    ] {
        assert_eq!(follows(id, pattern), expected, "{id} {pattern}");
    }
}

/// The numbers of a text, as `0.95`, `1e-12`, `1,000`, `−1.05`.
fn numbers(text: &str) -> Vec<f64> {
    let plain = text.replace('−', "-").replace(',', "");
    let words = plain.split(|c: char| !(c.is_ascii_digit() || ".e-".contains(c)));
    words.filter_map(|word| word.trim_matches(['.', 'e']).trim_end_matches('-').parse().ok()).collect()
}

/// The numbers of a claim's threshold. Those of these claims are predictions, which the head says in words.
fn limits(claim: &Claim) -> Vec<f64> {
    let id = claim.id();
    if (id.starts_with("square-") && id != "square-is-products")
        || id.starts_with("gram-")
        || id.ends_with("rate-finite-size")
    {
        return Vec::new();
    }
    // The distances from an exponent that count, not the exponent, which is that of the memory's degree.
    if let (true, Some(Criterion::Within { low, high })) = (id.contains("-exponent"), claim.threshold().partly) {
        return claim.threshold().widest.into_iter().chain([(high - low) / 2.0]).collect();
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
fn check_head(experiment: &Experiment, claims: &[Claim]) {
    let (name, head) = (experiment.name, experiment.head());
    let section = head.split("## Thresholds").nth(1).unwrap().split("\n## ").next().unwrap();
    assert!(head.contains("\n## Revisions"), "{name}: the head does not say what was changed");
    let plain = |item: &str| item.split_whitespace().collect::<Vec<_>>().join(" ");
    let items: Vec<String> = section.split("\n- ").map(plain).collect();
    for claim in claims {
        let naming = |text: &str| text.split('`').skip(1).step_by(2).any(|pattern| follows(claim.id(), pattern));
        // Some heads give each sentence its claims; in the others a threshold may stand in the next one.
        let sentences = |item: &String| -> Vec<String> {
            if WHOLE.contains(&name) { vec![item.clone()] } else { item.split(". ").map(str::to_owned).collect() }
        };
        let found: Vec<String> = items.iter().flat_map(sentences).filter(|text| naming(text)).collect();
        assert!(!found.is_empty(), "{name}: the thresholds do not name `{}`", claim.id());
        // Numbers inside names state nothing; those of formulas do.
        let is_name = |word: &str| claims.iter().any(|claim| follows(claim.id(), word));
        let words = found.iter().flat_map(|text| text.split('`').filter(|word| !is_name(word)));
        let stated: Vec<f64> = words.flat_map(numbers).collect();
        for limit in limits(claim) {
            let near = |x: &f64| (x - limit).abs() <= 0.01 * limit.abs();
            assert!(stated.iter().any(near), "{name} `{}`: {limit} is not among {stated:?}", claim.id());
        }
    }
}
