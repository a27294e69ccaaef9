use num_bigint::BigInt;
use proptest::prelude::*;

use super::*;

/// A double as an integer in units of 2⁻¹⁰⁷⁴.
fn big(x: f64) -> BigInt {
    let (m, e) = integer_and_exponent(x);
    if m == 0 { BigInt::from(0) } else { BigInt::from(m) << (e + 1074) as usize }
}

/// An entry in units of 2⁻¹⁰⁷⁴ for each of its factors.
fn entry(state: &QuarticMoments, columns: [usize; 4], factors: i32) -> BigInt {
    let Some((words, exponent)) = state.sums.entry(columns) else { return BigInt::from(0) };
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let value = BigInt::from_signed_bytes_le(&bytes);
    let shift = exponent + 1074 * factors;
    if shift >= 0 { value << shift as usize } else { value >> (-shift) as usize }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn every_kernel_gives_the_sums_of_big_integers(
        bits in prop::collection::vec(any::<[u64; 4]>(), 1..700),
        range in 1u64..60,
        weighted: bool,
        first in 0usize..3,
    ) {
        let double = |bits: u64| {
            let exponent = 1000 + (bits >> 52) % range;
            f64::from_bits(bits >> 63 << 63 | exponent << 52 | bits & ((1 << 52) - 1))
        };
        let column = |at: usize| -> Vec<f64> { bits.iter().map(|row| double(row[at])).collect() };
        let (x, hi, y) = (column(0), column(1), column(2));
        let lo: Vec<f64> = hi.iter().map(|hi| hi * f64::EPSILON / 4.0).collect();
        let weights: Vec<f64> = bits.iter().map(|row| if row[3] % 5 == 0 { 0.0 } else { double(row[3]).abs() }).collect();
        let columns = vec![Column::Dense(&x), Column::Pair { hi: &hi, lo: &lo }, Column::Dense(&y)];
        let block = Block { rows: bits.len(), columns, weights: weighted.then_some(&weights[..]) };
        let states: Vec<QuarticMoments> = Kernel::all()
            .into_iter()
            .map(|kernel| {
                let mut state = QuarticMoments::new(3).unwrap();
                state.accumulate(kernel, &block, &[0, 1, 2], false).unwrap();
                state
            })
            .collect();
        prop_assert!(states.iter().all(|state| state == &states[0]));
        let factors = if weighted { 6 } else { 4 };
        let one = big(1.0);
        let value = |column: usize, row: usize| match column {
            0 => one.clone(),
            1 => big(x[row]),
            2 => big(hi[row]) + big(lo[row]),
            _ => big(y[row]),
        };
        for columns in [[0, 0, 0, 0], [0, first, 1, 2], [first, 1, 2, 3], [1, 2, 2, 3], [2, 2, 2, 2], [3, 3, first, first]] {
            let product = |row: usize| -> BigInt {
                let all = columns.iter().map(|column| value(*column, row)).product::<BigInt>();
                if weighted { all * big(weights[row]) * big(weights[row]) } else { all }
            };
            let expected: BigInt = (0..bits.len()).map(product).sum();
            prop_assert_eq!(entry(&states[0], columns, factors), expected, "{:?}", columns);
        }
    }
}
