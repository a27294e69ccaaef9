//! temporary measurement
use hattention_table::source::*;
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let spec = args[1].clone();
    let threads: usize = args[2].parse().unwrap();
    let order = if args[3] == "file" { ScanOrder::File } else { ScanOrder::Any };
    let mut o = SourceOptions { partitions: threads, ..Default::default() };
    if let Ok(b) = std::env::var("BATCH") { o.batch_rows = b.parse().unwrap(); }
    if let Ok(q) = std::env::var("SQL") { o.sql = Some(q); }
    for _ in 0..std::env::var("REPEAT").map_or(1, |r| r.parse().unwrap()) {
        let t = Instant::now();
        let s = match Source::open(&[spec.clone()], &o) { Ok(s) => s, Err(e) => { println!("error: {e}\nhint: {:?}", e.hint()); std::process::exit(2) } };
        let opened = t.elapsed();
        let cols: Vec<String> = if args.len() > 4 { args[4].split(',').map(String::from).collect() } else { s.columns() };
        let mut rows = 0; let mut bytes = 0; let mut sum = 0;
        let t2 = Instant::now();
        let mut first = None;
        for b in s.scan(&cols, order).unwrap() {
            let b = match b { Ok(b) => b, Err(e) => { println!("error: {e}\nhint: {:?}", e.hint()); std::process::exit(2) } };
            first.get_or_insert(t2.elapsed());
            rows += b.batch.num_rows(); bytes += b.bytes; sum += b.batch.get_array_memory_size();
        }
        println!("{} open {:?} first {:?} scan {:?} rows {rows} bytes {bytes} mem {} total {:?}", s.describe(), opened, first, t2.elapsed(), sum >> 20, s.bytes_total());
    }
    let st = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", st.lines().find(|l| l.starts_with("VmHWM")).unwrap());
}
