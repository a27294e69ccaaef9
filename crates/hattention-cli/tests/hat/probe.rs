//! `hat probe`: attention of a model that PyTorch trained, arrays of all kinds, and what is refused.

use serde_json::Value;

use crate::support::{Folder, hat_json, number, reference, root};

fn model() -> String {
    root().join("reference/data/attention.safetensors").display().to_string()
}

/// All means over queries agree with NumPy's.
fn agrees(found: &Value, expected: &Value) {
    let (found, expected) = (found["head"].as_array().unwrap(), expected.as_array().unwrap());
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        for (name, value) in expected.as_object().unwrap() {
            let (got, value) = match name.as_str() {
                "pooled_variance" => (number(&found["pooled"]["variance"]), number(value)),
                _ => (number(&found[name]), number(value)),
            };
            assert!((got - value).abs() <= 1e-12 * (1.0 + value.abs()), "{name}: {got} and {value}");
        }
    }
}

#[test]
fn attention_of_a_trained_model_is_as_numpy_says() {
    let (file, expected) = (model(), reference("probe.json"));
    for (layer, expected) in expected["logits"].as_object().unwrap() {
        agrees(&hat_json(&["probe", &file, "--logits", layer, "--json"])["attention"][0], expected);
    }
    // The pair is found by its names.
    let found = hat_json(&["probe", &file, "--causal", "--quiet", "--json"]);
    assert_eq!((&found["kind"], &found["attention"][0]["name"]), (&"queries and keys".into(), &"layers.0".into()));
    agrees(&found["attention"][0], &expected["queries and keys"]);
    // Of logits in units of the temperature: the same weights.
    let logits = hat_json(&["probe", &file, "--logits", "layers.0.logits", "--temperature", "4", "--json"]);
    for (a, b) in
        logits["attention"][0]["head"].as_array().unwrap().iter().zip(found["attention"][0]["head"].as_array().unwrap())
    {
        for name in ["internal_energy", "free_energy", "entropy", "heat_capacity"] {
            let (a, b) = (number(&a[name]), number(&b[name]));
            assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{name}: {a} {b}");
        }
    }
}

/// A .npy file of version 1.
fn npy(kind: &str, fortran: bool, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut head = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while (10 + head.len() + 1) % 64 != 0 {
        head.push(' ');
    }
    head.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((head.len() as u16).to_le_bytes());
    file.extend(head.bytes());
    file.extend(bytes);
    file
}

fn doubles(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn singles(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[test]
fn arrays_of_numpy_are_logits_queries_and_keys_or_weights() {
    let folder = Folder::new();
    // Two keys of energies 0 and ln 3: weights 3/4 and 1/4.
    let third = -(3f64.ln());
    folder.file("logits.npy", npy("<f8", false, "(2, 2)", &doubles(&[0.0, third, f64::NEG_INFINITY, 5.0])));
    folder.file("turned.npy", npy("<f8", true, "(2, 2)", &doubles(&[0.0, f64::NEG_INFINITY, third, 5.0])));
    folder.file("weights.npy", npy("<f4", false, "(2, 2)", &singles(&[0.75, 0.25, 0.0, 1.0])));
    folder.file("q.npy", npy("<f4", false, "(1, 2)", &singles(&[1.0, 0.0])));
    folder.file("k.npy", npy("<f4", false, "(2, 2)", &singles(&[0.0, 7.0, third as f32, 1.0])));
    let json = |args: &[&str]| -> Value {
        serde_json::from_str(&folder.done(&[args, &["--json", "--quiet"]].concat())).unwrap()
    };
    let head = |args: &[&str]| json(args)["attention"][0]["head"][0].clone();
    let entropy = 4f64.ln() - 0.75 * 3f64.ln();
    for args in [&["probe", "logits.npy"][..], &["probe", "turned.npy"], &["probe", "weights.npy", "--probabilities"]] {
        let head = head(args);
        // The second query reads one key.
        assert!((number(&head["entropy"]) - entropy / 2.0).abs() < 1e-7, "{args:?}");
        assert!((number(&head["participation"]) - (1.6 + 1.0) / 2.0).abs() < 1e-6);
        assert_eq!(number(&head["keys"]), 1.5);
    }
    assert!(head(&["probe", "weights.npy", "--probabilities"])["pooled"].is_null());
    let pair = head(&["probe", "q.npy", "--keys", "k.npy", "--temperature", "1"]);
    assert!((number(&pair["entropy"]) - entropy).abs() < 1e-7);
    let own = json(&["probe", "q.npy", "--keys", "k.npy"]);
    assert!((number(&own["temperature"]) - 2f64.sqrt()).abs() < 1e-15);
    // The table has a row a query, the page stands alone.
    let text = folder.done(&["probe", "logits.npy", "--table", "all.csv", "-o", "page.html"]);
    assert!(
        text.contains("capacity C") && text.contains("logits.npy: logits, 1 head, 2 queries, 2 keys, temperature 1")
    );
    let table = std::fs::read_to_string(folder.path("all.csv")).unwrap();
    assert_eq!(table.lines().count(), 3);
    assert!(table.starts_with("attention,head,batch,query,keys,log_partition,internal_energy,entropy,"));
    let page = std::fs::read_to_string(folder.path("page.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("heat capacity C by temperature") && !page.contains("<script"));
    folder.done(&["probe", "logits.npy", "--table", "all.parquet"]);
    assert!(std::fs::read(folder.path("all.parquet")).unwrap().starts_with(b"PAR1"));
}

#[test]
fn attention_regressions_are_probed_by_the_rows_they_read() {
    let folder = Folder::new();
    let rows: String = (0..60).map(|i| format!("{},{}\n", f64::from(i) / 60.0, (f64::from(i) / 9.0).sin())).collect();
    folder.file("d.csv", format!("x,y\n{rows}"));
    let fit = ["attend", "fit", "y ~ x", "d.csv", "--heads", "2", "--penalty", "0.1", "--quiet"];
    folder.done(&[&fit[..], &["-o", "bare.hat"]].concat());
    folder.done(&[&fit[..], &["-o", "full.hat", "--store-training"]].concat());
    let full = folder.done(&["probe", "full.hat", "--json"]);
    let bare = folder.done(&["probe", "bare.hat", "--train", "d.csv", "--json"]);
    assert_eq!(full.replace("full.hat", "bare.hat"), bare);
    let found: Value = serde_json::from_str(&full).unwrap();
    let head = &found["attention"][0]["head"][0];
    // (As `hat attend` counts them.)
    assert_eq!((number(&head["head"]), number(&head["keys"])), (1.0, 59.0));
    assert!(number(&head["effective_keys"]) > 1.0 && number(&head["effective_keys"]) < 59.0);
    folder.refused(&["probe", "bare.hat"], 2, &["keeps no training rows", "--train SOURCE"]);
    folder.refused(&["probe", "full.hat", "--causal"], 2, &["is an attention regression", "leave out"]);
    folder.done(&["fit", "y ~ x", "d.csv", "-o", "line.hat", "--quiet"]);
    folder.refused(&["probe", "line.hat"], 2, &["hattention-model", "has no softmax", "hat explain"]);
    folder.done(&["attend", "fit", "y ~ x", "d.csv", "--heads", "0", "-o", "none.hat", "--store-training", "--quiet"]);
    folder.refused(&["probe", "none.hat"], 1, &["a linear head alone", "--heads 1"]);
}

#[test]
fn what_is_no_attention_is_refused() {
    let folder = Folder::new();
    let one = doubles(&[1.0; 6]);
    folder.file("good.npy", npy("<f8", false, "(2, 3)", &one));
    folder.file("wide.npy", npy("<f8", false, "(3, 2)", &one));
    folder.file("cut.npy", npy("<f8", false, "(2, 3)", &one[..40]));
    folder.file("empty.npy", npy("<f8", false, "(0, 3)", &[]));
    folder.file("five.npy", npy("<f8", false, "(1, 1, 1, 2, 3)", &one));
    folder.file("whole.npy", npy("<i8", false, "(2, 3)", &one));
    folder.file("other.npy", npy(">f8", false, "(2, 3)", &one));
    let broken = doubles(&[1.0, 1.0, 1.0, 1.0, f64::NAN, 1.0]);
    folder.file("nan.npy", npy("<f8", false, "(2, 3)", &broken));
    folder.file("masked.npy", npy("<f8", false, "(2, 3)", &doubles(&[f64::NEG_INFINITY; 6])));
    folder.file("nothing.npy", "");
    folder.file("text.txt", "these are no numbers");
    std::fs::File::create(folder.path("large.npy")).unwrap().set_len(17 << 30).unwrap();
    let refused = |args: &[&str], words: &[&str]| folder.refused(&[&["probe"], args].concat(), 2, words);
    refused(&["cut.npy"], &["cut.npy of shape [2, 3] has 40 bytes of numbers, expected 48", "save it again"]);
    refused(&["empty.npy"], &["shape", "[0, 3]", "none of them empty"]);
    refused(&["five.npy"], &["[1, 1, 1, 2, 3]", "one to four axes"]);
    refused(&["whole.npy"], &["numbers `<i8`", "astype"]);
    refused(&["other.npy"], &["numbers `>f8`", "astype"]);
    refused(&["nan.npy"], &["nan.npy", "NaN", "head 0, query 1, key 1"]);
    refused(&["masked.npy"], &["no query reads a key"]);
    refused(&["nothing.npy"], &["it is empty"]);
    refused(&["large.npy"], &["17.0 GiB, and 16 are read at most", "queries and keys"]);
    refused(&["absent.npy"], &["cannot read absent.npy"]);
    refused(&["text.txt"], &["neither .npy nor a whole .safetensors file"]);
    refused(&["good.npy", "--probabilities"], &["sum to 3.0000", "without --probabilities"]);
    refused(&["good.npy", "--causal"], &["--causal is for queries and keys"]);
    refused(&["good.npy", "--keys", "wide.npy"], &["do not fit", "expected 3"]);
    refused(&["good.npy", "--keys", "text.txt"], &["text.txt is no .npy file"]);
    refused(&["good.npy", "--logits", "a"], &["without a name"]);
    refused(&["good.npy", "--temperature", "-1"], &["the temperature is -1", "positive"]);
    refused(&["good.npy", "-o", "a.svg"], &["expected a page", ".html"]);
    refused(&["good.npy", "--table", "a.txt"], &["a.txt", ".csv or .parquet"]);
    refused(&["good.npy", "--table", "good.npy"], &["good.npy"]);
    refused(&["good.npy", "--train", "x.csv"], &["attention regressions"]);
    let file = model();
    refused(&[&file, "--logits", "layers.7"], &["has no array `layers.7`", "`layers.0.key` [4, 64, 16]"]);
    refused(&[&file, "--keys", "layers.0.key"], &["without --queries"]);
    // Masks that were added and not put in are told by how far they lie below.
    folder.file("added.npy", npy("<f8", false, "(1, 3)", &doubles(&[1.0, 2.0, -3000.0])));
    assert!(folder.hat(&["probe", "added.npy"]).err.contains("scores span 3002"));
    let masked = folder.hat(&["probe", "added.npy", "--masked", "-1000"]);
    assert!(!masked.err.contains("span") && masked.out.contains("\n0        2 "), "{}", masked.out);
    folder.file("huge.npy", npy("<f8", false, "(1, 2)", &doubles(&[1e200, 0.0])));
    refused(&["huge.npy"], &["beyond 1e150"]);
    // A query that reads nothing is left out, and said to be.
    folder.file("some.npy", npy("<f8", false, "(2, 2)", &doubles(&[1.0, 2.0, f64::NEG_INFINITY, -1e9])));
    let out = folder.hat(&["probe", "some.npy"]);
    assert!(out.err.contains("1 query reads no key and was left out"), "{}", out.err);
}
