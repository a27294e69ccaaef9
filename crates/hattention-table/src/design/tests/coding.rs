//! Names, order and coding of coefficients, as `colnames(model.matrix(f, data))` in R.

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::array_value_to_string;

use super::*;

/// Formula and the coefficient names of R, joined by a space; `c` and `b` are factors, `x` and `z` numbers.
const CODINGS: &[(&str, &str)] = &[
    ("y ~ 1", "(Intercept)"),
    ("y ~ a", "(Intercept) aq ar"),
    ("y ~ a - 1", "ap aq ar"),
    ("y ~ a + b", "(Intercept) aq ar bt"),
    ("y ~ a + b - 1", "ap aq ar bt"),
    ("y ~ b + a - 1", "bs bt aq ar"),
    ("y ~ x + a - 1", "x ap aq ar"),
    ("y ~ d", "(Intercept) dTRUE"),
    ("y ~ d - 1", "dFALSE dTRUE"),
    ("y ~ b*a", "(Intercept) bt aq ar bt:aq bt:ar"),
    ("y ~ b:a", "(Intercept) bs:ap bt:ap bs:aq bt:aq bs:ar bt:ar"),
    ("y ~ b:a - 1", "bs:ap bt:ap bs:aq bt:aq bs:ar bt:ar"),
    ("y ~ a + b:a", "(Intercept) aq ar ap:bt aq:bt ar:bt"),
    ("y ~ a + b:a - 1", "ap aq ar ap:bt aq:bt ar:bt"),
    ("y ~ a/b", "(Intercept) aq ar ap:bt aq:bt ar:bt"),
    ("y ~ b*x", "(Intercept) bt x bt:x"),
    ("y ~ b:x", "(Intercept) bs:x bt:x"),
    ("y ~ x:b", "(Intercept) x:bs x:bt"),
    ("y ~ x + b:x", "(Intercept) x x:bt"),
    ("y ~ b + b:x", "(Intercept) bt bs:x bt:x"),
    ("y ~ b:x - 1", "bs:x bt:x"),
    ("y ~ b + b:x - 1", "bs bt bs:x bt:x"),
    ("y ~ x + x:b - 1", "x x:bs x:bt"),
    ("y ~ a:b + a:c", "(Intercept) ap:bs aq:bs ar:bs ap:bt aq:bt ar:bt ap:cv aq:cv ar:cv ap:cw aq:cw ar:cw"),
    ("y ~ a:b + b:d", "(Intercept) ap:bs aq:bs ar:bs ap:bt aq:bt ar:bt bs:dTRUE bt:dTRUE"),
    ("y ~ b*d*x", "(Intercept) bt dTRUE x bt:dTRUE bt:x dTRUE:x bt:dTRUE:x"),
    ("y ~ b:d:x", "(Intercept) bs:dFALSE:x bt:dFALSE:x bs:dTRUE:x bt:dTRUE:x"),
    (
        "y ~ b:c:d - 1",
        "bs:cu:dFALSE bt:cu:dFALSE bs:cv:dFALSE bt:cv:dFALSE bs:cw:dFALSE bt:cw:dFALSE bs:cu:dTRUE bt:cu:dTRUE bs:cv:dTRUE bt:cv:dTRUE bs:cw:dTRUE bt:cw:dTRUE",
    ),
    (
        "y ~ b*d + b:c:d",
        "(Intercept) bt dTRUE bt:dTRUE bs:dFALSE:cv bt:dFALSE:cv bs:dTRUE:cv bt:dTRUE:cv bs:dFALSE:cw bt:dFALSE:cw bs:dTRUE:cw bt:dTRUE:cw",
    ),
    ("y ~ (a + b + d)^2", "(Intercept) aq ar bt dTRUE aq:bt ar:bt aq:dTRUE ar:dTRUE bt:dTRUE"),
    ("y ~ x*z", "(Intercept) x z x:z"),
    ("y ~ x:z:b", "(Intercept) x:z:bs x:z:bt"),
    ("y ~ poly(x, 1)", "(Intercept) poly(x, 1)"),
    ("y ~ poly(x, 2)", "(Intercept) poly(x, 2)1 poly(x, 2)2"),
    (
        "y ~ b*poly(x, 2, raw)",
        "(Intercept) bt poly(x, 2, raw)1 poly(x, 2, raw)2 bt:poly(x, 2, raw)1 bt:poly(x, 2, raw)2",
    ),
    (
        "y ~ poly(x, 2, raw):poly(z, 2, raw)",
        "(Intercept) poly(x, 2, raw)1:poly(z, 2, raw)1 poly(x, 2, raw)2:poly(z, 2, raw)1 poly(x, 2, raw)1:poly(z, 2, raw)2 poly(x, 2, raw)2:poly(z, 2, raw)2",
    ),
    (
        "y ~ poly(x, 2, raw):b:z",
        "(Intercept) poly(x, 2, raw)1:bs:z poly(x, 2, raw)2:bs:z poly(x, 2, raw)1:bt:z poly(x, 2, raw)2:bt:z",
    ),
    ("y ~ k", "(Intercept) k"),
    ("y ~ C(k)", "(Intercept) C(k)6 C(k)8"),
    ("y ~ C(k, ref = 6)", "(Intercept) C(k, ref = \"6\")4 C(k, ref = \"6\")8"),
    ("y ~ C(a, ref = 'r')", "(Intercept) C(a, ref = \"r\")p C(a, ref = \"r\")q"),
    ("y ~ C(a, ref = 'r') - 1", "C(a, ref = \"r\")r C(a, ref = \"r\")p C(a, ref = \"r\")q"),
    ("y ~ log(z + 1) + I(x^2)", "(Intercept) log(z + 1) I(x^2)"),
];

#[test]
fn coefficients_are_named_and_ordered_as_in_r() {
    let batch = crossed();
    for &(formula, names) in CODINGS {
        let (design, _) = scanned(formula, &batch);
        let coding = design.coding().unwrap_or_else(|error| panic!("{formula}: {error}"));
        assert_eq!(coding.names(), split(names), "{formula}");
    }
}

/// Splits at the spaces outside brackets.
fn split(names: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for character in names.chars() {
        if character == ' ' && depth == 0 {
            parts.push(String::new());
            continue;
        }
        depth += i32::from(character == '(') - i32::from(character == ')');
        parts.last_mut().unwrap().push(character);
    }
    parts
}

/// The numbers of a column of the table.
fn numbers(batch: &RecordBatch, name: &str) -> Vec<f64> {
    let numbers = cast(batch.column_by_name(name).unwrap(), &DataType::Float64).unwrap();
    numbers.as_primitive::<Float64Type>().values().to_vec()
}

/// The indicator of a level given by its name.
fn indicator(batch: &RecordBatch, factor: &str, level: &str) -> Vec<f64> {
    let column = batch.column_by_name(factor).unwrap();
    let is_level = |i: usize| array_value_to_string(column, i).unwrap().eq_ignore_ascii_case(level);
    (0..batch.num_rows()).map(|i| f64::from(u8::from(is_level(i)))).collect()
}

/// The values that a part of a coefficient's name stands for: `x`, `bt`, `C(k)6`, `poly(x, 2, raw)1`.
fn values_of(part: &str, batch: &RecordBatch) -> Vec<f64> {
    if let Some((polynomial, degree)) = part.strip_prefix("poly(").and_then(|rest| rest.rsplit_once(')')) {
        let power: i32 = degree.parse().unwrap_or(1);
        return numbers(batch, &polynomial[..1]).iter().map(|x| x.powi(power)).collect();
    }
    if let Some((factor, level)) = part.strip_prefix("C(").and_then(|rest| rest.rsplit_once(')')) {
        return indicator(batch, &factor[..1], level);
    }
    match part {
        "x" | "z" | "k" => numbers(batch, part),
        "log(z + 1)" => numbers(batch, "z").iter().map(|z| (z + 1.0).ln()).collect(),
        "I(x^2)" => numbers(batch, "x").iter().map(|x| x * x).collect(),
        _ => indicator(batch, &part[..1], &part[1..]),
    }
}

/// The column of a coefficient, worked out from its name alone.
fn column_by_name(name: &str, batch: &RecordBatch) -> Vec<f64> {
    let ones = vec![1.0; batch.num_rows()];
    name.split(':').fold(ones, |product, part| product.iter().zip(values_of(part, batch)).map(|(a, b)| a * b).collect())
}

#[test]
fn columns_hold_what_their_names_say() {
    let batch = crossed();
    for &(formula, _) in CODINGS {
        let (design, block) = scanned(formula, &batch);
        let coding = design.coding().unwrap();
        for (column, values) in coding.columns.iter().zip(matrix(&coding, &block)) {
            assert_eq!(values, column_by_name(&column.name, &batch), "{formula}: {}", column.name);
        }
    }
}

/// The rank of columns, by elimination on small well-scaled numbers.
fn rank(mut columns: Vec<Vec<f64>>) -> usize {
    let mut rank = 0;
    for row in 0..columns.first().map_or(0, Vec::len) {
        let Some(pivot) =
            (rank..columns.len()).max_by(|&a, &b| columns[a][row].abs().total_cmp(&columns[b][row].abs()))
        else {
            break;
        };
        if columns[pivot][row].abs() < 1e-9 {
            continue;
        }
        columns.swap(rank, pivot);
        let lead = columns[rank].clone();
        for column in &mut columns[rank + 1..] {
            let ratio = column[row] / lead[row];
            column.iter_mut().zip(&lead).for_each(|(value, lead)| *value -= ratio * lead);
        }
        rank += 1;
    }
    rank
}

#[test]
fn contrasts_lose_nothing_of_the_full_indicators() {
    let batch = crossed();
    for &(formula, _) in CODINGS {
        let (design, block) = scanned(formula, &batch);
        let coding = design.coding().unwrap();
        let constant = coding.intercept.then(|| vec![1.0; block.rows()]);
        let coded: Vec<Vec<f64>> = constant.clone().into_iter().chain(matrix(&coding, &block)).collect();
        let full =
            constant.into_iter().chain(block.columns().into_iter().map(|(_, column)| dense(column, block.rows())));
        assert_eq!(rank(coded), rank(full.collect()), "{formula}");
    }
}

#[test]
fn assign_counts_terms_from_one() {
    let (design, _) = scanned("y ~ a*x + d", &crossed());
    let coding = design.coding().unwrap();
    assert_eq!(coding.term_labels, ["a", "x", "d", "a:x"]);
    assert_eq!(coding.assign(), [0, 1, 1, 2, 3, 4, 4]);
}

/// The names of the columns of a group: its coefficients, the powers of each polynomial, the products (`1` the constant).
fn described(coding: &Coding, group: &PolynomialGroup) -> (Vec<String>, Vec<Vec<String>>, Vec<String>) {
    let name = |&place: &usize| coding.columns.iter().chain(&coding.auxiliary).nth(place).unwrap().name.clone();
    let names = |places: &Vec<usize>| places.iter().map(name).collect::<Vec<_>>();
    let products = group.products.iter().map(|place| place.as_ref().map_or("1".into(), name));
    (names(&group.positions), group.powers.iter().map(names).collect(), products.collect())
}

#[test]
fn orthogonal_polynomials_are_listed_by_degree() {
    let (design, block) = scanned("y ~ b + poly(x, 3) + poly(z, 1) + poly(z, 2, raw)", &crossed());
    let coding = design.coding().unwrap();
    let groups: Vec<_> = coding.poly_groups.iter().map(|group| (group.term, group.positions.clone())).collect();
    assert_eq!(groups, [(1, vec![1, 2, 3]), (2, vec![4])]);
    assert_eq!(coding.poly_groups[0].products, [None, Some(1), Some(2), Some(3)]);
    assert!(coding.auxiliary.is_empty());
    let columns = matrix(&coding, &block);
    let cubes: Vec<f64> = columns[1].iter().map(|x| x.powi(3)).collect();
    assert_eq!(columns[3], cubes);
}

#[test]
fn orthogonal_polynomials_in_interactions_are_made_of_products_of_powers() {
    let batch = crossed();
    let listed = |formula: &str| {
        let coding = scanned(formula, &batch).0.coding().unwrap();
        coding.poly_groups.iter().map(|group| described(&coding, group)).collect::<Vec<_>>()
    };
    let strings = |names: &str| split(names);
    // The constants' columns are those of the main effects, where these are there …
    let both = listed("y ~ b*poly(x, 2)");
    assert_eq!(both[0].2, strings("1 poly(x, 2)1 poly(x, 2)2"));
    assert_eq!(both[1].0, strings("bt:poly(x, 2)1 bt:poly(x, 2)2"));
    assert_eq!(both[1].1, [strings("poly(x, 2)1 poly(x, 2)2")]);
    assert_eq!(both[1].2, strings("bt bt:poly(x, 2)1 bt:poly(x, 2)2"));
    // … and others where they are not, or do not have all levels.
    let coding = scanned("y ~ b + poly(x, 2):b", &batch).0.coding().unwrap();
    let names: Vec<&str> = coding.auxiliary.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["poly(x, 2)1", "poly(x, 2)2", "bs"]);
    let levels = listed("y ~ b + poly(x, 2):b");
    assert_eq!(levels[0].2, strings("bs bs:poly(x, 2)1 bs:poly(x, 2)2"));
    assert_eq!(levels[1].2, strings("bt bt:poly(x, 2)1 bt:poly(x, 2)2"));
    // With several polynomials the first runs fastest; what is raw stays as it is.
    let several = listed("y ~ poly(x, 2):poly(z, 1)");
    assert_eq!(several[0].0, strings("poly(x, 2)1:poly(z, 1) poly(x, 2)2:poly(z, 1)"));
    assert_eq!(several[0].1, [strings("poly(x, 2)1 poly(x, 2)2"), strings("poly(z, 1)")]);
    let products = "1 poly(x, 2)1 poly(x, 2)2 poly(z, 1) poly(x, 2)1:poly(z, 1) poly(x, 2)2:poly(z, 1)";
    assert_eq!(several[0].2, strings(products));
    let raw = listed("y ~ poly(z, 2, raw):poly(x, 1)");
    assert_eq!(raw.len(), 2);
    assert_eq!(raw[1].2, strings("poly(z, 2, raw)2 poly(z, 2, raw)2:poly(x, 1)"));
}

#[test]
fn columns_of_polynomials_hold_what_their_names_say() {
    let batch = crossed();
    for formula in super::frozen::POLYNOMIALS {
        let (design, block) = scanned(formula, &batch);
        let mut coding = design.coding().unwrap();
        let auxiliary = std::mem::take(&mut coding.auxiliary);
        coding.columns.extend(auxiliary);
        for (column, values) in coding.columns.iter().zip(matrix(&coding, &block)) {
            assert_eq!(values, column_by_name(&column.name, &batch), "{formula}: {}", column.name);
        }
        // Every choice of degrees has its place, and its highest powers are the coefficient's own column.
        for group in &coding.poly_groups {
            let degrees: Vec<usize> = group.powers.iter().map(Vec::len).collect();
            assert_eq!(group.positions.len(), degrees.iter().product::<usize>(), "{formula}");
            assert_eq!(group.products.len(), degrees.iter().map(|k| k + 1).product::<usize>(), "{formula}");
            assert_eq!(group.products.last().unwrap(), &group.positions.last().copied(), "{formula}");
        }
    }
}

#[test]
fn interactions_of_many_orthogonal_polynomials_are_refused() {
    let polynomials: Vec<String> = (0..17).map(|k| format!("poly(I(x + {k}), 1)")).collect();
    let error = compile(&format!("y ~ {}", polynomials.join(":")), &crossed()).unwrap_err();
    assert!(matches!(&error, TableError::TooManyTerms { .. }), "{error}");
}

#[test]
fn combinations_never_observed_have_no_column() {
    let batch =
        table(&[("y", doubles(&[1.0, 2.0, 3.0])), ("a", texts(&["p", "q", "q"])), ("b", texts(&["s", "s", "t"]))]);
    let (design, _) = scanned("y ~ a:b - 1", &batch);
    let coding = design.coding().unwrap();
    let observed: Vec<(&str, bool)> =
        coding.columns.iter().map(|column| (column.name.as_str(), column.state_column.is_some())).collect();
    assert_eq!(observed, [("ap:bs", true), ("aq:bs", true), ("ap:bt", false), ("aq:bt", true)]);
}

#[test]
fn references_and_single_levels_are_checked() {
    let batch = crossed();
    let (design, _) = scanned("y ~ C(a, ref = 'P')", &batch);
    let error = design.coding().unwrap_err();
    assert!(matches!(&error, TableError::UnknownReference { levels: 3, .. }), "{error}");
    let batch = table(&[("y", doubles(&[1.0, 2.0])), ("a", texts(&["p", "p"]))]);
    let error = scanned("y ~ a", &batch).0.coding().unwrap_err();
    assert_eq!(error, TableError::TooFewLevels { factor: "a".into(), got: 1 });
    assert_eq!(scanned("y ~ a - 1", &batch).0.coding().unwrap().names(), ["ap"]);
}
