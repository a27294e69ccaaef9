//! Encoding: values, missing values, what is refused, and the state's columns.

use arrow::array::{AsArray, DictionaryArray, NullArray, StringViewArray};
use arrow::datatypes::{Int32Type, UInt8Type};

use super::*;

fn encode(formula: &str, batch: &RecordBatch, options: &DesignOptions) -> Result<EncodedBlock, TableError> {
    Design::compile(&Formula::parse(formula)?, &batch.schema(), options)?.encode(batch, 100, NaPolicy::Drop)
}

#[test]
fn products_and_powers_are_pairs_only_where_doubles_round() {
    let x = 1.0 + 2f64.powi(-40);
    let batch = table(&[("y", doubles(&[1.0, 2.0])), ("x", doubles(&[x, 2.0])), ("k", integers(&[3, 5]))]);
    let (_, block) = scanned("y ~ x + I(x^2) + k + x:k + poly(k, 3)", &batch);
    let kinds: Vec<bool> = block.columns().iter().map(|(_, column)| matches!(column, Column::Pair { .. })).collect();
    assert_eq!(kinds, [false, true, false, false, false, false, false]);
    let (_, square) = block.columns()[1];
    assert!(matches!(square, Column::Pair { hi, lo } if hi[0] == 1.0 + 2f64.powi(-39) && lo[0] == 2f64.powi(-80)));
}

#[test]
fn wide_integers_stay_exact() {
    let wide = (1i64 << 60) + 1;
    let batch = table(&[("y", integers(&[wide, 1])), ("x", integers(&[wide, 2]))]);
    let (_, block) = scanned("y ~ x", &batch);
    for column in [block.columns()[0].1, block.targets()[0]] {
        assert!(matches!(column, Column::Pair { hi, lo } if hi[0] == 2f64.powi(60) && lo[0] == 1.0));
    }
}

#[test]
fn targets_may_be_several_and_transformed() {
    let batch = table(&[("y", doubles(&[1.0, 4.0])), ("flag", booleans(&[true, false])), ("x", doubles(&[1.0, 2.0]))]);
    let (design, block) = scanned("cbind(sqrt(y), flag, y - x) ~ x", &batch);
    let targets: Vec<Vec<f64>> = block.targets().into_iter().map(|target| dense(target, 2)).collect();
    assert_eq!(targets, [[1.0, 2.0], [1.0, 0.0], [0.0, 2.0]]);
    assert_eq!(design.layout().names().unwrap().1, ["sqrt(y)", "flag", "y - x"]);
    let (ids, whole) = block.block();
    assert_eq!((ids, whole.columns.len(), whole.rows), (vec![0], 4, 2));
}

#[test]
fn categories_of_numbers_are_factors_and_numbers_in_arithmetic() {
    let category: DictionaryArray<Int32Type> =
        DictionaryArray::new(vec![Some(1), Some(0), Some(2), None].into(), integers(&[2, 10, 2]));
    let batch = table(&[("y", doubles(&[1.0, 2.0, 3.0, 4.0])), ("c", Arc::new(category) as ArrayRef)]);
    let (design, block) = scanned("y ~ c", &batch);
    assert_eq!((block.rows(), design.spec().columns[1].1), (3, ColumnKind::Category));
    assert_eq!(design.coding().unwrap().names(), ["(Intercept)", "c10"]);
    let (_, block) = scanned("c ~ I(c^2)", &batch);
    assert_eq!(dense(block.targets()[0], 3), [10.0, 2.0, 2.0]);
    assert_eq!(dense(block.columns()[0].1, 3), [100.0, 4.0, 4.0]);
    // A frozen design takes plain numbers for them, and no text.
    let frozen = Frozen::new(&design.layout()).unwrap();
    let plain = table(&[("c", integers(&[10]))]);
    let encoder = frozen.encoder(&plain.schema(), &FrozenOptions::default()).unwrap();
    assert_eq!(encoder.encode(&plain, 0).unwrap().rows(), 1);
    let text = table(&[("c", texts(&["10"]))]);
    assert!(matches!(
        frozen.encoder(&text.schema(), &FrozenOptions::default()),
        Err(TableError::ColumnType { expected, .. }) if expected == "category"
    ));
}

#[test]
fn rows_with_missing_values_are_dropped_and_counted_by_column() {
    let batch = table(&[
        ("y", doubles(&[Some(1.0), None, Some(3.0), Some(4.0), Some(5.0)])),
        ("x", doubles(&[1.0, f64::NAN, f64::NAN, 4.0, 5.0])),
        ("g", Arc::new(StringArray::from(vec![Some("a"), Some("b"), Some("c"), None, Some("a")])) as ArrayRef),
        ("w", doubles(&[1.0, 1.0, 1.0, 1.0, 2.0])),
        ("id", texts(&["i", "j", "k", "l", "m"])),
        ("unused", doubles::<Option<f64>>(&[None, None, None, None, None])),
    ]);
    let options = DesignOptions { weights: Some("w".into()), extras: vec!["id".into()], ..DesignOptions::default() };
    let design = Design::compile(&Formula::parse("y ~ x + g").unwrap(), &batch.schema(), &options).unwrap();
    assert_eq!(design.input_columns(), ["y", "x", "g", "w", "id"]);
    let block = design.encode(&batch, 10, NaPolicy::Drop).unwrap();
    assert_eq!((block.rows(), block.dropped(), block.input_rows()), (2, 3, 5));
    assert_eq!(block.missing(), [("y".to_owned(), 1), ("x".to_owned(), 2), ("g".to_owned(), 1)]);
    assert_eq!((block.kept(), block.row_number(1)), (Some(&[0u32, 4][..]), 15));
    assert_eq!(block.valid().unwrap(), [true, false, false, false, true]);
    assert_eq!(block.weights(), Some(&[1.0, 2.0][..]));
    assert_eq!(block.extras()[0].as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["i", "m"]);
    // Levels of dropped rows are never seen, as under R's na.omit.
    assert_eq!(design.layout().names().unwrap().0, ["x", "ga"]);
    let error = design.encode(&batch, 10, NaPolicy::Fail).unwrap_err();
    assert_eq!(error, TableError::MissingValue { row: 12, column: "y".into() });
}

#[test]
fn a_batch_may_have_no_rows_left() {
    let batch = table(&[
        ("y", doubles::<Option<f64>>(&[None, None])),
        ("g", texts(&["a", "b"])),
        ("n", Arc::new(NullArray::new(2)) as ArrayRef),
    ]);
    for formula in ["y ~ g", "y ~ g:n", "y ~ I(n^2) + poly(n, 2)"] {
        let (design, block) = scanned(formula, &batch);
        assert_eq!((block.rows(), block.dropped()), (0, 2), "{formula}");
        assert!(design.coding().is_ok() || formula == "y ~ g", "{formula}");
    }
    let empty = batch.slice(0, 0);
    let (_, block) = scanned("y ~ g", &empty);
    assert_eq!((block.rows(), block.columns().len()), (0, 0));
}

#[test]
fn infinite_values_name_their_row() {
    let batch = table(&[
        ("y", doubles(&[1.0, 2.0, 3.0])),
        ("x", doubles(&[1.0, 0.0, -1.0])),
        ("z", doubles(&[f64::NAN, 1.0, f64::NEG_INFINITY])),
    ]);
    let refused = |formula: &str| match encode(formula, &batch, &DesignOptions::default()) {
        Err(TableError::NonFinite { row, expression, value }) => (row, expression, value),
        other => panic!("{formula}: {other:?}"),
    };
    assert_eq!(refused("y ~ z"), (103, "z".into(), "-inf".into()));
    assert_eq!(refused("z ~ y"), (103, "z".into(), "-inf".into()));
    assert_eq!(refused("y ~ C(z)"), (103, "z".into(), "-inf".into()));
    assert_eq!(refused("y ~ log(x)"), (102, "log(x)".into(), "-inf".into()));
    assert_eq!(refused("y ~ x + I(1/x)").0, 102);
    assert_eq!(refused("log(x) ~ y"), (102, "log(x)".into(), "-inf".into()));
    assert_eq!(refused("y ~ sqrt(x)"), (103, "sqrt(x)".into(), "NaN".into()));
    let huge = table(&[
        ("y", doubles(&[1.0, 2.0])),
        ("x", doubles(&[1.0, 1e200])),
        ("z", doubles(&[1.0, 1e200])),
        ("g", texts(&["a", "b"])),
    ]);
    for (formula, label) in [("y ~ x:z", "x:z"), ("y ~ g:x:z", "g:x:z"), ("y ~ poly(x, 2)", "poly(x, 2)")] {
        let error = encode(formula, &huge, &DesignOptions::default()).unwrap_err();
        assert!(
            matches!(&error, TableError::NonFinite { row: 102, expression, .. } if expression == label),
            "{formula}: {error}"
        );
    }
}

#[test]
fn weights_are_checked() {
    let batch = table(&[("y", doubles(&[1.0, 2.0])), ("w", doubles(&[0.0, -1.0])), ("t", texts(&["a", "b"]))]);
    let weighted =
        |by: &str| encode("y ~ 1", &batch, &DesignOptions { weights: Some(by.into()), ..DesignOptions::default() });
    assert_eq!(weighted("w").unwrap_err(), TableError::NegativeWeight { row: 102, column: "w".into(), value: -1.0 });
    assert!(matches!(weighted("t").unwrap_err(), TableError::ColumnType { column, .. } if column == "t"));
    assert!(matches!(weighted("v").unwrap_err(), TableError::UnknownColumn { column, .. } if column == "v"));
}

#[test]
fn columns_of_the_wrong_kind_are_refused() {
    let batch = crossed();
    let named = table(&[("y", doubles(&[1.0])), ("dep_delay", doubles(&[1.0])), ("hour", doubles(&[1.0]))]);
    let error = compile("y ~ dep_dealy", &named).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown column `dep_dealy`, expected one of the table's columns, nearest: `dep_delay`"
    );
    assert_eq!(error.hint().unwrap(), "did you mean `dep_delay`?");
    for formula in ["a ~ x", "y ~ log(a)", "y ~ I(x + a)", "y ~ poly(a, 2)"] {
        let error = compile(formula, &batch).unwrap_err();
        assert!(matches!(&error, TableError::ColumnType { column, .. } if column == "a"), "{formula}: {error}");
    }
    let design = compile("y ~ a", &batch).unwrap();
    let other = table(&[("y", doubles(&[1.0])), ("a", doubles(&[1.0]))]);
    assert!(
        matches!(design.encode(&other, 0, NaPolicy::Drop), Err(TableError::ColumnType { column, .. }) if column == "a")
    );
    let lists =
        table(&[("y", doubles(&[1.0])), ("l", Arc::new(arrow::array::BinaryArray::from(vec![&b"x"[..]])) as ArrayRef)]);
    assert!(matches!(compile("y ~ l", &lists), Err(TableError::ColumnType { column, .. }) if column == "l"));
    let handed_on = DesignOptions { extras: vec!["l".into()], ..DesignOptions::default() };
    assert_eq!(encode("y ~ 1", &lists, &handed_on).unwrap().extras().len(), 1);
}

#[test]
fn the_dot_is_every_other_column() {
    let batch = table(&[("y", doubles(&[1.0, 2.0])), ("x", doubles(&[1.0, 2.0])), ("my g", texts(&["a", "b"]))]);
    let (design, _) = scanned("log(y) ~ .", &batch);
    assert_eq!(design.coding().unwrap().names(), ["(Intercept)", "x", "`my g`b"]);
    assert_eq!(design.spec().dot, ["x", "my g"]);
}

#[test]
fn a_factor_with_too_many_levels_is_refused_before_memory_goes() {
    let rows = 10_000;
    let names: Vec<String> = (0..rows).map(|i| format!("id{i}")).collect();
    let batch = table(&[
        ("y", doubles(&vec![1.0; rows])),
        ("id", texts(&names.iter().map(String::as_str).collect::<Vec<_>>())),
        ("x", doubles(&vec![1.0; rows])),
    ]);
    let error = encode("y ~ id", &batch, &DesignOptions::default()).unwrap_err();
    assert_eq!(error, TableError::TooManyLevels { factor: "id".into(), levels: 4097, limit: 4096 });
    assert!(error.hint().unwrap().contains("identifier"));
    let narrow = DesignOptions { column_limit: 11, ..DesignOptions::default() };
    let few = batch.slice(0, 8);
    assert!(encode("y ~ x + id", &few, &narrow).is_ok());
    let error = encode("y ~ x + id + id:x", &few, &narrow).unwrap_err();
    assert_eq!(error, TableError::TooManyLevels { factor: "id".into(), levels: 6, limit: 11 });
    let error = encode("y ~ poly(x, 12)", &few, &narrow).unwrap_err();
    assert_eq!(error, TableError::TooManyColumns { got: 12, limit: 11 });
}

#[test]
fn texts_of_every_arrow_type_make_the_same_block() {
    let values = ["b", "a", "b", "c"];
    let arrays: [ArrayRef; 4] = [
        texts(&values),
        Arc::new(StringViewArray::from(values.to_vec())),
        Arc::new(values.iter().copied().collect::<DictionaryArray<Int32Type>>()),
        Arc::new(values.iter().copied().collect::<DictionaryArray<UInt8Type>>()),
    ];
    for array in arrays {
        let (design, block) = scanned("y ~ g", &table(&[("y", doubles(&[1.0; 4])), ("g", array)]));
        assert_eq!(design.coding().unwrap().names(), ["(Intercept)", "gb", "gc"]);
        let columns: Vec<Vec<f64>> = matrix(&design.coding().unwrap(), &block);
        assert_eq!(columns, [[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]);
    }
}

#[test]
fn batches_in_any_order_make_the_same_state() {
    let batch = crossed();
    let formula = "y ~ a*b + x:c + poly(z, 2)";
    let (whole, all) = scanned(formula, &batch);
    let split = compile(formula, &batch).unwrap();
    let mut blocks: Vec<(usize, EncodedBlock)> = Vec::new();
    for start in [50, 0, 20, 35] {
        let length = [(0, 20), (20, 15), (35, 15), (50, 22)].iter().find(|(at, _)| *at == start).unwrap().1;
        let part = batch.slice(start, length);
        blocks.push((start, split.encode(&part, start as u64, NaPolicy::Drop).unwrap()));
    }
    blocks.sort_by_key(|(start, _)| *start);
    let (one, other) = (whole.layout(), split.layout());
    let (one, other) = (one.reordered(&one.canonical_order()), other.reordered(&other.canonical_order()));
    assert_eq!(one, other);
    let coding = split.coding().unwrap();
    let expected = matrix(&whole.coding().unwrap(), &all);
    for (position, column) in expected.iter().enumerate() {
        let joined: Vec<f64> = blocks.iter().flat_map(|(_, block)| matrix(&coding, block)[position].clone()).collect();
        assert_eq!(&joined, column);
    }
}

#[test]
fn threads_share_one_design() {
    let batch = crossed();
    let design = compile("y ~ a:b + c", &batch).unwrap();
    std::thread::scope(|scope| {
        for start in 0..8 {
            let (design, part) = (&design, batch.slice(start * 9, 9));
            scope.spawn(move || design.encode(&part, 0, NaPolicy::Drop).unwrap());
        }
    });
    let (alone, _) = scanned("y ~ a:b + c", &batch);
    assert_eq!(design.coding().unwrap().names(), alone.coding().unwrap().names());
    assert_eq!(design.state_columns(), alone.state_columns());
}

#[test]
fn only_columns_that_occur_are_in_a_block() {
    let batch = table(&[("y", doubles(&[1.0, 2.0, 3.0])), ("g", texts(&["b", "a", "c"]))]);
    let (design, _) = scanned("y ~ g", &batch);
    let last = design.encode(&batch.slice(2, 1), 2, NaPolicy::Drop).unwrap();
    assert_eq!(last.columns().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2]);
    assert_eq!(last.row_number(0), 3);
    assert_eq!(last.scatter(&[7.0]), [Some(7.0)]);
}
