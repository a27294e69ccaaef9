//! Parquet, Arrow IPC and JSON lines.

use super::*;

#[test]
fn parquet_rows_have_their_numbers_in_any_order() {
    let folder = Folder::new();
    let first = folder.parquet("1.parquet", 700, numbered(0..5000));
    let second = folder.parquet("2.parquet", 10_000, numbered(5000..12_345));
    let options = SourceOptions { partitions: 3, batch_rows: 256, ..SourceOptions::default() };
    let source = open_with(&[&first, &second], &options).unwrap();
    assert_eq!(source.rows_hint(), Some(12_345));
    assert!(source.describe().ends_with("(Parquet, 2 files, 12345 rows, 3 columns)"), "{}", source.describe());
    for order in [ScanOrder::Any, ScanOrder::File] {
        let mut seen = vec![false; 12_345];
        let mut bytes = 0;
        for batch in source.scan(&names(&["g", "id"]), order).unwrap() {
            let batch = batch.unwrap();
            let ids = batch.batch.column(1).as_primitive::<Int64Type>();
            for (row, &id) in ids.values().iter().enumerate() {
                assert_eq!(batch.first_row.unwrap() + row as u64, id as u64);
                assert!(!std::mem::replace(&mut seen[id as usize], true));
            }
            bytes += batch.bytes;
        }
        assert!(seen.into_iter().all(|seen| seen));
        let total = source.bytes_total().unwrap();
        assert!(bytes <= total && bytes > total * 9 / 10, "{bytes} of {total}");
    }
    assert_eq!(read(&source, &["id"]).unwrap().num_rows(), 12_345);
    let text = read(&source, &["g"]).unwrap();
    assert_eq!(text.column(0).as_dictionary::<Int32Type>().len(), 12_345);
}

#[test]
fn many_types_leave_as_few() {
    let folder = Folder::new();
    let decimals = Decimal128Array::from(vec![12_345, -5]).with_precision_and_scale(10, 2).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i32", Arc::new(Int32Array::from(vec![Some(1), None]))),
        ("f32", Arc::new(Float32Array::from(vec![0.5, 0.1]))),
        ("dec", Arc::new(decimals)),
        ("large", Arc::new(LargeStringArray::from(vec!["a", "b"]))),
        ("view", Arc::new(StringViewArray::from(vec!["a", "b"]))),
    ];
    let expected = [DataType::Int64, DataType::Float64, DataType::Float64, text(), text()];
    let parquet = folder.parquet("m.parquet", 10, columns.clone());
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut content = Vec::new();
    let mut writer = FileWriter::try_new(&mut content, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    let arrow = folder.write("m.arrow", content);
    for path in [parquet, arrow] {
        let source = open(&[&path]).unwrap();
        assert_eq!(types(&source), expected);
        let batch = read(&source, &["view", "large", "dec", "f32", "i32"]).unwrap();
        assert_eq!(shown(&batch, 0), ["a", "b"]);
        assert_eq!(shown(&batch, 1), ["a", "b"]);
        assert_eq!(shown(&batch, 2), ["123.45", "-0.05"]);
        assert_eq!(batch.column(3).as_primitive::<Float64Type>().value(1), f64::from(0.1_f32));
        assert_eq!(shown(&batch, 4), ["1", "-"]);
    }
}

#[test]
fn integers_in_one_file_and_fractions_in_another_are_numbers() {
    let folder = Folder::new();
    let ints = folder.parquet("1.parquet", 10, vec![("x", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]);
    let floats = folder.parquet("2.parquet", 10, vec![("x", Arc::new(Float64Array::from(vec![0.5])) as ArrayRef)]);
    let source = open(&[&ints, &floats]).unwrap();
    assert_eq!(column(&source, "x"), ["1.0", "2.0", "0.5"]);
    let labels = folder.parquet("3.parquet", 10, vec![("x", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)]);
    assert_eq!(
        open(&[&ints, &floats, &labels]).unwrap_err().to_string(),
        format!("column `x` is a number in {floats} and text in {labels}, expected one type")
    );
}

#[test]
fn damaged_parquet_is_refused() {
    let folder = Folder::new();
    let whole = fs::read(folder.parquet("whole.parquet", 1000, numbered(0..5000))).unwrap();
    let error = |content: &[u8]| {
        let path = folder.write("bad.parquet", content);
        let result = open(&[&path]).and_then(|source| read(&source, &["id", "g"]));
        result.unwrap_err().to_string().replace(&path, "bad")
    };
    assert_eq!(error(b""), "bad: the file is empty, expected a Parquet file");
    let truncated = "bad: the file is truncated, expected the footer, which ends with `PAR1`";
    assert_eq!(error(&whole[..10]), truncated);
    assert_eq!(error(&whole[..whole.len() / 2]), truncated);
    assert_eq!(error(&whole[..whole.len() - 1]), truncated);
    assert_eq!(
        error(b"x,y\n1,2\n"),
        "bad: not Parquet (which begins with `PAR1`), got a file that begins with 78 2c 79 0a"
    );
    let mut footer = whole.clone();
    let at = footer.len() - 8;
    footer[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(error(&footer).starts_with("bad: damaged Parquet: "), "{}", error(&footer));
    let mut pages = whole.clone();
    pages[4..2000].fill(0xff);
    assert!(error(&pages).starts_with("bad: damaged Parquet: row group "), "{}", error(&pages));
}

#[test]
fn arrow_files_and_streams_are_read() {
    let folder = Folder::new();
    let batches: Vec<RecordBatch> =
        (0..150).map(|at| RecordBatch::try_from_iter(numbered(at * 10..at * 10 + 10)).unwrap()).collect();
    let mut file = Vec::new();
    let mut writer = FileWriter::try_new(&mut file, &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    for path in [folder.write("f.feather", &file), folder.write("s.arrow", &stream)] {
        let batch = read(&open(&[&path]).unwrap(), &["h", "id"]).unwrap();
        let ids = batch.column(1).as_primitive::<Int64Type>();
        assert_eq!(ids.values().to_vec(), (0..1500).collect::<Vec<i64>>());
    }
    let path = folder.write("cut.arrow", &file[..file.len() / 2]);
    assert!(open(&[&path]).unwrap_err().to_string().starts_with(&format!("{path}: damaged Arrow IPC: ")));
    let path = folder.write("not.ipc", "hello");
    assert!(open(&[&path]).unwrap_err().to_string().starts_with(&format!("{path}: not Arrow IPC")));
}

#[test]
fn json_lines_are_read_with_late_fractions_and_missing_fields() {
    let folder = Folder::new();
    let mut lines = String::from("{\"z\": 1, \"a\": \"x\", \"b\": true}\n");
    for row in 0..60_000 {
        lines += &format!("{{\"z\": {row}, \"a\": \"line {row}: \\\"quoted\\\" \\n\"}}\n");
    }
    lines += "\n{\"z\": 0.5, \"late\": null}\n";
    let path = folder.write("t.jsonl", &lines);
    let source = open(&[&path]).unwrap();
    assert_eq!(source.columns(), ["z", "a", "b", "late"]);
    assert_eq!(types(&source), [DataType::Float64, text(), DataType::Boolean, DataType::Null]);
    let z = column(&source, "z");
    assert_eq!((z.len(), z[0].as_str(), z[60_001].as_str()), (60_002, "1.0", "0.5"));
    assert_eq!(column(&source, "b")[..2], ["true".to_owned(), "-".to_owned()]);
    let packed = folder.write("t.ndjson.gz", gzip(lines.as_bytes()));
    assert_eq!(column(&open(&[&packed]).unwrap(), "z"), z);
}

#[test]
fn wrong_json_is_named_by_its_line() {
    let folder = Folder::new();
    let error = |text: &str| open(&[&folder.write("w.json", text)]).unwrap_err().to_string();
    let path = folder.path("w.json");
    assert_eq!(
        error("[{\"a\": 1}]\n"),
        format!("{path}: not JSON lines: one object `{{…}}` on each line, got an array `[`")
    );
    assert!(error("{\"a\": 1}\n\n{\"a\": }\n").starts_with(&format!("{path}: damaged JSON lines: line 3: ")));
    assert_eq!(error(""), format!("{path}: the file is empty, expected one JSON object on each line"));
}
