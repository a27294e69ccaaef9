//! Laws of canonical ensembles, and attention in all its forms.

use hattention::Error;
use hattention::thermodynamics::{Attention, Ensemble, Form, Logits, Number, Numbers, Observables, QueriesAndKeys};
use proptest::prelude::*;

fn at(energies: &[f64], temperature: f64) -> Observables {
    Ensemble::of(energies, temperature).unwrap().observables().unwrap()
}

fn weights(energies: &[f64], temperature: f64) -> Vec<f64> {
    let o = at(energies, temperature);
    energies.iter().map(|e| (-e / temperature - o.log_partition).exp()).collect()
}

/// The slope of a function, by differences of the eighth order.
fn slope(of: impl Fn(f64) -> f64, at: f64, step: f64) -> f64 {
    let pair = |k: f64| of(at + k * step) - of(at - k * step);
    (4.0 / 5.0 * pair(1.0) - 1.0 / 5.0 * pair(2.0) + 4.0 / 105.0 * pair(3.0) - 1.0 / 280.0 * pair(4.0)) / step
}

/// `Σ pE + T Σ p ln p`.
fn free_energy(p: &[f64], energies: &[f64], temperature: f64) -> f64 {
    p.iter().zip(energies).map(|(p, e)| p * e + if *p > 0.0 { temperature * p * p.ln() } else { 0.0 }).sum()
}

proptest! {
    #[test]
    fn thermodynamics_holds(
        energies in prop::collection::vec(-5.0..5.0f64, 1..700),
        other in prop::collection::vec(0.0..1.0f64, 700),
        temperature in 0.3..20.0f64,
    ) {
        let o = at(&energies, temperature);
        let scale = 1.0 + o.internal_energy.abs();
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-12 * (1.0 + a.abs());
        prop_assert!(near(o.free_energy, o.internal_energy - temperature * o.entropy));
        prop_assert!(near(o.free_energy, -temperature * o.log_partition));
        let p = weights(&energies, temperature);
        let squares: f64 = p.iter().map(|p| p * (p.ln() + o.entropy).powi(2)).sum();
        prop_assert!(near(o.heat_capacity, squares), "{} {squares}", o.heat_capacity);
        // Slopes by differences have few digits of their own.
        let step = 0.01 * temperature;
        let capacity = slope(|t| at(&energies, t).internal_energy, temperature, step);
        prop_assert!((capacity - o.heat_capacity).abs() <= 1e-10 * scale, "{capacity} {}", o.heat_capacity);
        let entropy = -slope(|t| at(&energies, t).free_energy, temperature, step);
        prop_assert!((entropy - o.entropy).abs() <= 1e-10 * scale);
        // Softmax has the least free energy of all weights.
        let sum: f64 = other[..energies.len()].iter().sum();
        if sum > 0.0 {
            let q: Vec<f64> = other[..energies.len()].iter().map(|q| q / sum).collect();
            prop_assert!(free_energy(&q, &energies, temperature) >= o.free_energy - 1e-12 * scale);
        }
        prop_assert!((free_energy(&p, &energies, temperature) - o.free_energy).abs() <= 1e-12 * scale);
        let n = energies.len() as f64;
        prop_assert!(o.entropy >= 0.0 && o.entropy <= n.ln() + 1e-14);
        prop_assert!(o.participation >= 1.0 - 1e-14 && o.participation <= o.effective_keys * (1.0 + 1e-13));
        prop_assert!(o.effective_keys <= n * (1.0 + 1e-13));
    }

    #[test]
    fn hot_and_cold_have_their_limits(numbers in prop::collection::vec(-3i32..4, 2..40)) {
        let energies: Vec<f64> = numbers.iter().map(|e| f64::from(*e)).collect();
        let n = energies.len() as f64;
        let (mean, least) = (energies.iter().sum::<f64>() / n, energies.iter().copied().fold(f64::INFINITY, f64::min));
        let hot = at(&energies, 1e9);
        prop_assert!((hot.internal_energy - mean).abs() < 1e-7 && (hot.entropy - n.ln()).abs() < 1e-12);
        let variance = energies.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / n;
        prop_assert!((hot.heat_capacity * 1e18 - variance).abs() < 1e-7 * (1.0 + variance));
        let cold = at(&energies, 1e-3);
        let alike = energies.iter().filter(|e| **e == least).count() as f64;
        prop_assert_eq!((cold.internal_energy, cold.heat_capacity, cold.keys), (least, 0.0, n));
        prop_assert!((cold.effective_keys - alike).abs() < 1e-12 * alike);
        prop_assert!((cold.participation - alike).abs() < 1e-12 * alike);
    }
}

/// Numbers that look random.
fn noise(count: usize, seed: f64) -> Vec<f64> {
    (0..count)
        .map(|i| ((i as f64 + seed) * 12.9898).sin() * 43_758.545_3)
        .map(|x| 4.0 * (x - x.floor()) - 2.0)
        .collect()
}

fn bytes(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn logits(bytes: &[u8], number: Number, shape: &[usize]) -> Attention<'static> {
    let bytes: &'static [u8] = Box::leak(bytes.to_vec().into_boxed_slice());
    let numbers = Numbers::new(bytes, number, shape, false).unwrap();
    Attention::new(Form::Logits(Logits::new(numbers, f64::NEG_INFINITY)), 1.0).unwrap()
}

#[test]
fn queries_and_keys_are_their_logits() {
    let (batches, heads, key_heads, queries, keys, width) = (2, 4, 2, 13, 1100, 5);
    let (q, k) = (noise(batches * heads * queries * width, 0.0), noise(batches * key_heads * keys * width, 7e4));
    let temperature = 1.7;
    for causal in [false, true] {
        let mut scores = Vec::new();
        for b in 0..batches {
            for h in 0..heads {
                for i in 0..queries {
                    for j in 0..keys {
                        let a = &q[((b * heads + h) * queries + i) * width..][..width];
                        let c = &k[((b * key_heads + h / 2) * keys + j) * width..][..width];
                        let product: f64 = a.iter().zip(c).map(|(a, c)| a * c).sum();
                        let read = !causal || j + queries <= i + keys;
                        scores.push(if read { product / temperature } else { f64::NEG_INFINITY });
                    }
                }
            }
        }
        let (qb, kb) = (bytes(&q), bytes(&k));
        let q_of = Numbers::new(&qb, Number::F64, &[batches, heads, queries, width], false).unwrap();
        let k_of = Numbers::new(&kb, Number::F64, &[batches, key_heads, keys, width], false).unwrap();
        let form = Form::Keys(QueriesAndKeys::new(q_of, k_of, causal).unwrap());
        let found = Attention::new(form, temperature).unwrap().heads().unwrap();
        let expected = logits(&bytes(&scores), Number::F64, &[batches, heads, queries, keys]).heads().unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            for (a, b) in found.queries.iter().zip(&expected.queries) {
                let (a, b) = (a.unwrap(), b.unwrap());
                // Of logits energies are in units of the temperature.
                let pairs = [
                    (a.internal_energy / temperature, b.internal_energy),
                    (a.entropy, b.entropy),
                    (a.heat_capacity, b.heat_capacity),
                    (a.participation, b.participation),
                ];
                assert!(pairs.iter().all(|(a, b)| (a - b).abs() < 1e-11 * (1.0 + b.abs())), "{pairs:?}");
                assert_eq!(a.keys, b.keys);
            }
            assert!((found.pooled.variance - expected.pooled.variance).abs() < 1e-12);
            assert_eq!(found.pooled.count, expected.pooled.count);
            let last = found.queries[queries - 1].unwrap();
            assert_eq!(last.keys, keys as f64);
        }
    }
}

#[test]
fn pooled_variance_weighs_all_scores_alike() {
    let scores = noise(6 * 700, 3.0);
    let head = &logits(&bytes(&scores), Number::F64, &[6, 700]).heads().unwrap()[0];
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    let variance = scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / scores.len() as f64;
    assert!((head.pooled.variance - variance).abs() < 1e-13 && (head.pooled.mean - mean).abs() < 1e-13);
    let most = scores.iter().copied().fold(f64::MIN, f64::max);
    assert_eq!((head.pooled.count, head.pooled.largest), (4200, most));
    let weight: f64 = head.queries.iter().map(|o| o.unwrap().entropy).sum::<f64>() / 6.0;
    assert!((head.mean.unwrap().entropy - weight).abs() < 1e-13);
}

#[test]
fn numbers_of_all_kinds_and_orders_are_read() {
    // 1, −2, 0.5 (as halves) and a mask.
    let halves = [0x3c00u16, 0xc000, 0x3800, 0xfc00];
    let half: Vec<u8> = halves.iter().flat_map(|h| h.to_le_bytes()).collect();
    let brain: Vec<u8> =
        [1.0f32, -2.0, 0.5, f32::NEG_INFINITY].iter().flat_map(|x| x.to_le_bytes()[2..].to_vec()).collect();
    let single: Vec<u8> = [1.0f32, -2.0, 0.5, f32::NEG_INFINITY].iter().flat_map(|x| x.to_le_bytes()).collect();
    let double = bytes(&[1.0, -2.0, 0.5, f64::NEG_INFINITY]);
    let forms = [(half, Number::F16), (brain, Number::BF16), (single, Number::F32), (double, Number::F64)];
    let all: Vec<_> = forms.iter().map(|(bytes, number)| logits(bytes, *number, &[4]).heads().unwrap()).collect();
    assert!(all.iter().all(|heads| heads == &all[0]) && all[0][0].mean.unwrap().keys == 3.0);
    // The smallest half, 2⁻²⁴, and the largest, 65504.
    let ends: Vec<u8> = [0x0001u16, 0x7bff].iter().flat_map(|h| h.to_le_bytes()).collect();
    let head = &logits(&ends, Number::F16, &[2]).heads().unwrap()[0];
    assert_eq!((head.pooled.least, head.pooled.largest), (2f64.powi(-24), 65504.0));
    // [[1, 2, 3], [4, 5, 6]] column by column.
    let (rows, columns) = (bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), bytes(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
    let of = |bytes: &[u8], fortran: bool| {
        let numbers = Numbers::new(bytes, Number::F64, &[2, 3], fortran).unwrap();
        Attention::new(Form::Logits(Logits::new(numbers, -1e4)), 1.0).unwrap().heads().unwrap()
    };
    assert_eq!(of(&rows, false), of(&columns, true));
}

#[test]
fn what_does_not_fit_is_refused() {
    let some = bytes(&[1.0; 12]);
    let numbers = |shape: &[usize]| Numbers::new(&some, Number::F64, shape, false);
    assert!(numbers(&[3, 4]).is_ok() && numbers(&[3, 3]).is_err() && numbers(&[]).is_err());
    assert!(numbers(&[12, 0]).is_err() && numbers(&[1, 1, 1, 3, 4]).is_err());
    assert!(numbers(&[usize::MAX, 2]).is_err());
    let pair = |q: &[usize], k: &[usize], causal| QueriesAndKeys::new(numbers(q).unwrap(), numbers(k).unwrap(), causal);
    assert!(pair(&[3, 4], &[3, 4], true).is_ok());
    assert!(pair(&[3, 4], &[4, 3], false).is_err() && pair(&[4, 3], &[2, 2, 3], false).is_err());
    assert!(pair(&[6, 2], &[3, 2, 2], false).is_err() && pair(&[2, 2, 1, 3], &[1, 2, 2, 3], false).is_err());
    assert!(pair(&[4, 3], &[1, 4, 3], true).is_ok() && pair(&[12, 1], &[2, 6, 1], true).is_err());
    let mut broken = noise(2 * 3 * 9, 0.0);
    broken[2 * 9 + 9 * 3 + 4] = f64::NAN;
    let found = logits(&bytes(&broken), Number::F64, &[2, 3, 9]).heads();
    assert!(matches!(found, Err(Error::Format { got, .. }) if got.contains("head 1, query 2, key 4")));
    let infinite = logits(&bytes(&[0.0, f64::INFINITY]), Number::F64, &[2]).heads();
    assert!(matches!(infinite, Err(Error::Format { got, .. }) if got.contains("infinite")));
    // A query that reads nothing says nothing.
    let nothing =
        logits(&bytes(&[f64::NEG_INFINITY, f64::NEG_INFINITY, 1.0, 2.0]), Number::F64, &[2, 2]).heads().unwrap();
    assert!(nothing[0].queries[0].is_none() && nothing[0].mean == nothing[0].queries[1]);
}

#[test]
fn a_closer_look_agrees_with_the_whole() {
    let scores = noise(3 * 5 * 600, 9.0);
    let attention = logits(&bytes(&scores), Number::F64, &[3, 5, 600]);
    let heads = attention.heads().unwrap();
    let ranges: Vec<_> = heads.iter().map(|head| head.pooled).collect();
    let looks = attention.look(100, &[0.5, 1.0, 2.0], &ranges, 20).unwrap();
    for (look, head) in looks.iter().zip(&heads) {
        assert_eq!((look.queries, look.edges.len()), (5, 21));
        assert_eq!(Some(look.curve[1].mean), head.mean);
        let capacity = (look.curve[2].mean.internal_energy - look.curve[0].mean.internal_energy) / 1.5;
        assert!(capacity > 0.0 && look.curve[0].mean.entropy < look.curve[2].mean.entropy);
        assert!((look.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        // What is attended to has higher scores than keys have.
        let mean = |shares: &[f64]| shares.iter().enumerate().map(|(b, share)| b as f64 * share).sum::<f64>();
        assert!(mean(&look.weights) > mean(&look.keys) + 1.0);
    }
    assert!(attention.look(0, &[], &ranges, 20).is_err() && attention.look(1, &[-1.0], &ranges, 20).is_err());
}
