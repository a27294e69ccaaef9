//! `hat lab`: what is listed, run, resumed, reported and refused.

use std::path::Path;

use serde_json::Value;

use crate::support::{Outcome, hat_in};

fn hat(folder: &Path, args: &[&str]) -> Outcome {
    Outcome::of(hat_in(folder).env("HATTENTION_COMMIT", "0123abc").args(args))
}

fn refused(folder: &Path, args: &[&str], words: &[&str]) {
    let outcome = hat(folder, args);
    outcome.is_refusal(args, 2, words);
    assert_eq!(outcome.out, "", "{args:?}");
}

#[test]
fn experiments_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let list = hat(folder.path(), &["lab", "list"]);
    assert!(list.code == 0 && list.out.contains("hopfield-capacity"), "{}", list.err);
    let json: Value = serde_json::from_str(&hat(folder.path(), &["lab", "list", "--json"]).out).unwrap();
    let names: Vec<&str> = json.as_array().unwrap().iter().filter_map(|e| e["name"].as_str()).collect();
    assert!(names.contains(&"hopfield-capacity"));
    assert!(names.iter().all(|name| list.out.contains(name)));
}

#[test]
fn a_run_is_written_resumed_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let smoke = ["lab", "run", "hopfield-capacity", "--smoke", "--seeds", "2", "-o", "out"];
    let first = hat(folder.path(), &smoke);
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(first.out.contains("smoke run") && first.out.contains(" 0 already there"), "{}", first.out);
    let here = folder.path().join("out/hopfield-capacity");
    let summary: Value = serde_json::from_slice(&std::fs::read(here.join("summary.json")).unwrap()).unwrap();
    assert_eq!((&summary["commit"], &summary["seeds"]), (&Value::from("0123abc"), &Value::from(2)));
    assert!(summary["machine"].as_str().is_some_and(|m| m.contains(" cores")));
    let again = hat(folder.path(), &[&smoke[..], &["--json"]].concat());
    assert_eq!(serde_json::from_str::<Value>(&again.out).unwrap(), summary);
    let report = hat(folder.path(), &["lab", "report", "out/hopfield-capacity", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&report.out).unwrap(), summary, "{}", report.err);
    let left: Vec<_> = std::fs::read_dir(&here).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "{left:?}");

    let broken = here.join("runs/few-errors-60.json");
    std::fs::write(&broken, "{\"experiment\": \"hopf").unwrap();
    refused(folder.path(), &["lab", "report", "out/hopfield-capacity"], &["few-errors-60.json", "JSON", "hint:"]);
    let mended = hat(folder.path(), &smoke);
    assert!(mended.err.contains("few-errors-60") && mended.err.contains("run again"), "{}", mended.err);
    assert!(mended.out.contains(" 1 units run"), "{}", mended.out);
    refused(folder.path(), &["lab", "run", "hopfield-capacity", "-o", "out"], &["smoke", "full", "-o"]);
}

#[test]
fn what_cannot_be_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    refused(at, &["lab", "run", "hopfeld-capacity", "--smoke"], &["hopfeld-capacity", "`hopfield-capacity`"]);
    let unused = ["lab", "run", "hopfield-capacity", "--smoke", "--device", "cuda"];
    refused(at, &unused, &["hopfield-capacity", "cuda", "trains nothing", "--device"]);
    if cfg!(not(feature = "cuda")) {
        let cuda = ["lab", "run", "icl-one-layer", "--smoke", "--device", "cuda"];
        refused(at, &cuda, &["cuda", "built without", "--features cuda"]);
    }
    let model = ["lab", "run", "symp-language-model", "--smoke", "--set"];
    refused(at, &[&model[..], &["width"]].concat(), &["--set is `width`", "NAME=VALUE", "hint: "]);
    refused(at, &[&model[..], &["wide=8"]].concat(), &["wide=8", "its units have", "width"]);
    std::fs::write(at.join("latin"), b"na\xefve").unwrap();
    refused(at, &["lab", "run", "symp-leak", "--smoke", "--data", "latin"], &["latin", "UTF-8"]);
    refused(at, &["lab", "run", "symp-leak", "--smoke", "--data", "gone"], &["gone"]);
    refused(at, &["lab", "run", "hopfield-capacity", "--smoke", "--seeds", "0"], &["--seeds", "0"]);
    std::fs::write(at.join("file"), "").unwrap();
    refused(at, &["lab", "run", "hopfield-capacity", "--smoke", "-o", "file"], &["file", "name a folder"]);
    let device = ["lab", "run", "hopfield-capacity", "--smoke", "-o", "/dev/null"];
    refused(at, &device, &["/dev/null", "hint: name a folder"]);
    refused(at, &["lab", "report", "nowhere"], &["nowhere", "no runs"]);
    std::fs::create_dir_all(at.join("empty/runs")).unwrap();
    refused(at, &["lab", "report", "empty"], &["empty", "no runs"]);
}
