//! Bits of the kernel on every arithmetic this machine has.

use crate::dense::kernel::tests::machines;

use super::{LANES, Promise, Rows, Shape, Sums, Windows};

/// Numbers between −½ and ½ (Marsaglia's xorshift).
fn numbers(count: usize, mut state: u64) -> Vec<f64> {
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 12) as f64 / (1u64 << 52) as f64 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

/// Numbers as bits; whatever is none as one.
fn bits(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|x| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() }).collect()
}

#[test]
fn windows_have_the_same_bits_on_every_machine() {
    for (columns, intercept, decay) in [(3, true, 1.0), (2, false, 1.0), (4, true, 0.9)] {
        let promise = Promise::OfErrors(1e-10);
        let units = vec![2f64.powi(-53); columns];
        let shape = Shape { columns, targets: 2, intercept, decay, units, full: true, promise };
        let count = 19;
        let weighted = |mut rows: Vec<f64>| {
            for row in rows.chunks_mut(shape.width() * LANES) {
                for (weight, counted) in
                    (0..LANES).map(|l| (shape.fields() * LANES + l, (shape.fields() + 1) * LANES + l))
                {
                    row[weight] = (8.0 * row[weight].abs()).floor();
                    row[counted] = (row[weight] > 0.0) as u8 as f64;
                }
            }
            rows
        };
        let (front, back) = [5, 7].map(|seed| weighted(numbers(count * shape.width() * LANES, seed))).into();
        let low: Vec<f64> = numbers(count * shape.fields() * LANES, 9).iter().map(|x| x * 2f64.powi(-54)).collect();
        let shifts = if intercept { numbers(shape.fields() * LANES, 11) } else { vec![0.0; shape.fields() * LANES] };
        let of = |hi| Rows { hi, lo: Some(&low), count };
        let runs: Vec<Vec<Vec<u64>>> = machines()
            .into_iter()
            .map(|machine| {
                let mut states = vec![0.0; shape.state() * 2 * LANES];
                let memory = &mut Vec::new();
                let job = Sums { shape: &shape, rows: of(&back), shifts: &shifts, memory, states: &mut states };
                machine.dispatch(job);
                let mut all = vec![bits(&states)];
                for doubled in [false, true] {
                    for leaves in [false, true] {
                        let mut out = vec![0.0; (count + 1) * shape.output() * LANES];
                        machine.dispatch(Windows {
                            shape: &shape,
                            front: of(&front),
                            back: leaves.then_some(of(&back)),
                            shifts: &shifts,
                            base: &states,
                            doubled,
                            memory: &mut Vec::new(),
                            out: &mut out,
                        });
                        assert!(out[out.len() / 2..].iter().filter(|x| x.is_finite()).count() > out.len() / 4);
                        all.push(bits(&out));
                    }
                }
                all
            })
            .collect();
        assert!(runs.windows(2).all(|pair| pair[0] == pair[1]), "{columns} columns");
        // The two arithmetics are two: they agree to a double's accuracy, not in bits.
        assert_ne!(runs[0][1], runs[0][3]);
    }
}
