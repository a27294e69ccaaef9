//! What the solution of several effects reaches, and what is refused.

use super::*;

#[test]
fn a_chain_of_levels_is_solved_to_the_stated_tolerance() {
    // Level i of the first effect meets levels i and i + 1 of the second: the worst connected graph there is, with a
    // condition of the square of its length, about 1e9 here.
    let levels = 20_000u32;
    let mut source = Source(16);
    let codes: Vec<Vec<u32>> = vec![
        (0..levels).flat_map(|i| [i, i, i]).collect(),
        (0..levels).flat_map(|i| [i, i, (i + 1).min(levels - 1)]).collect(),
    ];
    let rows = 3 * levels as usize;
    let x = source.reals(rows);
    // Rows of one level of the first effect differ by the slope, the step of the second effect, and nothing else.
    let y: Vec<f64> = (0..rows).map(|i| 3.0 * x[i] + codes[1][i] as f64).collect();
    let rows = Rows { columns: vec![x, y], codes, weights: None };
    let absorbed = Absorbed::of(&rows.state(), &AbsorbOptions::default()).unwrap();
    let solution = absorbed.solution();
    assert!(solution.reached <= solution.tolerance, "{solution:?}");
    let whitening = absorbed.whitening(&rows.design(), Default::default()).unwrap();
    let fit = absorbed.fit(&whitening, 1, "y").unwrap();
    // y is rounded to 2⁻³⁹ near its largest values.
    close(fit.estimates[0].unwrap().to_f64(), 3.0, "slope");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let mut source = Source(17);
    let rows = Rows::random(&mut source, 60, 2, &[25, 20], false);
    let hasty = AbsorbOptions { steps: 1, ..AbsorbOptions::default() };
    match Absorbed::of(&rows.state(), &hasty) {
        Err(Error::NoConvergence { steps, residual }) => assert!(steps == 1 && residual > hasty.tolerance),
        other => panic!("{other:?}"),
    }
    let none = EffectMoments::new(2, ["g"]);
    assert_eq!(Absorbed::of(&none, &AbsorbOptions::default()).unwrap_err(), Error::NoRows);
    let loose = AbsorbOptions { tolerance: 0.0, ..AbsorbOptions::default() };
    assert!(matches!(Absorbed::of(&rows.state(), &loose), Err(Error::Parameter { name: "the tolerance", .. })));
    let mut other = EffectMoments::new(3, ["g0"]);
    assert!(matches!(other.merge(&rows.state()), Err(Error::IncompatibleStates { .. })));
    let mut state = rows.state();
    let kept = state.clone();
    assert!(matches!(state.push(&rows.block(), &[&rows.codes[0]]), Err(Error::Shape { .. })));
    let far = vec![u32::MAX; 60];
    assert!(matches!(state.push(&rows.block(), &[&rows.codes[0], &far]), Err(Error::Parameter { .. })));
    assert!(state == kept, "a refused block leaves no trace");
    let taken = rows.absorbed();
    for kind in [Vcov::Hc2, Vcov::Hc3, Vcov::Hac { lag: 2 }] {
        assert!(matches!(Scores::new(&taken.whitening, &taken.fit, kind), Err(Error::Parameter { .. })));
    }
    let fits = std::slice::from_ref(&taken.fit);
    let transformer = Transformer::of(&taken.whitening, fits, &Default::default());
    assert!(matches!(transformer, Err(Error::Parameter { name: "a fit", .. })));
    let few = rows.at(&(0..20).collect::<Vec<_>>());
    let absorbed = Absorbed::of(&few.state(), &AbsorbOptions::default()).unwrap();
    assert!(matches!(absorbed.whitening(&few.design(), Default::default()), Err(Error::TooFewRows { .. })));
    let unknown = vec![24u32; 60];
    let unknown = [&unknown[..], &unknown[..]];
    assert!(matches!(taken.absorbed.residuals(60, &[(0, None)], &unknown), Err(Error::Parameter { .. })));
}
