//! Frozen designs: prediction, second passes, storage; and layouts that join.

use serde_json::{Value, json};

use super::*;

fn frozen(formula: &str, batch: &RecordBatch) -> Frozen {
    Frozen::new(&scanned(formula, batch).0.layout()).unwrap_or_else(|error| panic!("{formula}: {error}"))
}

/// Formulas with orthogonal polynomials in interactions.
pub(super) const POLYNOMIALS: [&str; 7] = [
    "y ~ b*poly(x, 2)",
    "y ~ poly(x, 2):b",
    "y ~ b + poly(x, 2):b:a - 1",
    "y ~ poly(x, 3):z",
    "y ~ z + poly(x, 2):z:d",
    "y ~ poly(x, 2)*poly(z, 2)",
    "y ~ poly(x, 2):poly(z, 1):a:poly(k, 2, raw)",
];

/// The columns of a frozen block, by the position of the coefficient and then the auxiliary ones; zeros where a column is
/// not there.
fn frozen_matrix(frozen: &Frozen, block: &EncodedBlock) -> Vec<Vec<f64>> {
    let columns = block.columns();
    let positions = 0..frozen.coding().columns.len() + frozen.coding().auxiliary.len();
    let column = |position: usize| match columns.iter().find(|(id, _)| *id == position) {
        Some((_, column)) => dense(*column, block.rows()),
        None => vec![0.0; block.rows()],
    };
    positions.map(column).collect()
}

const FORMULAS: [&str; 9] = [
    "y ~ a*b + x",
    "y ~ a:b - 1",
    "y ~ x:a + C(k, ref = 6) + d",
    "y ~ a:b + a:c",
    "y ~ poly(x, 3) + log(z + 1)",
    "y ~ b*poly(x, 2, raw)",
    "cbind(y, x) ~ . - k",
    "y ~ 1",
    "y ~ x:z",
];

/// The coding with its auxiliary columns behind the coefficients.
fn all_columns(design: &Design) -> Coding {
    let mut coding = design.coding().unwrap();
    coding.columns.append(&mut coding.auxiliary);
    coding
}

#[test]
fn training_rows_encode_to_the_coded_columns() {
    let batch = crossed();
    for formula in FORMULAS.into_iter().chain(POLYNOMIALS) {
        let (design, block) = scanned(formula, &batch);
        let frozen = frozen(formula, &batch);
        assert_eq!(frozen.coding().names(), design.coding().unwrap().names());
        let again =
            frozen.encoder(&batch.schema(), &FrozenOptions { targets: true, ..FrozenOptions::default() }).unwrap();
        let again = again.encode(&batch, 0).unwrap();
        assert_eq!(frozen_matrix(&frozen, &again), matrix(&all_columns(&design), &block), "{formula}");
        let targets = |block: &EncodedBlock| {
            block.targets().into_iter().map(|target| dense(target, block.rows())).collect::<Vec<_>>()
        };
        assert_eq!(targets(&again), targets(&block), "{formula}");
    }
}

#[test]
fn descriptions_survive_json() {
    let batch = crossed();
    for formula in FORMULAS.into_iter().chain(POLYNOMIALS) {
        let frozen = frozen(formula, &batch);
        let text = frozen.to_json().unwrap().to_string();
        let back = Frozen::from_json(&serde_json::from_str(&text).unwrap())
            .unwrap_or_else(|error| panic!("{formula}: {error}"));
        assert_eq!((back.spec(), back.coding()), (frozen.spec(), frozen.coding()), "{formula}");
        let layout = scanned(formula, &batch).0.layout();
        assert_eq!(StateLayout::from_json(&layout.to_json().unwrap()).unwrap(), layout, "{formula}");
    }
}

#[test]
fn an_unobserved_combination_is_still_a_column() {
    let batch =
        table(&[("y", doubles(&[1.0, 2.0, 3.0])), ("a", texts(&["p", "q", "q"])), ("b", texts(&["s", "s", "t"]))]);
    let frozen = frozen("y ~ a:b - 1", &batch);
    let back = Frozen::from_json(&frozen.to_json().unwrap()).unwrap();
    assert_eq!(back.coding(), frozen.coding());
    let new = table(&[("a", texts(&["p"])), ("b", texts(&["t"]))]);
    let block = back.encoder(&new.schema(), &FrozenOptions::default()).unwrap().encode(&new, 0).unwrap();
    let ids: Vec<usize> = block.columns().iter().map(|(id, _)| *id).collect();
    assert_eq!(
        (ids, back.coding().columns[2].name.as_str(), back.coding().columns[2].state_column),
        (vec![2], "ap:bt", None)
    );
}

#[test]
fn prediction_gives_one_row_for_each_row() {
    let frozen = frozen("y ~ a + x", &crossed());
    let new = table(&[
        ("x", doubles(&[Some(1.0), None, Some(3.0), Some(4.0)])),
        ("a", Arc::new(StringArray::from(vec![Some("q"), Some("p"), None, Some("p")])) as ArrayRef),
    ]);
    let encoder = frozen.encoder(&new.schema(), &FrozenOptions::default()).unwrap();
    assert_eq!(encoder.input_columns(), ["a", "x"]);
    let block = encoder.encode(&new, 0).unwrap();
    assert_eq!((block.rows(), block.input_rows(), block.targets().len()), (2, 4, 0));
    assert_eq!(block.valid().unwrap(), [true, false, false, true]);
    assert_eq!(frozen_matrix(&frozen, &block), [[1.0, 0.0], [0.0, 0.0], [1.0, 4.0]]);
    assert_eq!(block.scatter(&[5.0, 6.0]), [Some(5.0), None, None, Some(6.0)]);
}

#[test]
fn unseen_levels_are_errors_or_null_rows() {
    let frozen = frozen("y ~ a + b", &crossed());
    let new = table(&[("a", texts(&["q", "P", "p"])), ("b", texts(&["s", "s", "t"]))]);
    let encode = |unseen| {
        let options = FrozenOptions { unseen, ..FrozenOptions::default() };
        frozen.encoder(&new.schema(), &options).unwrap().encode(&new, 7)
    };
    let error = encode(Unseen::Error).unwrap_err();
    assert_eq!(
        error,
        TableError::UnseenLevel { row: 9, column: "a".into(), level: "P".into(), known: 3, nearest: vec!["p".into()] }
    );
    let block = encode(Unseen::Null).unwrap();
    assert_eq!((block.rows(), block.unseen(), block.kept()), (2, 1, Some(&[0u32, 2][..])));
    assert_eq!(block.unseen_levels(), [("a".to_owned(), "P".to_owned())]);
    assert_eq!(frozen_matrix(&frozen, &block), [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]);
}

#[test]
fn unseen_and_missing_rows_go_together() {
    let frozen = frozen("y ~ a*x", &crossed());
    let new = table(&[
        ("a", texts(&["q", "new", "p", "new", "r"])),
        ("x", doubles(&[None, Some(1.0), Some(2.0), None, Some(5.0)])),
    ]);
    let options = FrozenOptions { unseen: Unseen::Null, ..FrozenOptions::default() };
    let block = frozen.encoder(&new.schema(), &options).unwrap().encode(&new, 0).unwrap();
    assert_eq!((block.kept(), block.unseen(), block.dropped()), (Some(&[2u32, 4][..]), 1, 3));
    assert_eq!(frozen_matrix(&frozen, &block)[4], [0.0, 5.0]);
}

#[test]
fn second_passes_read_weights_targets_and_extras() {
    let batch = table(&[
        ("y", doubles(&[Some(1.0), None, Some(3.0), Some(4.0)])),
        ("x", doubles(&[1.0, 2.0, 3.0, 4.0])),
        ("w", doubles(&[Some(1.0), Some(1.0), None, Some(2.0)])),
        ("id", integers(&[1, 2, 3, 4])),
    ]);
    let options = DesignOptions { weights: Some("w".into()), ..DesignOptions::default() };
    let design = Design::compile(&Formula::parse("y ~ x").unwrap(), &batch.schema(), &options).unwrap();
    let first = design.encode(&batch, 0, NaPolicy::Drop).unwrap();
    let frozen = Frozen::new(&design.layout()).unwrap();
    let options = FrozenOptions { targets: true, weights: true, extras: vec!["id".into()], ..FrozenOptions::default() };
    let again = frozen.encoder(&batch.schema(), &options).unwrap().encode(&batch, 0).unwrap();
    assert_eq!((again.kept(), again.weights()), (first.kept(), first.weights()));
    assert_eq!((again.rows(), again.extras().len()), (2, 1));
    let alone = frozen.encoder(&batch.schema(), &FrozenOptions::default()).unwrap();
    assert_eq!(alone.input_columns(), ["x"]);
    assert_eq!(alone.encode(&batch, 0).unwrap().rows(), 4);
}

#[test]
fn tables_of_another_shape_are_refused() {
    let frozen = frozen("y ~ a + x", &crossed());
    let encoder = |batch: RecordBatch| frozen.encoder(&batch.schema(), &FrozenOptions::default()).map(|_| ());
    let error = encoder(table(&[("a", texts(&["p"])), ("X", doubles(&[1.0]))])).unwrap_err();
    let columns = vec!["a".into(), "X".into()];
    assert_eq!(error, TableError::UnknownColumn { column: "x".into(), nearest: vec!["X".into()], columns });
    let error = encoder(table(&[("a", integers(&[1])), ("x", doubles(&[1.0]))])).unwrap_err();
    assert_eq!(error, TableError::ColumnType { column: "a".into(), expected: "text".into(), got: "Int64".into() });
    assert_eq!(encoder(table(&[("a", texts(&["p"])), ("x", integers(&[1]))])), Ok(()));
}

#[test]
fn stored_designs_that_do_not_hold_together_are_refused() {
    let good = frozen("y ~ a + C(k, ref = 6)", &crossed()).to_json().unwrap();
    assert!(Frozen::from_json(&good).is_ok());
    let broken: [(&str, fn(&mut Value)); 10] = [
        ("version", |json| json["version"] = json!(2)),
        ("no version", |json| *json = json!({})),
        ("formula", |json| json["spec"]["formula"] = json!("y ~ a +")),
        ("other formula", |json| json["spec"]["formula"] = json!("y ~ a")),
        ("column", |json| json["spec"]["columns"] = json!([])),
        ("levels", |json| json["factors"][0]["levels"] = json!([{"text": "q"}, {"text": "p"}])),
        ("doubled level", |json| json["factors"][0]["levels"][1] = json!({"text": "p"})),
        ("coefficients", |json| json["coefficients"][1] = json!("az")),
        ("unobserved", |json| json["unobserved"] = json!([99])),
        ("unknown field", |json| json["more"] = json!(1)),
    ];
    for (what, spoil) in broken {
        let mut json = good.clone();
        spoil(&mut json);
        assert!(Frozen::from_json(&json).is_err(), "{what}");
    }
    let layout = scanned("y ~ a + x", &crossed()).0.layout().to_json().unwrap();
    let broken: [(&str, fn(&mut Value)); 4] = [
        ("term", |json| json["columns"][0]["term"] = json!(9)),
        ("multiplier", |json| json["columns"][0]["multiplier"] = json!(3)),
        ("doubled", |json| json["columns"][0] = json["columns"][1].clone()),
        ("levels", |json| json["columns"][0]["levels"] = json!([{"text": "p"}, {"text": "q"}])),
    ];
    for (what, spoil) in broken {
        let mut json = layout.clone();
        spoil(&mut json);
        assert!(matches!(StateLayout::from_json(&json), Err(TableError::StoredDesign { .. })), "{what}");
    }
}

#[test]
fn layouts_join_by_the_union_of_their_levels() {
    let batch = crossed();
    let formula = "y ~ a*x + b";
    let (left, _) = scanned(formula, &batch.slice(0, 2));
    let (right, _) = scanned(formula, &batch.slice(2, 70));
    let (joined, places) = left.layout().union(&right.layout()).unwrap();
    assert_eq!(joined.coding().unwrap().names(), scanned(formula, &batch).0.coding().unwrap().names());
    for (column, &place) in right.layout().columns().iter().zip(&places) {
        assert_eq!(&joined.columns()[place], column);
    }
    assert_eq!(joined.columns()[..left.state_columns()], *left.layout().columns());
}

#[test]
fn layouts_of_different_designs_do_not_join() {
    let batch = crossed();
    let layout = |formula: &str, batch: &RecordBatch| scanned(formula, batch).0.layout();
    let refused = |left: &StateLayout, right: &StateLayout| match left.union(right) {
        Err(TableError::Incompatible { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let base = layout("y ~ a + x", &batch);
    assert_eq!(refused(&base, &layout("y ~ a*x", &batch)), "the formula");
    assert_eq!(refused(&base, &layout("y ~ a + x - 1", &batch)), "the formula");
    assert_eq!(refused(&base, &layout("log(y + 1) ~ a + x", &batch)), "the formula");
    assert_eq!(refused(&layout("y ~ C(a)", &batch), &layout("y ~ C(a, ref = 'q')", &batch)), "the formula");
    let other = table(&[("y", doubles(&[1.0])), ("a", doubles(&[1.0])), ("x", doubles(&[1.0]))]);
    assert_eq!(refused(&base, &layout("y ~ a + x", &other)), "the type of `a`");
    assert!(base.union(&layout("y~a+ x", &batch)).is_ok());
}
