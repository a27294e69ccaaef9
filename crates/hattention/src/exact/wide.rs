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

/// `a · b` of two signed numbers, `a.len() + b.len()` words.
pub(crate) fn multiply(a: &[u64], b: &[u64]) -> Vec<u64> {
    let (mut left, mut right) = (a.to_vec(), b.to_vec());
    let negative = is_negative(a) != is_negative(b);
    for factor in [&mut left, &mut right] {
        if is_negative(factor) {
            negate(factor);
        }
    }
    let mut product = vec![0u64; left.len() + right.len()];
    for (i, &l) in left.iter().enumerate().filter(|(_, l)| **l != 0) {
        let mut carry = 0u128;
        for (j, &r) in right.iter().enumerate() {
            carry += product[i + j] as u128 + l as u128 * r as u128;
            product[i + j] = carry as u64;
            carry >>= 64;
        }
        product[i + right.len()] = carry as u64;
    }
    if negative {
        negate(&mut product);
    }
    product
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
            prop_assert_eq!(big(&multiply(&start, &value)), big(&start) * big(&value));
        }
    }
}
