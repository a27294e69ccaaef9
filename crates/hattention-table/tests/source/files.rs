//! Files, directories and globs.

use super::*;

#[test]
fn files_are_read_in_the_order_given_and_globs_by_name() {
    let folder = Folder::new();
    folder.write("part-2.csv", "x\n2\n3\n");
    folder.write("part-1.csv", "x\n0\n1\n");
    folder.write("part-10.csv", "x\n9\n");
    let order = column(&open(&[&folder.path("part-2.csv"), &folder.path("part-1.csv")]).unwrap(), "x");
    assert_eq!(order, ["2.0", "3.0", "0.0", "1.0"]);
    let globbed = open(&[&folder.path("part-*.csv")]).unwrap();
    assert_eq!(column(&globbed, "x"), ["0.0", "1.0", "9.0", "2.0", "3.0"]);
    assert!(globbed.describe().ends_with("part-*.csv (CSV, 3 files, 1 columns)"), "{}", globbed.describe());
}

#[test]
fn a_directory_is_its_files_of_a_known_format() {
    let folder = Folder::new();
    folder.write("d/b/2.csv", "x\n2\n");
    folder.write("d/a.csv", "x\n1\n");
    folder.write("d/_SUCCESS", "");
    folder.write("d/.hidden.csv", "y\n");
    folder.write("d/README.md", "about");
    assert_eq!(column(&open(&[&folder.path("d")]).unwrap(), "x"), ["1.0", "2.0"]);
    let with_slash = format!("{}/", folder.path("d"));
    assert_eq!(column(&open(&[&with_slash]).unwrap(), "x"), ["1.0", "2.0"]);
    folder.write("d/c.jsonl", "{\"x\": 3}\n");
    let error = open(&[&folder.path("d")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}: expected files of one format, got CSV and JSON lines", folder.path("d"))
    );
    folder.write("e/README.md", "about");
    let error = open(&[&folder.path("e")]).unwrap_err();
    assert!(error.to_string().ends_with("e: the directory holds no file of a known format"));
    assert!(error.hint().unwrap().contains(".parquet"));
}

#[test]
fn what_is_not_there_is_said_with_the_nearest_name() {
    let folder = Folder::new();
    folder.write("flights.csv", "x\n1\n");
    let error = open(&[&folder.path("fligths.csv")]).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: no such file or directory", folder.path("fligths.csv")));
    assert_eq!(error.hint().unwrap(), format!("did you mean {}?", folder.path("flights.csv")));
    let error = open(&[&folder.path("flights.parquet")]).unwrap_err();
    assert_eq!(error.hint().unwrap(), format!("did you mean {}?", folder.path("flights.csv")));
    assert_eq!(open(&[&folder.path("no/such.csv")]).unwrap_err().hint(), None);
    let error = open(&[&folder.path("*.parquet")]).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: the pattern matches no file", folder.path("*.parquet")));
    assert_eq!(open(&[]).unwrap_err().to_string(), "no source, expected a path, a glob, a directory or `-`");
}

#[test]
fn unknown_formats_and_addresses_are_refused_by_name() {
    let folder = Folder::new();
    let path = folder.write("data.xlsx", "PK");
    let error = open(&[&path]).unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("{path}: unknown format, expected the extension .csv, ")),
        "{error}"
    );
    let error = open(&["ftp://host/key.parquet"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ftp://host/key.parquet: unknown kind of address ftp://, expected a path, or s3://, gs://, az://, abfs://, \
         http:// or https://"
    );
    let path = folder.write("packed.csv", gzip(b"a\n1\n"));
    assert_eq!(open(&[&path]).unwrap_err().to_string(), format!("{path}: not CSV, got a gzip file"));
}

#[test]
fn files_with_other_columns_or_types_are_refused() {
    let folder = Folder::new();
    let first = folder.write("1.csv", "x,y\n1,2\n");
    let other = folder.write("2.csv", "x,z\n1,2\n");
    assert_eq!(
        open(&[&first, &other]).unwrap_err().to_string(),
        format!("{other}: expected the columns of {first}; missing: `y`; not there: `z`")
    );
    let text = folder.write("3.csv", "x,y\na,2\nb,3\n");
    assert_eq!(
        open(&[&first, &text]).unwrap_err().to_string(),
        format!("column `x` is a number in {first} and text in {text}, expected one type")
    );
    let mixed = folder.write("4.csv", "x,y\n1,2\n2,3\noops,3\n");
    assert_eq!(
        open(&[&first, &mixed]).unwrap_err().to_string(),
        format!("{mixed}:4: column `x` holds numbers, except in 1 of the first 3 values, here `oops`")
    );
    let parquet = folder.parquet("5.parquet", 10, vec![("x", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let error = open(&[&first, &parquet]).unwrap_err();
    assert!(error.to_string().ends_with("expected files of one format, got CSV and Parquet"), "{error}");
}
