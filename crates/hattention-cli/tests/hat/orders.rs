//! Same data, same bits: whatever the order and the format of the files, the number of threads and the size of batches.

use std::path::PathBuf;

use hattention_table::arrow::array::RecordBatch;
use hattention_table::arrow::compute::concat_batches;
use hattention_table::arrow::csv::Writer;
use hattention_table::parquet::arrow::ArrowWriter;
use hattention_table::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::{Folder, data};

const COLUMNS: [&str; 7] = ["arr_delay", "dep_delay", "distance", "carrier", "origin", "dest", "hour"];
/// Where the flights are cut: a single row, parts of other lengths than a block of rows, and a long one.
const CUTS: [usize; 5] = [0, 9_001, 9_002, 12_000, 24_000];
/// In the order of the rows; by name they come in another.
const NAMES: [&str; 4] = ["d", "b", "a", "c"];
const ORDERS: [[usize; 4]; 3] = [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]];

struct Parts(Folder);

impl Parts {
    /// The first flights as Parquet and CSV, each whole and in parts.
    fn new() -> Self {
        let file = std::fs::File::open(data("data/flights.parquet")).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let batches: Vec<RecordBatch> = reader.take(24).map(Result::unwrap).collect();
        let flights = concat_batches(&batches[0].schema(), &batches).unwrap();
        let columns: Vec<usize> = COLUMNS.iter().map(|name| flights.schema().index_of(name).unwrap()).collect();
        let flights = flights.project(&columns).unwrap().slice(0, CUTS[4]);
        let parts = Self(Folder::new());
        for (part, name) in NAMES.iter().enumerate() {
            parts.write(&flights.slice(CUTS[part], CUTS[part + 1] - CUTS[part]), "parts", name);
        }
        parts.write(&flights, "whole", "all");
        parts
    }

    fn write(&self, rows: &RecordBatch, folder: &str, name: &str) {
        let create = |format: &str| {
            let folder = self.0.path(&format!("{folder}.{format}"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::File::create(folder.join(format!("{name}.{format}"))).unwrap()
        };
        let mut parquet = ArrowWriter::try_new(create("parquet"), rows.schema(), None).unwrap();
        parquet.write(rows).unwrap();
        parquet.close().unwrap();
        Writer::new(create("csv")).write(rows).unwrap();
    }

    fn hat(&self, args: &[&str]) -> String {
        self.0.done(args)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }
}

/// The parts of a format in the given order.
fn ordered(format: &str, order: [usize; 4]) -> Vec<String> {
    order.iter().map(|&part| format!("parts.{format}/{}.{format}", NAMES[part])).collect()
}

/// Every way to name the same rows.
fn sources() -> Vec<Vec<String>> {
    let mut sources = Vec::new();
    for format in ["parquet", "csv"] {
        sources.push(vec![format!("whole.{format}/all.{format}")]);
        sources.push(vec![format!("parts.{format}")]);
        sources.push(vec![format!("parts.{format}/*.{format}")]);
        sources.extend(ORDERS.map(|order| ordered(format, order)));
    }
    sources
}

/// Ways to compute that must not matter.
const WAYS: [&[&str]; 4] = [
    &["--threads", "1", "--batch-rows", "1000"],
    &["--threads", "2", "--batch-rows", "1000000"],
    &["--threads", "4"],
    &["--threads", "3", "--batch-rows", "77"],
];

#[test]
fn fits_do_not_depend_on_files_threads_or_batches() {
    let parts = Parts::new();
    let formula = "arr_delay ~ poly(dep_delay, 2) + distance*origin + carrier";
    let plain = "arr_delay ~ dep_delay + hour + distance*origin";
    for (formula, options) in [
        (formula, &[][..]),
        (formula, &["--vcov", "HC3"]),
        (formula, &["--vcov", "cluster:dest"]),
        (formula, &["--vcov", "cluster:dest+carrier"]),
        (formula, &["--weights", "distance", "--vcov", "HC1"]),
        (plain, &["--ridge", "10", "--standardize"]),
        (plain, &["--ridge", "auto"]),
        (plain, &["--components", "2"]),
    ] {
        let fit = |source: &[String], way: &[&str]| {
            let mut args = vec!["fit", formula, "--json"];
            args.extend(source.iter().map(String::as_str));
            args.extend(options.iter().chain(way));
            parts.hat(&args)
        };
        let reference = fit(&["whole.parquet/all.parquet".into()], &[]);
        for source in sources() {
            assert_eq!(fit(&source, &[]), reference, "{options:?} {source:?}");
        }
        for way in WAYS {
            assert_eq!(fit(&ordered("csv", ORDERS[1]), way), reference, "{options:?} {way:?}");
            assert_eq!(fit(&ordered("parquet", ORDERS[2]), way), reference, "{options:?} {way:?}");
        }
    }
}

#[test]
fn models_and_predictions_do_not_depend_on_files_threads_or_batches() {
    let parts = Parts::new();
    let fit = |model: &str, source: &[String], way: &[&str]| {
        let mut args = vec!["fit", "arr_delay ~ dep_delay*origin + carrier", "--vcov", "cluster:dest", "-o", model];
        args.extend(source.iter().map(String::as_str));
        args.extend(way);
        parts.hat(&args);
        std::fs::read(parts.path(model)).unwrap()
    };
    let reference = fit("m.hat", &["whole.parquet/all.parquet".into()], &[]);
    for (source, way) in sources().iter().zip(WAYS.iter().cycle()) {
        assert!(fit("other.hat", source, way) == reference, "{source:?} {way:?}");
    }
    // One row out for every row in, in the order of the files given: only the order of the rows is that of the files.
    let predict = |source: &[String], way: &[&str]| {
        let mut args = vec!["predict", "m.hat", "--augment", "--interval", "prediction"];
        args.extend(source.iter().map(String::as_str));
        args.extend(way);
        parts.hat(&args)
    };
    let reference = predict(&["whole.parquet/all.parquet".into()], &[]);
    assert_eq!(reference.lines().count(), CUTS[4] + 1, "a header and the rows");
    for source in [vec!["whole.csv/all.csv".into()], ordered("csv", ORDERS[0]), ordered("parquet", ORDERS[0])] {
        for way in WAYS {
            assert!(predict(&source, way) == reference, "{source:?} {way:?}");
        }
    }
    let explain = |source: &[String], way: &[&str]| {
        let mut args = vec!["explain", "m.hat", "parts.csv/b.csv", "--json", "--train"];
        args.extend(source.iter().map(String::as_str));
        args.extend(&way[..2]);
        parts.hat(&args)
    };
    let reference = explain(&["whole.parquet/all.parquet".into()], WAYS[0]);
    for way in WAYS {
        assert_eq!(explain(&ordered("parquet", ORDERS[0]), way), reference, "{way:?}");
        assert_eq!(explain(&ordered("csv", ORDERS[0]), way), reference, "{way:?}");
    }
}
