//! Folders that are columns, and files that change while they are read.

use super::*;

#[test]
fn folders_of_a_directory_are_columns() {
    let folder = Folder::new();
    folder.write("t/year=2013/month=01/a.csv", "x\n1\n2\n");
    folder.write("t/year=2013/month=12/b.csv", "x\n3\n");
    folder.write("t/year=2014/month=__HIVE_DEFAULT_PARTITION__/c.csv", "x\n4\n");
    for spec in ["t", "t/**/*.csv", "t/year=*/month=*/*.csv"] {
        let source = open(&[&folder.path(spec)]).unwrap();
        assert_eq!(source.columns(), ["x", "year", "month"], "{spec}");
        assert_eq!(types(&source), [DataType::Float64, DataType::Int64, DataType::Int64]);
        let rows = read(&source, &["month", "x", "year"]).unwrap();
        assert_eq!(shown(&rows, 0), ["1", "1", "12", "-"]);
        assert_eq!(shown(&rows, 1), ["1.0", "2.0", "3.0", "4.0"]);
        assert_eq!(shown(&rows, 2), ["2013", "2013", "2013", "2014"]);
        // Alone, without any column of the files.
        assert_eq!(column(&source, "year"), ["2013", "2013", "2013", "2014"]);
    }
    let one = open(&[&folder.path("t/year=2013/month=12/b.csv")]).unwrap();
    assert_eq!(column(&one, "month"), ["12"]);
    // Folders above the directory that is named are its place, not its data.
    assert_eq!(open(&[&folder.path("t/year=2013")]).unwrap().columns(), ["x", "month"]);
}

#[test]
fn partitions_have_the_type_that_holds_all_values() {
    let folder = Folder::new();
    let x: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]));
    for (city, share) in [("New%20York", "0.5"), ("42", "2")] {
        let name = format!("t/city={city}/share={share}/p.parquet");
        folder.parquet(&name, 2, vec![("x", Arc::clone(&x))]);
    }
    let source = open(&[&folder.path("t")]).unwrap();
    assert_eq!(types(&source), [DataType::Float64, text(), DataType::Float64]);
    assert_eq!(column(&source, "city"), ["42", "42", "42", "New York", "New York", "New York"]);
    assert_eq!(column(&source, "share"), ["2.0", "2.0", "2.0", "0.5", "0.5", "0.5"]);
    assert_eq!(source.rows_hint(), Some(6));
    let text_of_city = SourceOptions { csv_text: vec!["share".into()], ..SourceOptions::default() };
    assert_eq!(types(&open_with(&[&folder.path("t")], &text_of_city).unwrap())[2], text());
    let sql = "SELECT city, sum(x) AS total FROM t GROUP BY city ORDER BY city";
    let query = SourceOptions { sql: Some(sql.into()), ..SourceOptions::default() };
    assert_eq!(column(&open_with(&[&folder.path("t")], &query).unwrap(), "total"), ["6.0", "6.0"]);
}

#[test]
fn files_with_other_partitions_are_refused_and_own_columns_kept() {
    let folder = Folder::new();
    folder.write("t/year=2013/a.csv", "x\n1\n");
    let other = folder.write("t/b.csv", "x\n1\n");
    let error = open(&[&folder.path("t")]).unwrap_err().to_string();
    assert!(error.contains("`year`") && error.contains(&other), "{error}");
    let own = folder.write("u/x=7/a.csv", "x\n1\n");
    assert_eq!(column(&open(&[&own]).unwrap(), "x"), ["1.0"]);
}

#[test]
fn a_file_that_is_changed_between_two_passes_is_an_error() {
    let folder = Folder::new();
    let x: ArrayRef = Arc::new(Float64Array::from(vec![1.0; 50]));
    let csv = folder.write("a.csv", "x\n1\n2\n");
    let parquet = folder.parquet("a.parquet", 10, vec![("x", x)]);
    let lines = folder.write("a.jsonl", "{\"x\": 1}\n{\"x\": 2}\n");
    for path in [csv, parquet, lines] {
        let source = open(&[&path]).unwrap();
        read(&source, &["x"]).unwrap();
        let content = fs::read(&path).unwrap();
        fs::write(&path, &content[..content.len() / 2]).unwrap();
        let error = read(&source, &["x"]).unwrap_err().to_string();
        let expected = format!("{path}: the file changed while it was read: {} bytes at first", content.len());
        assert!(error.starts_with(&expected), "{error}");
        fs::remove_file(&path).unwrap();
        assert!(read(&source, &["x"]).is_err());
    }
}
