//! Queries over sources.

use super::*;

fn query(specs: &[&str], sql: &str) -> Result<Source, TableError> {
    open_with(specs, &SourceOptions { sql: Some(sql.into()), partitions: 2, ..SourceOptions::default() })
}

#[test]
fn a_query_joins_tables_named_by_their_stems() {
    let folder = Folder::new();
    let flights = folder.write("Flights.csv.gz", gzip(b"Carrier,delay\nAA,1\nB6,NA\nAA,4\n"));
    let names_path = folder.parquet(
        "carrier-names.parquet",
        10,
        vec![
            ("code", Arc::new(StringArray::from(vec!["AA", "B6"])) as ArrayRef),
            ("name", Arc::new(StringArray::from(vec!["American", "JetBlue"])) as ArrayRef),
        ],
    );
    let sql = "SELECT name, delay * 2 AS twice, COUNT(*) OVER () AS n \
               FROM Flights JOIN \"carrier_names\" ON Carrier = code WHERE delay IS NOT NULL ORDER BY delay DESC";
    let source = query(&[&flights, &names_path], sql).unwrap();
    assert_eq!(source.columns(), ["name", "twice", "n"]);
    assert_eq!(types(&source), [text(), DataType::Float64, DataType::Int64]);
    let batch = read(&source, &["twice", "name"]).unwrap();
    assert_eq!(shown(&batch, 0), ["8.0", "2.0"]);
    assert_eq!(shown(&batch, 1), ["American", "American"]);
    assert_eq!((source.rows_hint(), source.bytes_total()), (None, None));
}

#[test]
fn a_query_reads_large_sources_in_order_and_in_parallel() {
    let folder = Folder::new();
    let path = folder.write("c.csv", counting(300_000));
    let source = query(&[&path], "select x + 1 as x1, g from c where x >= 10").unwrap();
    let batch = read(&source, &["x1"]).unwrap();
    let values = batch.column(0).as_primitive::<Float64Type>().values().to_vec();
    assert!(values.iter().enumerate().all(|(row, &value)| value == (row + 11) as f64));
    let any = source.scan(&names(&["g"]), ScanOrder::Any).unwrap();
    assert_eq!(any.map(|batch| batch.unwrap().batch.num_rows()).sum::<usize>(), 299_990);
    let mut early = source.scan(&names(&["g"]), ScanOrder::Any).unwrap();
    assert!(early.next().is_some());
}

#[test]
fn standard_input_is_a_table_of_a_query() {
    let options = SourceOptions { sql: Some("select x from stdin limit 2".into()), ..SourceOptions::default() };
    let source = Source::open_reader(counting(10).as_bytes(), &options).unwrap();
    assert_eq!(column(&source, "x"), ["0.0", "1.0"]);
}

#[test]
fn wrong_queries_are_answered_in_one_line_with_the_tables() {
    let folder = Folder::new();
    let path = folder.write("my-data.csv", "x,y\n1,2\n");
    let error = query(&[&path], "select x from data").unwrap_err();
    assert!(error.to_string().starts_with("--sql: ") && error.to_string().contains("'data' not found"), "{error}");
    assert_eq!(error.hint().unwrap(), "tables: my_data (from my-data): x, y");
    let error = query(&[&path], "select z from my_data").unwrap_err();
    assert!(error.to_string().contains('z') && !error.to_string().contains('\n'), "{error}");
    let error = query(&[&path], "selec x").unwrap_err();
    assert!(error.to_string().starts_with("--sql: SQL error: "), "{error}");
    for forbidden in ["drop table my_data", "create table t as select 1", "copy my_data to '/tmp/x.csv'", "set a = 1"] {
        assert!(query(&[&path], forbidden).is_err(), "{forbidden}");
    }
    let error = query(&[&path], "select x, x + 0 as x from my_data").unwrap_err();
    assert!(error.to_string().contains('x'), "{error}");
    let again = folder.write("sub/my data.csv", "x\n1\n");
    let error = query(&[&path, &again], "select 1 as one").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{path} and {again} are both table `my_data` of the query, expected distinct file names")
    );
}

#[test]
fn what_is_wrong_in_a_file_is_said_also_through_a_query() {
    let folder = Folder::new();
    let mut file = fs::File::create(folder.path("c.csv")).unwrap();
    file.write_all(counting(1_200_000).as_bytes()).unwrap();
    file.write_all(b"oops,g1\n").unwrap();
    let source = query(&[&folder.path("c.csv")], "select avg(x) as m from c").unwrap();
    for order in [ScanOrder::Any, ScanOrder::File] {
        let error = source.scan(&names(&["m"]), order).unwrap().find_map(Result::err).unwrap();
        let place = format!("{}:1200002: column `x`: expected a number", folder.path("c.csv"));
        assert!(error.to_string().starts_with(&place), "{error}");
    }
}
