//! Passes over a source: order, threads, columns.

use super::*;

#[test]
fn rows_are_the_same_for_all_threads_batches_and_orders() {
    let folder = Folder::new();
    let path = folder.write("c.csv", counting(400_000));
    let mut sums = Vec::new();
    for (partitions, batch_rows) in [(1, BATCH_ROWS), (2, 100), (4, 1_000_000)] {
        let options = SourceOptions { partitions, batch_rows, ..SourceOptions::default() };
        let source = open_with(&[&path], &options).unwrap();
        let batch = read(&source, &["x"]).unwrap();
        let values = batch.column(0).as_primitive::<Float64Type>().values().to_vec();
        assert!(values.iter().enumerate().all(|(row, &value)| value == row as f64));
        let any = source.scan(&names(&["x"]), ScanOrder::Any).unwrap();
        sums.push(
            any.map(|batch| batch.unwrap().batch.column(0).as_primitive::<Float64Type>().values().iter().sum::<f64>())
                .sum::<f64>(),
        );
    }
    assert_eq!(sums, [79_999_800_000.0; 3]);
}

#[test]
fn several_threads_can_share_a_scan() {
    let folder = Folder::new();
    let path = folder.parquet("p.parquet", 500, numbered(0..20_000));
    let scan = std::sync::Mutex::new(open(&[&path]).unwrap().scan(&names(&["id"]), ScanOrder::File).unwrap());
    let pull = || {
        let mut rows = 0;
        loop {
            let next = scan.lock().unwrap().next();
            match next {
                Some(batch) => rows += batch.unwrap().batch.num_rows(),
                None => return rows,
            }
        }
    };
    let total: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(pull)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(total, 20_000);
}

#[test]
fn a_scan_can_be_dropped_early_and_the_source_read_again() {
    let source = csv(counting(500_000)).unwrap();
    for order in [ScanOrder::Any, ScanOrder::File] {
        let mut scan = source.scan(&names(&["x"]), order).unwrap();
        assert!(scan.next().unwrap().is_ok());
        drop(scan);
    }
    let scan = source.scan(&names(&["x"]), ScanOrder::File).unwrap();
    drop(source);
    assert_eq!(scan.map(|batch| batch.unwrap().batch.num_rows()).sum::<usize>(), 500_000);
}

#[test]
fn columns_come_in_the_order_asked_for_also_twice_or_none() {
    let source = csv("age,born,cost\n1,2,3\n").unwrap();
    let batch = read(&source, &["cost", "age", "cost"]).unwrap();
    assert_eq!([shown(&batch, 0), shown(&batch, 1), shown(&batch, 2)], [["3.0"], ["1.0"], ["3.0"]]);
    assert_eq!(read(&source, &[]).unwrap().num_rows(), 1);
    let error = source.scan(&names(&["brn"]), ScanOrder::Any).unwrap_err();
    assert_eq!(error.to_string(), "stdin: no column `brn`");
    assert_eq!(error.hint().unwrap(), "did you mean `born`?");
}

#[test]
fn every_row_is_folded_once_whatever_the_parts() {
    let folder = Folder::new();
    // One row group, fewer than threads have work for, and many.
    for rows_per_group in [5000, 1000, 50] {
        let path = folder.parquet("t.parquet", rows_per_group, numbered(0..5000));
        let source = open(&[&path]).unwrap();
        let columns = source.columns();
        for threads in [1, 2, 5] {
            let count = |found: &mut (u64, u64), batch: &NumberedBatch| -> Result<(), TableError> {
                found.0 += batch.batch.num_rows() as u64;
                found.1 += batch.first_row.unwrap();
                Ok(())
            };
            let states = source.fold(&columns, threads, || (0, 0), count).unwrap();
            assert_eq!(states.len(), threads);
            assert_eq!(states.iter().map(|state| state.0).sum::<u64>(), 5000);
            let stop = |_: &mut (), _: &NumberedBatch| Err(TableError::StoredState { what: "it".into() });
            assert!(source.fold(&columns, threads, || (), stop).is_err());
        }
    }
}
