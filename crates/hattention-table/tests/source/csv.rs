//! What comes out of CSV.

use super::*;

#[test]
fn csv_types_are_those_of_all_values() {
    let source =
        csv("i,f,b,d,t,s,e\n1,1.5,true,2013-01-31,2013-01-31 05:00:00,a,\n2,-3e2,FALSE,2013-02-01,,b,NA\n").unwrap();
    let expected = [
        DataType::Float64,
        DataType::Float64,
        DataType::Boolean,
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, None),
        text(),
        DataType::Null,
    ];
    assert_eq!(types(&source), expected);
    let batch = read(&source, &["s", "f", "b", "t", "e"]).unwrap();
    assert_eq!(shown(&batch, 0), ["a", "b"]);
    assert_eq!(shown(&batch, 1), ["1.5", "-300.0"]);
    assert_eq!(shown(&batch, 2), ["true", "false"]);
    assert_eq!(shown(&batch, 3), ["2013-01-31T05:00:00", "-"]);
    assert_eq!(batch.column(4).logical_null_count(), 2);
}

#[test]
fn every_missing_token_is_missing_in_every_type() {
    let source =
        csv("x,g\nNA,NA\nN/A,N/A\nNaN,NaN\nnan,nan\nnull,null\nNULL,NULL\n,\n 1.5 ,a\n\"NA\",\" NA \"\n").unwrap();
    assert_eq!(column(&source, "x"), ["-", "-", "-", "-", "-", "-", "-", "1.5", "-"]);
    assert_eq!(column(&source, "g"), ["-", "-", "-", "-", "-", "-", "-", "a", "-"]);
    let options = SourceOptions { csv_missing: names(&["-999", "."]), ..SourceOptions::default() };
    let source = Source::open_reader("x\n1\n-999\n.\n\n-99\n".as_bytes(), &options).unwrap();
    assert_eq!(column(&source, "x"), ["1.0", "-", "-", "-99.0"]);
}

#[test]
fn quotes_line_breaks_bom_and_crlf_are_understood() {
    let source = csv(b"\xef\xbb\xbf\"a b\", c\r\n\"1\",\"x, \"\"y\"\"\r\nz\"\r\n\r\n2,5\" pipe").unwrap();
    assert_eq!(source.columns(), ["a b", "c"]);
    assert_eq!(column(&source, "a b"), ["1.0", "2.0"]);
    assert_eq!(column(&source, "c"), ["x, \"y\"\r\nz", "5\" pipe"]);
}

#[test]
fn quoting_changes_nothing() {
    // Without quotes a block is cut in another way than with one; blocks without any come before and after.
    let cell = |row: usize, column: usize| match (row * 7 + column * 3) % 11 {
        0 => String::new(),
        1 => "NA".to_owned(),
        2 if column == 2 => format!(" level {}\u{e9} ", row % 5),
        3 => format!(" {}", row % 13),
        other => format!("{}{}", if column == 2 { "g" } else { "" }, (row * other) as f64 / 8.0),
    };
    let text = |quoted: fn(usize) -> bool| {
        let mut text = String::from("a,b,g\n");
        for row in 0..60_000 {
            let cells =
                (0..3).map(|column| if quoted(row) { format!("\"{}\"", cell(row, column)) } else { cell(row, column) });
            text += &(cells.collect::<Vec<_>>().join(",") + if row % 2 == 0 { "\n" } else { "\r\n" });
        }
        text
    };
    let options = SourceOptions { batch_rows: 1000, ..SourceOptions::default() };
    let batches: Vec<RecordBatch> = [|_| false, |row| row % 3 == 0, |row| row == 59_999]
        .into_iter()
        .map(|quoted| {
            let source = Source::open_reader(text(quoted).as_bytes(), &options).unwrap();
            read(&source, &["g", "a", "b"]).unwrap()
        })
        .collect();
    assert_eq!(batches[0].num_rows(), 60_000);
    for other in &batches[1..] {
        for at in 0..3 {
            assert_eq!(shown(other, at), shown(&batches[0], at));
        }
    }
}

#[test]
fn quoted_line_breaks_do_not_depend_on_where_blocks_end() {
    let mut text = String::from("n,s\n");
    let mut rows = 0;
    while text.len() < 3_500_000 {
        text += &format!("{rows},\"row {rows}\nsays \"\"{}\"\",\n\"\n", "x".repeat(rows % 97));
        rows += 1;
    }
    for partitions in [1, 4] {
        let options = SourceOptions { partitions, batch_rows: 1000, ..SourceOptions::default() };
        let source = Source::open_reader(text.as_bytes(), &options).unwrap();
        let batch = read(&source, &["n", "s"]).unwrap();
        let numbers: Vec<f64> = batch.column(0).as_primitive::<Float64Type>().values().to_vec();
        assert_eq!(numbers, (0..rows).map(|row| row as f64).collect::<Vec<_>>());
        assert!(shown(&batch, 1)[rows - 1].starts_with(&format!("row {}\nsays \"", rows - 1)));
    }
}

#[test]
fn a_late_fraction_in_a_column_of_integers_is_read() {
    let mut text = String::from("x,pad\n");
    for _ in 0..150_000 {
        text += "7,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n";
    }
    text += "7.25,b\n";
    assert!(text.len() > 10 << 20);
    let values = column(&csv(&text).unwrap(), "x");
    assert_eq!(values.len(), 150_001);
    assert_eq!(values[150_000], "7.25");
}

#[test]
fn a_late_text_in_a_column_of_numbers_names_line_column_and_value() {
    let mut text = String::from("pad,x\n");
    for row in 0..150_000 {
        text += if row % 2 == 0 { "\"two\nlines                                            \",1\n" } else { "\n" };
        text += "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,2\n";
    }
    let line = 1 + text.matches('\n').count();
    text += "b, oops \nb,3\nc,again\n";
    let folder = Folder::new();
    let path = folder.write("late.csv", &text);
    for order in [ScanOrder::Any, ScanOrder::File] {
        let source = open(&[&path]).unwrap();
        assert_eq!(types(&source)[1], DataType::Float64);
        let error = source.scan(&names(&["x"]), order).unwrap().find_map(Result::err).unwrap();
        assert_eq!(error.to_string(), format!("{path}:{line}: column `x`: expected a number, got `oops`"));
        assert_eq!(error.hint().unwrap(), "correct the value, or leave it empty if it is missing");
        assert_eq!(column(&source, "pad").len(), 225_003, "columns that are not asked for do not matter");
    }
}

#[test]
fn the_error_of_the_first_wrong_line_is_given_whatever_the_threads() {
    let mut text = String::from("x,pad\n");
    for row in 0..200_000 {
        let wrong = row > 150_000 && row % 1000 == 1;
        text += &format!("{},{}\n", if wrong { "oops" } else { "1" }, "a".repeat(70));
    }
    for partitions in [1, 2, 7] {
        let options = SourceOptions { partitions, ..SourceOptions::default() };
        let source = Source::open_reader(text.as_bytes(), &options).unwrap();
        for order in [ScanOrder::Any, ScanOrder::File] {
            let error = source.scan(&names(&["x"]), order).unwrap().find_map(Result::err).unwrap();
            assert!(error.to_string().starts_with("stdin:150003: "), "{error}");
        }
    }
}

#[test]
fn numbers_with_some_text_leave_as_text_and_say_where() {
    let source = csv("y,x,g\n1,1,a\n2,2,1\n\n3,abc,b\n").unwrap();
    assert_eq!(types(&source), [DataType::Float64, text(), text()]);
    let error = source.text_among_numbers("x").unwrap();
    assert_eq!(error.to_string(), "stdin:5: column `x` holds numbers, except in 1 of the first 3 values, here `abc`");
    assert_eq!(
        error.hint().unwrap(),
        "correct the value, or leave it empty if it is missing; if `x` is a label, write C(x)"
    );
    assert_eq!(source.text_among_numbers("g"), None, "mostly text");
    assert_eq!(source.text_among_numbers("y"), None);
    assert_eq!(column(&source, "x"), ["1", "2", "abc"]);
}

#[test]
fn columns_can_be_read_as_text() {
    let options = SourceOptions { csv_text: names(&["zip"]), ..SourceOptions::default() };
    let source = Source::open_reader("zip\n02139\n7\nNA\n".as_bytes(), &options).unwrap();
    assert_eq!(types(&source), [text()]);
    assert_eq!(column(&source, "zip"), ["02139", "7", "-"]);
}

#[test]
fn identifiers_that_a_double_would_round_stay_integers() {
    let folder = Folder::new();
    let small = folder.write("a.csv", "id,x\n5,1\n");
    let large = folder.write("b.csv", "id,x\n9007199254740993,2.5\n");
    let source = open(&[&small, &large]).unwrap();
    assert_eq!(types(&source), [DataType::Int64, DataType::Float64]);
    assert_eq!(column(&source, "id"), ["5", "9007199254740993"]);
}

#[test]
fn a_column_that_begins_empty_has_the_type_of_its_first_values() {
    let mut text = String::from("x,n,pad\n");
    for row in 0..150_000 {
        text += &format!(",{row},aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
    }
    text += "2.5,0,b\n";
    let source = csv(&text).unwrap();
    assert_eq!(types(&source)[0], DataType::Float64);
    let batch = read(&source, &["x"]).unwrap();
    assert_eq!(batch.column(0).null_count(), 150_000);
    assert_eq!(batch.column(0).as_primitive::<Float64Type>().value(150_000), 2.5);
}

#[test]
fn a_column_empty_in_one_file_has_the_type_of_the_others() {
    let folder = Folder::new();
    let first = folder.write("1.csv", "x,g\n,a\n,b\n");
    let second = folder.write("2.csv", "g,x\nc,4\n");
    let source = open(&[&first, &second]).unwrap();
    assert_eq!(types(&source), [DataType::Float64, text()]);
    let batch = read(&source, &["g", "x"]).unwrap();
    assert_eq!(shown(&batch, 0), ["a", "b", "c"]);
    assert_eq!(shown(&batch, 1), ["-", "-", "4.0"]);
}

#[test]
fn a_header_without_rows_is_a_table_without_rows() {
    for text in ["a,b\n", "a,b", "a,b\r\n\r\n"] {
        let source = csv(text).unwrap();
        assert_eq!(source.columns(), ["a", "b"]);
        assert_eq!(read(&source, &["a"]).unwrap().num_rows(), 0);
    }
}

#[test]
fn a_column_without_a_name_is_called_by_its_position() {
    assert_eq!(csv("\"\",x\n1,2\n").unwrap().columns(), ["column_1", "x"]);
}

#[test]
fn tabs_separate_in_tsv() {
    let folder = Folder::new();
    let source = open(&[&folder.write("t.tsv", "a\tb\n1\tx,y\n")]).unwrap();
    assert_eq!(column(&source, "b"), ["x,y"]);
}

#[test]
fn gzip_is_unpacked_also_from_standard_input() {
    let folder = Folder::new();
    let packed = gzip(counting(300_000).as_bytes());
    let path = folder.write("c.csv.gz", &packed);
    for source in [open(&[&path]).unwrap(), csv(&packed).unwrap()] {
        assert_eq!(source.bytes_total(), Some(packed.len() as u64));
        let mut rows = 0;
        let mut bytes = 0;
        for batch in source.scan(&names(&["x"]), ScanOrder::Any).unwrap() {
            let batch = batch.unwrap();
            rows += batch.batch.num_rows();
            bytes += batch.bytes;
        }
        assert_eq!(rows, 300_000);
        assert_eq!(bytes, packed.len() as u64);
    }
}
