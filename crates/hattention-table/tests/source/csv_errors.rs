//! What is said about CSV that cannot be read.

use super::*;

/// The error of opening a CSV text, or of reading all of it.
fn csv_error(text: impl AsRef<[u8]>) -> String {
    match csv(text).and_then(|source| {
        let columns = source.columns();
        read(&source, &columns.iter().map(String::as_str).collect::<Vec<_>>())
    }) {
        Ok(batch) => panic!("expected an error, got {batch:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn ragged_rows_are_named() {
    assert_eq!(csv_error("a,b\n1,2\n\n3\n4,5\n"), "stdin:4: expected 2 fields, got 1");
    assert_eq!(csv_error("a,b\n1,\"2\n\"\n3,4,5\n"), "stdin:4: expected 2 fields, got 3");
    let mut late = counting(1_500_000);
    late += "1,2,3\n";
    assert_eq!(csv_error(&late), "stdin:1500002: expected 2 fields, got 3");
}

#[test]
fn bytes_that_are_not_utf8_are_named() {
    assert_eq!(csv_error(b"a,b\n1,x\n2,caf\xe9 noir\n"), "stdin:3: not UTF-8, got bytes e9 20 after `2,caf`");
    assert_eq!(csv_error(b"\xe9,b\n1,x\n"), "stdin:1: not UTF-8, got bytes e9 2c");
    assert_eq!(csv_error(b"\xff\xfea\0,\0"), "stdin: not CSV, got text in UTF-16");
}

#[test]
fn a_quote_that_never_closes_is_named() {
    assert_eq!(csv_error("a,b\n1,2\n3,\"4\n5,6\n"), "stdin:3: a quoted field opens in this row and never closes");
    let mut long = String::from("a,b\n1,2\n3,\"4\n");
    long.extend(std::iter::repeat_n("5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24\n", 1_300_000));
    assert!(long.len() > 64 << 20);
    assert_eq!(csv_error(&long), format!("stdin:3: the row is longer than {} bytes", 64 << 20));
}

#[test]
fn empty_files_and_duplicate_names_are_refused() {
    assert_eq!(csv_error(""), "stdin: the file is empty, expected a header with the column names");
    assert_eq!(csv_error("\n\r\n"), "stdin: the file is empty, expected a header with the column names");
    assert_eq!(csv_error("\u{feff}"), "stdin: the file is empty, expected a header with the column names");
    assert_eq!(csv_error("a,b, a\n1,2,3\n"), "stdin: columns 1 and 3 are both named `a`, expected distinct names");
}

#[test]
fn truncated_gzip_is_refused_wherever_it_ends() {
    let folder = Folder::new();
    let packed = gzip(counting(400_000).as_bytes());
    for length in [5, 1000, packed.len() / 2, packed.len() - 5] {
        let path = folder.write("cut.csv.gz", &packed[..length]);
        let result = open(&[&path]).and_then(|source| read(&source, &["x"]));
        assert_eq!(
            result.unwrap_err().to_string(),
            format!("{path}: the file is truncated, expected the end of the gzip stream")
        );
    }
    let path = folder.write("plain.csv.gz", "a,b\n1,2\n");
    assert_eq!(
        open(&[&path]).unwrap_err().to_string(),
        format!("{path}: not gzip (which begins with 1f 8b), got a file that begins with 61 2c 62 0a")
    );
    let path = folder.write("none.csv.gz", "");
    assert_eq!(open(&[&path]).unwrap_err().to_string(), format!("{path}: the file is empty, expected a gzip file"));
}

#[test]
fn a_date_column_refuses_what_is_no_date() {
    let mut text = String::from("d,pad\n");
    for _ in 0..150_000 {
        text += "2013-01-31,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n";
    }
    text += "soon,b\n";
    assert_eq!(csv_error(&text), "stdin:150002: column `d`: expected a date like 2013-01-31, got `soon`");
}
