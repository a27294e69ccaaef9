//! Two's-complement integers of many words, least significant word first.

/// `target += value · 2^shift`, or `-=` when `negate`; `value` is signed, `target` must be wide enough for the result.
pub(crate) fn add_shifted(target: &mut [u64], value: &[u64], shift: usize, negate: bool) {
    let (skip, bits) = (shift / 64, shift % 64);
    if value.is_empty() || skip >= target.len() {
        return;
    }
    let sign = if value[value.len() - 1] >> 63 == 1 { u64::MAX } else { 0 };
    let flip = if negate { u64::MAX } else { 0 };
    let mut carry = negate as u64;
    let mut below = 0u64;
    for (i, word) in target[skip..].iter_mut().enumerate() {
        let here = if i < value.len() { value[i] } else { sign };
        let shifted = if bits == 0 { here } else { here << bits | below >> (64 - bits) };
        below = here;
        // Words under `skip` are zero, so the "+1" of a negation enters at the first word that is touched.
        let (sum, over) = word.overflowing_add(shifted ^ flip);
        let (sum, more) = sum.overflowing_add(carry);
        *word = sum;
        carry = (over | more) as u64;
    }
}

/// `target += value · 2^shift`, or `-=` when `negate`, for an unsigned 128-bit value.
pub(crate) fn add_u128(target: &mut [u64], value: u128, shift: usize, negate: bool) {
    add_shifted(target, &[value as u64, (value >> 64) as u64, 0], shift, negate);
}

/// Whether the number is below zero.
pub(crate) fn is_negative(value: &[u64]) -> bool {
    value.last().is_some_and(|top| top >> 63 == 1)
}

/// Whether the number is zero.
pub(crate) fn is_zero(value: &[u64]) -> bool {
    value.iter().all(|&word| word == 0)
}

/// `−value` in place.
pub(crate) fn negate(value: &mut [u64]) {
    let mut carry = true;
    for word in value {
        let (sum, over) = (!*word).overflowing_add(carry as u64);
        *word = sum;
        carry = over;
    }
}

/// A number that is not zero in a form that depends on its value only: an odd integer, and the exponent of its unit.
pub(crate) fn canonical(words: &[u64], exponent: i32) -> (Vec<u64>, i32) {
    let skip = words.iter().take_while(|w| **w == 0).count();
    let zeros = 64 * skip as u32 + words.get(skip).map_or(0, |word| word.trailing_zeros());
    let mut odd = vec![0u64; words.len() + 1];
    shift_right(&mut odd, words, zeros as usize);
    while odd.len() > 1 && odd[odd.len() - 1] == sign_word(odd[odd.len() - 2]) {
        odd.pop();
    }
    (odd, exponent + zeros as i32)
}

fn sign_word(word: u64) -> u64 {
    if word >> 63 == 1 { u64::MAX } else { 0 }
}

fn shift_right(target: &mut [u64], value: &[u64], shift: usize) {
    let sign = sign_word(value[value.len() - 1]);
    let (skip, bits) = (shift / 64, shift % 64);
    for (i, word) in target.iter_mut().enumerate() {
        let low = value.get(i + skip).copied().unwrap_or(sign);
        let high = value.get(i + skip + 1).copied().unwrap_or(sign);
        *word = if bits == 0 { low } else { low >> bits | high << (64 - bits) };
    }
}

/// Integers up to this many words are worked on without asking for memory: all but those of extreme data.
pub(crate) const SHORT: usize = 32;

/// `product = a · b` of two signed numbers; `a.len() + b.len()` words of it are written, the rest is the sign.
pub(crate) fn multiply(product: &mut [u64], a: &[u64], b: &[u64]) {
    product.fill(0);
    let negative = is_negative(a) != is_negative(b);
    with_magnitude(a, |a| {
        with_magnitude(b, |b| {
            for (i, &l) in a.iter().enumerate().filter(|(_, l)| **l != 0) {
                let mut carry = 0u128;
                for (j, &r) in b.iter().enumerate() {
                    carry += product[i + j] as u128 + l as u128 * r as u128;
                    product[i + j] = carry as u64;
                    carry >>= 64;
                }
                product[i + b.len()] = carry as u64;
            }
        })
    });
    if negative {
        negate(product);
    }
}

fn with_magnitude<R>(value: &[u64], work: impl FnOnce(&[u64]) -> R) -> R {
    if !is_negative(value) {
        return work(value);
    }
    with_zeros(value.len(), |magnitude| {
        magnitude.copy_from_slice(value);
        negate(magnitude);
        work(magnitude)
    })
}

/// Some words of zeros, from the stack if they are few.
pub(crate) fn with_zeros<R>(words: usize, work: impl FnOnce(&mut [u64]) -> R) -> R {
    let mut short = [0u64; SHORT];
    match short.get_mut(..words) {
        Some(zeros) => work(zeros),
        None => work(&mut vec![0; words]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    fn big(words: &[u64]) -> BigInt {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        BigInt::from_signed_bytes_le(&bytes)
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]
        #[test]
        fn shifted_addition_and_products_agree_with_big_integers(
            start in prop::collection::vec(any::<u64>(), 2),
            value in prop::collection::vec(any::<u64>(), 1..4),
            shift in 0usize..200,
            subtract: bool,
        ) {
            let mut wide = start.clone();
            let sign = if is_negative(&start) { u64::MAX } else { 0 };
            wide.resize(10, sign);
            let mut got = wide.clone();
            add_shifted(&mut got, &value, shift, subtract);
            let term = big(&value) << shift;
            let expected = if subtract { big(&wide) - term } else { big(&wide) + term };
            prop_assert_eq!(big(&got), expected);
            let mut product = vec![7; start.len() + value.len() + 1];
            multiply(&mut product, &start, &value);
            prop_assert_eq!(big(&product), big(&start) * big(&value));
        }
    }
}
