//! `hat_moments` in SQL: the state is that of a pass over the same rows, in bits.

use std::sync::Arc;

use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};
use hattention_table::aggregate::{Order, Refusal, hat_moments, place};
use hattention_table::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int32Array, RecordBatch, StringArray};
use hattention_table::arrow::compute::concat_batches;
use hattention_table::arrow::datatypes::Int64Type;
use hattention_table::design::{Design, DesignOptions, NaPolicy};
use hattention_table::formula::Formula;
use hattention_table::state::{Gathered, TableState};

/// Rows `from .. to` of a table with numbers that do not add up exactly in doubles, labels, weights and a missing value.
fn rows(from: usize, to: usize) -> RecordBatch {
    let number = |row: usize, shift: f64| (row as f64 * 0.7 + shift).sin() * 10f64.powi(row as i32 % 9);
    let y: ArrayRef = Arc::new(Float64Array::from_iter((from..to).map(|row| (row != 5).then(|| number(row, 0.0)))));
    let x: ArrayRef = Arc::new(Float64Array::from_iter_values((from..to).map(|row| number(row, 1.0))));
    let k: ArrayRef = Arc::new(Int32Array::from_iter_values((from..to).map(|row| (row * row % 17) as i32)));
    let g: ArrayRef = Arc::new(StringArray::from_iter_values((from..to).map(|row| ["b", "a", "c"][row % 7 % 3])));
    let w: ArrayRef = Arc::new(Float64Array::from_iter_values((from..to).map(|row| 0.1 + (row % 5) as f64)));
    let place: ArrayRef = Arc::new(StringArray::from_iter_values((from..to).map(|_| place_of(from))));
    let places = hattention_table::arrow::compute::cast(&place, &text()).unwrap();
    let columns = [("y", y), ("x", x), ("k", k), ("g", g), ("w", w), ("place", places)];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn place_of(from: usize) -> String {
    place("t.csv", from as u64)
}

fn text() -> hattention_table::arrow::datatypes::DataType {
    use hattention_table::arrow::datatypes::DataType;
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Hundred rows in so many partitions, as table `t`.
async fn session(partitions: usize) -> SessionContext {
    let pieces: Vec<Vec<RecordBatch>> =
        (0..partitions).map(|part| vec![rows(100 * part / partitions, 100 * (part + 1) / partitions)]).collect();
    let table = MemTable::try_new(pieces[0][0].schema(), pieces).unwrap();
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3));
    session.register_table("t", Arc::new(table)).unwrap();
    session.register_udaf(hat_moments());
    session
}

async fn first_bytes(session: &SessionContext, sql: &str) -> Result<Vec<Vec<u8>>, DataFusionError> {
    let batches = session.sql(sql).await?.collect().await?;
    let all = concat_batches(batches[0].schema_ref(), &batches)?;
    let column = all.column(all.num_columns() - 1).as_binary::<i64>();
    Ok((0..column.len()).map(|row| column.value(row).to_vec()).collect())
}

/// What one pass over the rows gives.
fn expected(formula: &str, weights: Option<&str>, batch: &RecordBatch) -> Vec<u8> {
    expected_with(formula, weights, batch, false)
}

fn expected_with(formula: &str, weights: Option<&str>, batch: &RecordBatch, hc: bool) -> Vec<u8> {
    let options = DesignOptions { weights: weights.map(str::to_owned), ..DesignOptions::default() };
    let design = Design::compile(&Formula::parse(formula).unwrap(), &batch.schema(), &options).unwrap();
    let mut gathered = Gathered::new(&design, hc).unwrap();
    gathered.push(&design, batch, 0, NaPolicy::Drop).unwrap();
    TableState::new(&design.layout(), gathered).unwrap().to_bytes().unwrap()
}

#[tokio::test]
async fn any_partition_gives_the_bytes_of_one_pass() {
    let formula = "y ~ poly(x, 2) * g + k";
    for partitions in [1, 2, 7, 100] {
        let session = session(partitions).await;
        let sql = format!("SELECT hat_moments('{formula}', y, x, g, k) FROM t");
        assert_eq!(
            first_bytes(&session, &sql).await.unwrap(),
            [expected(formula, None, &rows(0, 100))],
            "{partitions}"
        );
    }
}

#[tokio::test]
async fn columns_alone_are_a_formula() {
    let session = session(3).await;
    let bytes = first_bytes(&session, "SELECT hat_moments(y, x, g) FROM t").await.unwrap();
    assert_eq!(bytes, [expected("`y` ~ `x` + `g`", None, &rows(0, 100))]);
    let bytes = first_bytes(&session, "SELECT hat_moments(y) FROM t WHERE k > 3").await.unwrap();
    let state = TableState::from_bytes(&bytes[0]).unwrap();
    assert_eq!(state.formula().unwrap().text(), "`y` ~ 1");
}

#[tokio::test]
async fn an_order_carries_weights_and_sums_for_robust_errors() {
    let batch = rows(0, 100);
    let options = DesignOptions { weights: Some("w".into()), ..DesignOptions::default() };
    let design = Design::compile(&Formula::parse("y ~ poly(x, 2) + g").unwrap(), &batch.schema(), &options).unwrap();
    for hc in [false, true] {
        let order = Order::new(&design, NaPolicy::Drop, hc, true);
        let (text, columns) = (order.to_text().unwrap(), order.columns.join(", "));
        let sql = format!("SELECT hat_moments('{text}', {columns}, place) FROM t");
        let bytes = first_bytes(&session(4).await, &sql).await.unwrap();
        assert_eq!(bytes, [expected_with("y ~ poly(x, 2) + g", Some("w"), &batch, hc)]);
    }
}

#[tokio::test]
async fn groups_have_states_of_their_own() {
    let session = session(3).await;
    let sql = "SELECT k, hat_moments('y ~ x', y, x) FROM t GROUP BY k ORDER BY k";
    let groups = first_bytes(&session, sql).await.unwrap();
    let mut all: Option<TableState> = None;
    for bytes in &groups {
        let state = TableState::from_bytes(bytes).unwrap();
        match &mut all {
            Some(all) => all.merge(&state).unwrap(),
            None => all = Some(state),
        }
    }
    assert!(groups.len() > 3);
    assert_eq!(all.unwrap().to_bytes().unwrap(), expected("y ~ x", None, &rows(0, 100)));
    let counts = session.sql("SELECT k, count(y) FROM t GROUP BY k ORDER BY k").await.unwrap().collect().await.unwrap();
    let counts = concat_batches(counts[0].schema_ref(), &counts).unwrap();
    let counts: Vec<u64> = counts.column(1).as_primitive::<Int64Type>().values().iter().map(|&n| n as u64).collect();
    let rows_of = |bytes: &Vec<u8>| TableState::from_bytes(bytes).unwrap().gathered.moments.rows();
    assert_eq!(groups.iter().map(rows_of).collect::<Vec<_>>(), counts);
}

#[tokio::test]
async fn no_rows_are_a_state() {
    let bytes = first_bytes(&session(2).await, "SELECT hat_moments(y, x) FROM t WHERE x > 1e300").await.unwrap();
    assert_eq!(TableState::from_bytes(&bytes[0]).unwrap().gathered.moments.rows(), 0);
}

/// What a query is refused with.
async fn refusal(sql: &str) -> Refusal {
    let error = first_bytes(&session(4).await, sql).await.unwrap_err();
    // What an engine makes of it, in both ways of printing.
    let (shown, debugged) = (Refusal::within(&error.to_string()), Refusal::within(&format!("{error:?}")));
    assert_eq!(shown, debugged);
    shown.unwrap_or_else(|| panic!("{error}"))
}

#[tokio::test]
async fn refusals_say_what_is_wrong_and_what_to_do() {
    let refused = refusal("SELECT hat_moments('y ~ z', y, x) FROM t").await;
    assert!(refused.message.contains("unknown column `z`"), "{refused}");
    let refused = refusal("SELECT hat_moments('y ~ $', y, x) FROM t").await;
    assert!(refused.message.contains("formula: expected") && refused.hint.contains("a formula reads"), "{refused}");
    let refused = refusal("SELECT hat_moments('log(x) ~ k', x, k) FROM t").await;
    assert!(refused.message.starts_with("`log(x)` is NaN"), "{refused}");
    let refused = refusal("SELECT hat_moments('y ~ x | g', y, x, g) FROM t").await;
    assert!(refused.message.contains("absorbed effects") && refused.hint.contains("C(g)"), "{refused}");
    let refused = refusal("SELECT hat_moments(DISTINCT y, x) FROM t").await;
    assert!(refused.message.contains("DISTINCT"), "{refused}");
}

#[tokio::test]
async fn a_placed_row_is_named() {
    let batch = rows(0, 100);
    let design =
        Design::compile(&Formula::parse("y ~ x").unwrap(), &batch.schema(), &DesignOptions::default()).unwrap();
    let mut order = Order::new(&design, NaPolicy::Fail, false, true);
    let sql = format!("SELECT hat_moments('{}', y, x, place) FROM t", order.to_text().unwrap());
    assert_eq!(refusal(&sql).await.message, "row 6 of t.csv: `y` is missing, expected a value");
    let sql = format!("SELECT hat_moments('{}', y, x, k) FROM t", order.to_text().unwrap());
    assert!(refusal(&sql).await.message.contains("the last column does not hold them"));
    order.version = "0.0.0".into();
    let sql = format!("SELECT hat_moments('{}', y, x, place) FROM t", order.to_text().unwrap());
    assert!(refusal(&sql).await.message.contains("an order of version 0.0.0, and this is"));
}
