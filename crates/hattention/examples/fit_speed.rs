//! Times moments and whitening on normal data: `cargo run --release --example fit_speed -- ROWS COLUMNS`.
use hattention::{Block, Column, Design, Filter, Fit, Moments, Whitening, WhiteningOptions, in_memory};

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let [rows, columns] = arguments[..] else {
        eprintln!("expected ROWS COLUMNS");
        return;
    };
    let mut state = 88172645463325252u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    let data: Vec<Vec<f64>> = (0..=columns).map(|_| (0..rows).map(|_| next()).collect()).collect();
    let block = Block { rows, columns: data.iter().map(|c| Column::Dense(c)).collect(), weights: None };
    let design = Design::plain((0..columns).map(|c| format!("x{c}")), true);
    for _ in 0..5 {
        let start = std::time::Instant::now();
        match in_memory::fit(&block, &design, &[(columns, "y")], WhiteningOptions::default()) {
            Ok((whitening, fits)) => {
                let (seconds, method) = (start.elapsed().as_secs_f64(), whitening.method);
                println!(
                    "{method:?} {seconds:.4} s, {} digits, condition {:.2}",
                    fits[0].digits(),
                    whitening.condition
                );
            }
            Err(error) => eprintln!("error: {error}"),
        }
    }
    let start = std::time::Instant::now();
    let Ok(moments) = Moments::of(&block) else { return };
    println!("moments {:.3} s", start.elapsed().as_secs_f64());
    let start = std::time::Instant::now();
    match Whitening::of(&moments, &design, Filter::Ols, WhiteningOptions::default(), None) {
        Ok(whitening) => {
            println!("whitening {:.3} s, condition {:.2}", start.elapsed().as_secs_f64(), whitening.condition);
            let start = std::time::Instant::now();
            if let Ok(fit) = Fit::of(&moments, &whitening, columns, "y") {
                println!("fit {:.3} s, {} digits", start.elapsed().as_secs_f64(), fit.digits());
            }
        }
        Err(error) => eprintln!("error: {error}"),
    }
}
