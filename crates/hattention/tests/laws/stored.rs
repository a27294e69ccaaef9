//! Laws of states in files: the same rows are the same bytes, and what is read back is what was written.

use hattention::codec::States;
use hattention::{Block, Column, Error, Moments};
use serde_json::json;

use crate::support::Source;
use crate::table::{Known, assert_same, of_rows, weighted_designs};

fn bytes(state: &Moments) -> Vec<u8> {
    States { states: vec![("moments".into(), state.clone())], quartic: None, extra: json!({"b": 1, "a": [2]}) }
        .to_bytes()
        .unwrap()
}

fn read(bytes: &[u8]) -> Moments {
    let states = States::from_bytes(bytes).unwrap();
    assert_eq!(states.extra, json!({"a": [2], "b": 1}));
    states.get("moments").unwrap().clone()
}

#[test]
fn states_are_read_back_in_bits_and_go_on() {
    for case in weighted_designs() {
        let whole = Known::of(&case, case.moments());
        assert_same(&case, "read back", &read(&bytes(&whole.state)), &whole);
        let split = case.rows() / 3;
        let mut grown = read(&bytes(&Moments::of(&case.slice(0..split)).unwrap()));
        grown.push(&case.slice(split..case.rows())).unwrap();
        assert_same(&case, "read and continued", &grown, &whole);
        let mut shrunk = read(&bytes(&whole.state));
        shrunk.remove(&case.slice(0..split)).unwrap();
        assert!(shrunk == Moments::of(&case.slice(split..case.rows())).unwrap(), "{}", case.name);
    }
}

#[test]
fn the_same_rows_are_the_same_bytes() {
    let mut source = Source(11);
    for case in weighted_designs() {
        let rows = case.rows();
        let whole = bytes(&case.moments());
        assert!(bytes(&of_rows(&case, &source.order(rows))) == whole, "{}: in another order", case.name);
        let single: Vec<Moments> = (0..rows).map(|row| read(&bytes(&of_rows(&case, &[row])))).collect();
        let mut merged = single[0].clone();
        single[1..].iter().rev().for_each(|state| merged.merge(state));
        assert!(bytes(&merged) == whole, "{}: merged from files of single rows", case.name);
        // A wild row that came and went leaves no trace.
        let mut state = case.moments();
        let wild = vec![[1e300]; state.columns()];
        let columns = wild.iter().map(|x| Column::Dense(x)).collect();
        let weights = case.block().weights.map(|_| &[1e-300][..]);
        let row = Block { rows: 1, columns, weights };
        state.push(&row).unwrap();
        state.remove(&row).unwrap();
        assert!(bytes(&state) == whole, "{}: a row came and went", case.name);
    }
}

#[test]
fn files_that_are_no_states_are_refused() {
    let case = &weighted_designs()[0];
    let good = bytes(&case.moments());
    for length in 0..good.len() {
        assert!(matches!(States::from_bytes(&good[..length]), Err(Error::Format { .. })), "{length} bytes");
    }
    // A changed byte is refused, or another state: it never ends the program.
    let mut refused = 0;
    for at in 0..good.len() {
        for flip in [1u8, 0x80] {
            let mut changed = good.clone();
            changed[at] ^= flip;
            match States::from_bytes(&changed) {
                Ok(states) => {
                    if let Some(state) = states.get("moments") {
                        let _ = case.solve(
                            state,
                            hattention::Filter::Ols,
                            hattention::Aliased::Drop,
                            hattention::RankTolerance::Rounding,
                        );
                    }
                }
                Err(Error::Format { .. }) => refused += 1,
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
    }
    assert!(refused > good.len(), "{refused} of {} changes refused", 2 * good.len());
    let twice = States {
        states: vec![("a".into(), case.moments()), ("a".into(), case.moments())],
        quartic: None,
        extra: json!(0),
    };
    assert!(matches!(twice.to_bytes(), Err(Error::Format { .. })));
}

#[test]
fn what_is_counted_of_a_column_does_not_depend_on_blocks() {
    let rows = 60;
    let codes: Vec<u32> = (0..rows as u32).map(|i| if i < 30 { 0 } else { i % 3 }).collect();
    let x: Vec<f64> = (0..rows).map(|i| f64::from(i as i32) + 0.25).collect();
    // A computed column: whether a block of it needs pairs depends on where it is cut.
    let rest: Vec<f64> = (0..rows).map(|i| if i % 20 == 7 { 1e-18 } else { 0.0 }).collect();
    let block = |range: std::ops::Range<usize>| -> Moments {
        let (x, codes, lo) = (&x[range.clone()], &codes[range.clone()], &rest[range.clone()]);
        let computed = if lo.iter().all(|lo| *lo == 0.0) { Column::Dense(x) } else { Column::Pair { hi: x, lo } };
        let within = (0..3).map(|code| Column::Within { codes, code, hi: x, lo: None });
        let columns = within.chain([computed, Column::Dense(x)]).collect();
        Moments::of(&Block { rows: range.len(), columns, weights: None }).unwrap()
    };
    let whole = bytes(&block(0..rows));
    for length in [1, 7, 25] {
        let mut state = Moments::new(5);
        for first in (0..rows).step_by(length) {
            state.merge(&block(first..rows.min(first + length)));
        }
        assert!(bytes(&state) == whole, "blocks of {length}");
        state.subtract(&block(10..50)).unwrap();
        let mut rest = block(0..10);
        rest.merge(&block(50..rows));
        assert!(bytes(&state) == bytes(&rest), "blocks of {length}, and one taken out");
    }
}
