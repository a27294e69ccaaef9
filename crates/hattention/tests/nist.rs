//! NIST's linear least-squares sets against exact rational truth.

use hattention::double_double::DoubleDouble;
use hattention::{Block, Column, Design, Filter, Fit, Moments, Whitening, WhiteningOptions};

/// `name, powers of x (0: columns as they are), intercept`.
const SETS: [(&str, u32, bool); 11] = [
    ("Norris", 1, true),
    ("Pontius", 2, true),
    ("NoInt1", 1, false),
    ("NoInt2", 1, false),
    ("Filip", 10, true),
    ("Longley", 0, true),
    ("Wampler1", 5, true),
    ("Wampler2", 5, true),
    ("Wampler3", 5, true),
    ("Wampler4", 5, true),
    ("Wampler5", 5, true),
];

fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(set: &str) -> Vec<Vec<f64>> {
    let text = std::fs::read_to_string(root().join(format!("data/nist/{set}.csv"))).unwrap();
    let rows: Vec<Vec<f64>> =
        text.lines().skip(1).map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect()).collect();
    (0..rows[0].len()).map(|c| rows.iter().map(|r| r[c]).collect()).collect()
}

/// Exact results of the data rounded to doubles: `(coefficient, standard error)`.
fn truth(set: &str) -> Vec<(f64, f64)> {
    let text = std::fs::read_to_string(root().join("reference/nist_f64.csv")).unwrap();
    text.lines()
        .filter(|line| line.starts_with(&format!("{set},")))
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            (cells[2].parse().unwrap(), cells[3].parse().unwrap())
        })
        .collect()
}

fn digits(got: f64, expected: f64) -> f64 {
    if got == expected { 15.9 } else { (-((got - expected) / expected).abs().log10()).min(15.9) }
}

#[test]
fn all_eleven_sets_have_thirteen_digits() {
    for (set, power, intercept) in SETS {
        let data = read(set);
        let rows = data[0].len();
        let powers: Vec<(Vec<f64>, Vec<f64>)> = if power == 0 {
            data[1..].iter().map(|c| (c.clone(), vec![0.0; rows])).collect()
        } else {
            (1..=power)
                .map(|k| data[1].iter().map(|&x| DoubleDouble::from(x).powi(k)).map(|d| (d.hi, d.lo)).unzip())
                .collect()
        };
        let mut columns: Vec<Column> = powers.iter().map(|(hi, lo)| Column::Pair { hi, lo }).collect();
        columns.push(Column::Dense(&data[0]));
        let moments = Moments::of(&Block { rows, columns, weights: None }).unwrap();
        let design = Design::plain((1..=powers.len()).map(|k| format!("x{k}")), intercept);
        let whitening = Whitening::of(&moments, &design, Filter::Ols, WhiteningOptions::default(), None).unwrap();
        let fit = Fit::of(&moments, &whitening, powers.len(), "y").unwrap();
        let truth = truth(set);
        let coefficients = fit.coefficients(0.95);
        assert_eq!(coefficients.len(), truth.len(), "{set}");
        let (mut worst, mut worst_error) = (15.9f64, 15.9f64);
        for (c, (b, se)) in coefficients.iter().zip(&truth) {
            worst = worst.min(digits(c.estimate.unwrap(), *b));
            let got = c.std_error.unwrap();
            if *se < 1e-13 * b.abs() {
                assert!(got < 1e-13 * b.abs(), "{set}: {got}");
            } else {
                worst_error = worst_error.min(digits(got, *se));
            }
        }
        println!(
            "{set}: {worst:.1} {worst_error:.1}, said {:.1}, condition {:.2e}, {} bits, R² {}",
            fit.digits(),
            whitening.condition,
            whitening.bits,
            fit.r_squared()
        );
        assert!(worst >= 15.0 && worst_error >= 14.0, "{set}: {worst} {worst_error}");
    }
}
