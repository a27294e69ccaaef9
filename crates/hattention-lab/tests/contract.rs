//! The contract of every experiment: its smoke run makes the files it must, verdicts follow from thresholds, units resume.

use std::path::Path;
use std::sync::Mutex;

use hattention_lab::Error;
use hattention_lab::experiment::{Experiment, Judgement, Plan, Results, Seeds, Size, Unit};
use hattention_lab::experiments::{ALL, find};
use hattention_lab::rows::Row;
use hattention_lab::run::{Host, Provenance, report, run};
use hattention_lab::train::Device;
use serde_json::{Value, json};

/// A host that remembers what it was told.
#[derive(Default)]
struct Listener {
    notes: Mutex<Vec<String>>,
}

impl Listener {
    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }
}

impl Host for Listener {
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        std::fs::write(path, bytes).map_err(|e| Error::File { path: path.display().to_string(), why: e.to_string() })
    }

    fn note(&self, text: &str) {
        self.notes.lock().unwrap().push(text.to_owned());
    }

    fn progress(&self, _: usize, _: usize, _: &str, _: f64) {}

    fn provenance(&self) -> Provenance {
        Provenance { commit: "abc".to_owned(), machine: "a machine".to_owned() }
    }
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn plan(experiment: &Experiment) -> Plan {
    // (The others read a file, or nothing.)
    let folder = experiment.name.starts_with("attreg").then(|| "../../data".into());
    Plan { data: folder, ..experiment.plan(Size::Smoke, None) }
}

#[test]
fn every_experiment_keeps_the_contract() {
    for experiment in &ALL {
        let name = experiment.name;
        let folder = tempfile::tempdir().unwrap();
        let host = Listener::default();
        let outcome = run(experiment, &plan(experiment), folder.path(), &host).unwrap();
        assert_eq!((outcome.resumed, host.notes()), (0, vec![]), "{name}");
        let here = folder.path().join(name);
        let summary = json_of(&here.join("summary.json"));
        assert_eq!(summary, outcome.summary);
        assert_eq!((&summary["experiment"], &summary["size"]), (&json!(name), &json!("smoke")));
        assert_eq!((&summary["commit"], &summary["machine"]), (&json!("abc"), &json!("a machine")));
        assert!(summary["seeds"].is_u64() && summary["seconds"].is_f64(), "{name}");
        check_claims(name, &summary);
        check_table(name, &std::fs::read_to_string(here.join("results.csv")).unwrap());
        let page = std::fs::read_to_string(here.join("report.html")).unwrap();
        assert!(page.contains("<svg") && page.contains("This is a smoke run"), "{name}");
        for claim in summary["claims"].as_array().unwrap() {
            let anchor = format!("id=\"{}\"", claim["id"].as_str().unwrap());
            assert_eq!(page.matches(&anchor).count(), 1, "{name}: documents link to {anchor}");
        }
        for outside in ["src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{name}: the page needs another file: {outside}");
        }
        check_again(experiment, folder.path());
    }
}

fn check_claims(name: &str, summary: &Value) {
    let claims = summary["claims"].as_array().unwrap();
    assert!(!claims.is_empty(), "{name}");
    let mut ids: Vec<&str> = claims.iter().map(|claim| claim["id"].as_str().unwrap()).collect();
    for claim in claims {
        for field in ["claim", "source", "expected", "verdict"] {
            assert!(claim[field].as_str().is_some_and(|text| !text.is_empty()), "{name}: {claim}");
        }
        for field in ["measured", "interval", "threshold"] {
            assert!(claim.get(field).is_some(), "{name}: {claim}");
        }
        let verdicts = ["reproduced", "partly", "not reproduced", "cannot be judged"];
        assert!(verdicts.contains(&claim["verdict"].as_str().unwrap()), "{name}: {claim}");
        assert!(!claim["measured"].is_null() || claim["verdict"] == "cannot be judged", "{name}: {claim}");
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{name}: two claims have one name");
}

fn check_table(name: &str, table: &str) {
    let mut lines = table.lines();
    let head = lines.next().unwrap();
    assert!(head.starts_with("unit,") && head.ends_with("quantity,value"), "{name}: {head}");
    let mut count = 0;
    for line in lines {
        let value = line.rsplit(',').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{name}: {line}");
        count += 1;
    }
    assert!(count > 0, "{name}");
}

/// A second run computes nothing and says the same; so does a report.
fn check_again(experiment: &Experiment, folder: &Path) {
    let host = Listener::default();
    let here = folder.join(experiment.name);
    let first = std::fs::read(here.join("results.csv")).unwrap();
    let again = run(experiment, &plan(experiment), folder, &host).unwrap();
    assert_eq!(again.run, 0);
    assert!(again.resumed > 0);
    assert_eq!(std::fs::read(here.join("results.csv")).unwrap(), first, "{}", experiment.name);
    let reported = report(&here, &host).unwrap();
    assert_eq!(reported.summary, again.summary);
    assert_eq!(host.notes(), Vec::<String>::new());
}

/// Numbers depend on names only: another number of threads, the same bytes.
#[test]
fn threads_do_not_show() {
    for experiment in &ALL {
        let tables = [1, 3].map(|threads| {
            let folder = tempfile::tempdir().unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(experiment, &plan(experiment), folder.path(), &Listener::default())).unwrap();
            std::fs::read_to_string(folder.path().join(experiment.name).join("results.csv")).unwrap()
        });
        assert!(tables[0] == tables[1], "{}", experiment.name);
    }
}

fn smallest() -> &'static Experiment {
    find("hopfield-capacity").unwrap()
}

#[test]
fn units_that_are_not_whole_or_not_current_are_run_again_and_named() {
    let experiment = smallest();
    let folder = tempfile::tempdir().unwrap();
    run(experiment, &plan(experiment), folder.path(), &Listener::default()).unwrap();
    let units = (experiment.units)(&plan(experiment));
    let here = folder.path().join(experiment.name);
    let path = here.join(format!("runs/{}.json", units[0].name));
    let whole = std::fs::read_to_string(&path).unwrap();
    let mut other_version: Value = serde_json::from_str(&whole).unwrap();
    other_version["version"] = json!(experiment.version - 1);
    let mut other_parameters: Value = serde_json::from_str(&whole).unwrap();
    other_parameters["parameters"]["x"] = json!(1);
    let half = whole[..whole.len() / 2].to_owned();
    let broken = [half, String::new(), "{}".to_owned(), other_version.to_string(), other_parameters.to_string()];
    for text in broken {
        std::fs::write(&path, text).unwrap();
        let refused = report(&here, &Listener::default()).unwrap_err();
        assert!(matches!(&refused, Error::Format { path: p, .. } if *p == path.display().to_string()), "{refused}");
        let host = Listener::default();
        let outcome = run(experiment, &plan(experiment), folder.path(), &host).unwrap();
        assert_eq!((outcome.run, outcome.resumed), (1, units.len() - 1));
        let notes = host.notes();
        assert!(notes.len() == 1 && notes[0].contains(&units[0].name), "{notes:?}");
        let (mut made, mut first) = (json_of(&path), serde_json::from_str::<Value>(&whole).unwrap());
        made["seconds"].take();
        first["seconds"].take();
        assert_eq!(made, first);
    }
}

#[test]
fn runs_of_another_size_are_not_replaced() {
    let experiment = smallest();
    let folder = tempfile::tempdir().unwrap();
    run(experiment, &plan(experiment), folder.path(), &Listener::default()).unwrap();
    let refused = run(experiment, &experiment.plan(Size::Full, None), folder.path(), &Listener::default()).unwrap_err();
    assert!(matches!(refused, Error::Occupied { .. }), "{refused}");
    // Nor are those of a run that was cut short: its units say the size.
    let here = folder.path().join(experiment.name);
    std::fs::remove_file(here.join("summary.json")).unwrap();
    let unit = &(experiment.units)(&plan(experiment))[0].name;
    let path = here.join(format!("runs/{unit}.json"));
    let full = std::fs::read_to_string(&path).unwrap().replace("\"size\": \"smoke\"", "\"size\": \"full\"");
    std::fs::write(&path, &full).unwrap();
    let refused = run(experiment, &plan(experiment), folder.path(), &Listener::default()).unwrap_err();
    assert!(matches!(refused, Error::Occupied { .. }), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), full);
}

#[test]
fn runs_of_other_seeds_or_a_newer_version_are_not_replaced() {
    let experiment = smallest();
    let folder = tempfile::tempdir().unwrap();
    run(experiment, &plan(experiment), folder.path(), &Listener::default()).unwrap();
    let unit = &(experiment.units)(&plan(experiment))[0].name;
    let here = folder.path().join(experiment.name);
    let path = here.join(format!("runs/{unit}.json"));
    let whole = std::fs::read_to_string(&path).unwrap();
    let others = Plan { seeds: plan(experiment).seeds + 1, ..plan(experiment) };
    let refused = run(experiment, &others, folder.path(), &Listener::default()).unwrap_err();
    assert!(matches!(refused, Error::Occupied { .. }) && refused.to_string().contains("seeds"), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
    let mut newer: Value = serde_json::from_str(&whole).unwrap();
    newer["version"] = json!(experiment.version + 1);
    std::fs::write(&path, newer.to_string()).unwrap();
    let refused = run(experiment, &plan(experiment), folder.path(), &Listener::default()).unwrap_err();
    assert!(matches!(refused, Error::Occupied { .. }) && refused.to_string().contains("version"), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), newer.to_string());
}

/// Devices add in other orders: a run that resumes on another one would mix their numbers.
#[test]
fn runs_of_another_device_are_not_resumed() {
    let experiment = smallest();
    let folder = tempfile::tempdir().unwrap();
    run(experiment, &plan(experiment), folder.path(), &Listener::default()).unwrap();
    let unit = &(experiment.units)(&plan(experiment))[0].name;
    let here = folder.path().join(experiment.name);
    let path = here.join(format!("runs/{unit}.json"));
    let mut other = json_of(&path);
    assert_eq!(other["device"], json!("cpu"));
    other["device"] = json!("cuda");
    std::fs::write(&path, other.to_string()).unwrap();
    let refused = run(experiment, &plan(experiment), folder.path(), &Listener::default()).unwrap_err();
    assert!(matches!(refused, Error::Occupied { .. }) && refused.to_string().contains("device cuda"), "{refused}");
    assert!(matches!(report(&here, &Listener::default()), Err(Error::Format { .. })));
    // Files from before devices were written down were made on the processor.
    other.as_object_mut().unwrap().remove("device");
    std::fs::write(&path, other.to_string()).unwrap();
    assert_eq!(run(experiment, &plan(experiment), folder.path(), &Listener::default()).unwrap().run, 0);
}

#[test]
fn a_folder_of_several_experiments_is_not_reported() {
    let experiment = smallest();
    let folder = tempfile::tempdir().unwrap();
    run(experiment, &plan(experiment), folder.path(), &Listener::default()).unwrap();
    let here = folder.path().join(experiment.name);
    let unit = &(experiment.units)(&plan(experiment))[0].name;
    let mut foreign = json_of(&here.join(format!("runs/{unit}.json")));
    foreign["experiment"] = json!("ols-shift");
    std::fs::write(here.join("runs/0.json"), foreign.to_string()).unwrap();
    let before = std::fs::read(here.join("report.html")).unwrap();
    let refused = report(&here, &Listener::default()).unwrap_err();
    assert!(matches!(refused, Error::Format { .. }), "{refused}");
    assert_eq!(std::fs::read(here.join("report.html")).unwrap(), before);
}

#[test]
fn what_is_missing_is_said_and_not_judged() {
    let experiment = Experiment {
        name: "hopfield-capacity",
        units: |_| vec![Unit::new("a", json!({})), Unit::new("b", json!({}))],
        run: |_, _| Ok(vec![Row::new().value("v", 1.0)]),
        judge: |_: &Plan, results: &Results| {
            assert_eq!(results.units.len(), 2);
            Ok(Judgement::default())
        },
        ..*smallest()
    };
    let folder = tempfile::tempdir().unwrap();
    run(&experiment, &plan(&experiment), folder.path(), &Listener::default()).unwrap();
    // The registered experiment has other units: these are named and left aside, its own are missing.
    let host = Listener::default();
    let outcome = report(&folder.path().join("hopfield-capacity"), &host).unwrap();
    assert_eq!(outcome.missing.len(), (smallest().units)(&plan(smallest())).len());
    assert_eq!(host.notes().iter().filter(|note| note.contains("left aside")).count(), 2);
    assert!(outcome.judgement.claims.iter().all(|claim| claim.verdict().words() == "cannot be judged"));
    assert!(matches!(report(folder.path(), &host), Err(Error::NoRuns { .. })));
}

#[test]
fn refusals() {
    let experiment = smallest();
    let folder = tempfile::tempdir().unwrap();
    let none = Plan { seeds: 0, ..plan(experiment) };
    assert!(run(experiment, &none, folder.path(), &Listener::default()).is_err());
    let cuda = |experiment| Plan { device: Device::Cuda, ..plan(experiment) };
    let unused = run(experiment, &cuda(experiment), folder.path(), &Listener::default()).unwrap_err();
    assert_eq!(unused, Error::UnusedDevice { experiment: "hopfield-capacity", device: "cuda" });
    #[cfg(not(feature = "cuda"))]
    {
        let trained = find("icl-one-layer").unwrap();
        let refused = run(trained, &cuda(trained), folder.path(), &Listener::default());
        assert!(matches!(refused, Err(Error::Device { device: "cuda", .. })));
    }
    assert_eq!(experiment.plan(Size::Full, None).seeds, experiment.seeds.full);
    assert_eq!(experiment.plan(Size::Smoke, Some(7)).seeds, 7);
    let Seeds { full, smoke } = experiment.seeds;
    assert!(full >= 20 && smoke >= 1);
}

/// A file of data is part of what a result is of: another text replaces nothing, and a report needs it no more.
#[test]
fn results_know_their_text() {
    let experiment = find("symp-leak").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (text, out) = (folder.path().join("text.txt"), folder.path().join("results"));
    let given = Plan { data: Some(text.clone()), ..plan(experiment) };
    let missing = run(experiment, &given, &out, &Listener::default());
    assert!(matches!(missing, Err(Error::File { .. })), "{:?}", missing.err());
    std::fs::write(&text, "all that glisters is not gold ".repeat(50)).unwrap();
    let host = Listener::default();
    let writer = Folders(&host);
    let first = run(experiment, &given, &out, &writer).unwrap();
    assert_eq!(run(experiment, &given, &out, &writer).unwrap().run, 0);
    assert_eq!(report(&out.join("symp-leak"), &writer).unwrap().summary, first.summary);
    std::fs::write(&text, "all that glitters is not gold ".repeat(50)).unwrap();
    for other in [given.clone(), plan(experiment)] {
        let refused = run(experiment, &other, &out, &writer).err().unwrap();
        assert!(matches!(refused, Error::Occupied { .. }) && refused.to_string().contains("1500 bytes"), "{refused}");
    }
    std::fs::write(&text, "short").unwrap();
    let refused = run(experiment, &given, &folder.path().join("other"), &writer).err().unwrap();
    assert!(refused.to_string().contains("the text is 5 characters"), "{refused}");
    let folder_given = Plan { data: Some(folder.path().to_owned()), ..plan(experiment) };
    let refused = run(experiment, &folder_given, &folder.path().join("third"), &writer).err().unwrap();
    assert!(refused.to_string().contains("expected a file of text"), "{refused}");
}

/// Other values for parameters are part of what a result is of, too.
#[test]
fn parameters_can_be_set() {
    let experiment = find("symp-language-model").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let host = Listener::default();
    let writer = Folders(&host);
    let set =
        |name: &str, value: Value| Plan { set: [(name.to_owned(), value)].into_iter().collect(), ..plan(experiment) };
    let wide = set("width", json!(8));
    let first = run(experiment, &wide, folder.path(), &writer).unwrap();
    assert_eq!(
        (run(experiment, &wide, folder.path(), &writer).unwrap().run, &first.summary["set"]["width"]),
        (0, &json!(8))
    );
    assert!(!first.judgement.claims.iter().all(|claim| claim.value().is_none()));
    let here = folder.path().join("symp-language-model");
    assert_eq!(report(&here, &writer).unwrap().summary, first.summary);
    assert!(std::fs::read_to_string(here.join("report.html")).unwrap().contains("width = 8"));
    let refused = run(experiment, &plan(experiment), folder.path(), &writer).err().unwrap();
    assert!(matches!(refused, Error::Occupied { .. }) && refused.to_string().contains("width=8"), "{refused}");
    for (name, value, says) in [
        ("widths", json!(8), "its units have batch, block"),
        ("width", json!("wide"), "a value of the parameter's kind"),
        ("width", json!(-8), "a value of the parameter's kind"),
        ("block", json!("square"), "expected one that there is"),
        ("heads", json!(3), "heads that divide the width"),
    ] {
        let other = folder.path().join(name);
        let refused = run(experiment, &set(name, value), &other, &writer).err().unwrap();
        assert!(refused.to_string().contains(says), "{refused}");
    }
}

/// A host that makes the folders that it needs.
struct Folders<'a>(&'a Listener);

impl Host for Folders<'_> {
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        self.0.write(path, bytes)
    }

    fn note(&self, text: &str) {
        self.0.note(text);
    }

    fn progress(&self, _: usize, _: usize, _: &str, _: f64) {}

    fn provenance(&self) -> Provenance {
        self.0.provenance()
    }
}
