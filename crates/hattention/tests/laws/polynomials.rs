//! Orthogonal polynomials and products of them, against exact regressions on what they are up to their lengths.
//!
//! On `t = −4 … 4` the orthogonal polynomials are `t`, `3t² − 20` and `5t³ − 59t`, wherever the column `x = t + centre`
//! stands, and on `u = −1, 0, 1` they are `u`, `3u² − 2`. A coefficient of `p/‖p‖` is `‖p‖` times that of `p`, so its
//! square is a quotient of integers.

use hattention::attention::{Keys, predict};
use hattention::{
    Aliased, Design, Error, FastMemory, Filter, Fit, Model, Moments, Orthogonal, RankTolerance, Whitening,
    WhiteningOptions, selection,
};

use crate::support::exact::Penalty;
use crate::support::{Case, Fraction, Source, Truth, Values};
use crate::table::EPSILON;

const ROWS: usize = 27;

fn t(row: usize) -> i128 {
    row as i128 % 9 - 4
}

fn u(row: usize) -> i128 {
    row as i128 / 9 - 1
}

/// Whole numbers as pairs of doubles, exactly.
fn pairs(f: impl Fn(usize) -> i128) -> Values {
    let parts = (0..ROWS).map(|row| {
        let hi = f(row) as f64;
        (hi, (f(row) - hi as i128) as f64)
    });
    let (hi, lo) = parts.unzip();
    Values::Pair(hi, lo)
}

/// A polynomial in `t`, or in `u`, by its degree; the constant is 1.
fn polynomial_of_t(degree: usize, row: usize) -> i128 {
    [1, t(row), 3 * t(row).pow(2) - 20, 5 * t(row).pow(3) - 59 * t(row)][degree]
}

fn polynomial_of_u(degree: usize, row: usize) -> i128 {
    [1, u(row), 3 * u(row).pow(2) - 2][degree]
}

fn squared_length(polynomial: impl Fn(usize) -> i128) -> i128 {
    (0..ROWS).map(|row| polynomial(row).pow(2)).sum()
}

/// A design with polynomials, over a state of powers; and the same columns, but for their lengths, as they are.
pub struct Formed {
    raw: Case,
    design: Design,
    pub formed: Case,
    /// `‖p‖²` of every column that is an orthogonal polynomial or a product, else 1. Shape: `[columns]`.
    squares: Vec<i128>,
    /// The largest term of an entry's sum, over the entry's length.
    reach: f64,
}

/// What else the products of polynomials have as a factor.
#[derive(Clone, Copy, Debug)]
enum Company {
    /// `poly(x, 3) + z`
    Beside,
    /// `poly(x, 3)*z`
    Crossed,
    /// `poly(x, 3):z`
    Within,
    /// `poly(x, 2):g`
    Levels,
    /// `poly(x, 2):poly(w, 2)`
    Both,
    /// `poly(x, 2)*poly(w, 2)`
    BothCrossed,
}

const COMPANIES: [Company; 6] =
    [Company::Beside, Company::Crossed, Company::Within, Company::Levels, Company::Both, Company::BothCrossed];

/// Columns of a state and of a design, one by one.
struct Builder {
    state: Vec<Values>,
    columns: Vec<Values>,
    places: Vec<Option<usize>>,
    squares: Vec<i128>,
    orthogonal: Vec<Orthogonal>,
}

impl Builder {
    fn state(&mut self, f: impl Fn(usize) -> i128) -> usize {
        self.state.push(pairs(f));
        self.state.len() - 1
    }

    fn column(&mut self, place: usize, square: i128, f: impl Fn(usize) -> i128) -> usize {
        self.columns.push(pairs(f));
        self.places.push(Some(place));
        self.squares.push(square);
        self.columns.len() - 1
    }

    /// `poly(x, degree):factor`, the powers of x being columns of the state.
    fn times(&mut self, powers: &[usize], products: Vec<Option<usize>>, factor: impl Fn(usize) -> i128) {
        let degrees = 1..=powers.len();
        let positions = degrees.map(|k| {
            let square = squared_length(|row| polynomial_of_t(k, row));
            self.column(products[k].unwrap(), square, |row| polynomial_of_t(k, row) * factor(row))
        });
        let positions = positions.collect();
        self.orthogonal.push(Orthogonal { powers: vec![powers.to_vec()], positions, products });
    }
}

fn formed(company: Company, centre: i128, intercept: bool) -> Formed {
    let mut source = Source(77);
    let z: Vec<i128> = source.integers(ROWS, -9, 9).into_iter().map(|z| z as i128).collect();
    let y = source.integers(ROWS, -99, 99);
    let x = |row: usize| t(row) + centre;
    // Its centre is not that of x, so that a mistaken factor shows.
    let w = |row: usize| u(row) - 3;
    let mut b = Builder {
        state: Vec::new(),
        columns: Vec::new(),
        places: Vec::new(),
        squares: Vec::new(),
        orthogonal: Vec::new(),
    };
    let degree = if matches!(company, Company::Beside | Company::Crossed | Company::Within) { 3 } else { 2 };
    let powers: Vec<usize> = (1..=degree).map(|k| b.state(|row| x(row).pow(k))).collect();
    let alone: Vec<Option<usize>> = std::iter::once(None).chain(powers.iter().copied().map(Some)).collect();
    if matches!(company, Company::Beside | Company::Crossed | Company::BothCrossed) {
        b.times(&powers, alone.clone(), |_| 1);
    }
    match company {
        Company::Beside | Company::Crossed | Company::Within => {
            let place = b.state(|row| z[row]);
            if !matches!(company, Company::Within) {
                b.column(place, 1, |row| z[row]);
            }
            if !matches!(company, Company::Beside) {
                let products = (1..=degree).map(|k| Some(b.state(|row| x(row).pow(k) * z[row])));
                let products = std::iter::once(Some(place)).chain(products.collect::<Vec<_>>()).collect();
                b.times(&powers, products, |row| z[row]);
            }
        }
        Company::Levels => {
            for level in -1..=1 {
                let inside = |row: usize| i128::from(u(row) == level);
                let products = (0..=degree).map(|k| Some(b.state(|row| x(row).pow(k) * inside(row))));
                let products = products.collect();
                b.times(&powers, products, inside);
            }
        }
        Company::Both | Company::BothCrossed => {
            let others: Vec<usize> = (1..=2).map(|k| b.state(|row| w(row).pow(k))).collect();
            if matches!(company, Company::BothCrossed) {
                let positions = (1..=2).map(|k| {
                    let square = squared_length(|row| polynomial_of_u(k, row));
                    b.column(others[k - 1], square, |row| polynomial_of_u(k, row))
                });
                let positions = positions.collect();
                b.orthogonal.push(Orthogonal::alone(positions, others.clone()));
            }
            let mut products = Vec::new();
            for l in 0..=2u32 {
                for k in 0..=2u32 {
                    products.push(match (k, l) {
                        (0, 0) => None,
                        (k, 0) => Some(powers[k as usize - 1]),
                        (0, l) => Some(others[l as usize - 1]),
                        (k, l) => Some(b.state(|row| x(row).pow(k) * w(row).pow(l))),
                    });
                }
            }
            let mut positions = Vec::new();
            for l in 1..=2 {
                for k in 1..=2 {
                    let of = |row: usize| polynomial_of_t(k, row) * polynomial_of_u(l, row);
                    let square =
                        squared_length(|row| polynomial_of_t(k, row)) * squared_length(|row| polynomial_of_u(l, row));
                    positions.push(b.column(products[3 * l + k].unwrap(), square, of));
                }
            }
            b.orthogonal.push(Orthogonal { powers: vec![powers.clone(), others], positions, products });
        }
    }
    let name = format!("{company:?} about {centre}, intercept {intercept}");
    let names = (1..=b.columns.len()).map(|k| format!("x{k}")).collect();
    let design = Design { names, columns: b.places, intercept, orthogonal: b.orthogonal };
    // |5 x³| + … has terms below 5 (2 (|centre| + 4))³ times the other factor's largest, 3 · 4² + …
    let reach = 5.0 * (2.0 * (centre.abs() as f64 + 4.0)).powi(degree as i32) * 64.0;
    Formed {
        raw: Case::new(name.clone(), b.state, y.clone(), intercept),
        design,
        formed: Case::new(name, b.columns, y, intercept),
        squares: b.squares,
        reach,
    }
}

impl Formed {
    fn weighted(self, weights: Vec<f64>) -> Self {
        Self {
            raw: self.raw.weighted("weighted", weights.clone()),
            formed: self.formed.weighted("weighted", weights),
            ..self
        }
    }

    /// The state without weights, which polynomials are formed by.
    fn unweighted(&self) -> Moments {
        Case { weights: None, ..self.raw.clone() }.moments()
    }

    /// The state and the factored design.
    pub fn least_squares(&self) -> (Moments, Whitening) {
        (self.raw.moments(), self.solve(Filter::Ols, RankTolerance::Rounding).unwrap().0)
    }

    fn solve(&self, filter: Filter, rank_tolerance: RankTolerance) -> Result<(Whitening, Fit), Error> {
        let (moments, unweighted) = (self.raw.moments(), self.unweighted());
        let options = WhiteningOptions { aliased: Aliased::Drop, rank_tolerance, ..WhiteningOptions::default() };
        let whitening = Whitening::of(&moments, &self.design, filter, options, Some(&unweighted))?;
        let fit = Fit::of(&moments, &whitening, self.raw.columns.len(), "y")?;
        Ok((whitening, fit))
    }

    /// `‖p‖²` by coefficient, the intercept's being 1.
    fn squares(&self) -> Vec<Fraction> {
        let intercept = self.design.intercept.then_some(1);
        intercept.into_iter().chain(self.squares.iter().copied()).map(|s| Fraction::of(s as f64)).collect()
    }
}

pub fn every_case() -> Vec<Formed> {
    let mut all = Vec::new();
    for company in COMPANIES {
        for centre in [0, 1000, 1 << 30] {
            for intercept in [true, false] {
                let mut source = Source(centre as u64 + 5);
                all.push(formed(company, centre, intercept));
                // Some rows count for nothing: the polynomials know them nevertheless.
                let weights = (0..ROWS).map(|row| if row == 13 { 0.0 } else { source.integer(1, 9) as f64 }).collect();
                all.push(formed(company, centre, intercept).weighted(weights));
            }
        }
    }
    all
}

/// Digits of an estimate of `b √s`, and that its sign is right.
fn digits(estimate: f64, b: &Fraction, square: &Fraction) -> f64 {
    let sign_is_right = b.is_zero() || b.is_negative() == (estimate < 0.0);
    let digits = b.mul(b).mul(square).root_digits(estimate.abs());
    if sign_is_right { digits } else { 0.0 }
}

#[test]
fn coefficients_errors_and_digits_are_those_of_the_polynomials() {
    let mut bits = Vec::new();
    for case in every_case() {
        let truth = Truth::of(&case.formed);
        let (whitening, fit) = case.solve(Filter::Ols, RankTolerance::Rounding).unwrap();
        let (variances, squares) = (truth.variances().unwrap(), case.squares());
        assert_eq!(truth.kept.len(), fit.names.len(), "{}", case.raw.name);
        for (k, c) in fit.coefficients(0.95).iter().enumerate() {
            let what = format!("{} {}: {c:?}", case.raw.name, c.name);
            let found = digits(c.estimate.unwrap(), truth.coefficients[k].as_ref().unwrap(), &squares[k]);
            let reported = c.digits.unwrap();
            assert!(reported <= found + 0.5 && reported >= found - 3.0, "{what}, {found} digits");
            assert!(reported > 15.0, "{what}");
            // The loading, its squares, their sum, and σ: (p + 10) ε.
            let found = variances[k].mul(&squares[k]).root_digits(c.std_error.unwrap());
            let expected = -((case.formed.columns.len() as f64 + 10.0) * EPSILON).log10();
            assert!(found >= expected.min(15.9), "{what}, {found} digits of the standard error");
        }
        let condition = Truth::of(&case.formed).condition_log10();
        assert!((whitening.condition.log10() - condition).abs() < 0.1, "{}", case.raw.name);
        bits.push(whitening.bits);
    }
    // Powers about 2³⁰ leave 2⁻⁸⁷ of themselves to the third polynomial, twice as many bits to its square.
    assert!(bits.contains(&256) && bits.iter().any(|b| *b > 256), "{bits:?}");
}

#[test]
fn digits_are_honest_wherever_the_column_stands() {
    // From no bit lost to more than 256 bits hold.
    for shift in 0..=33 {
        for company in [Company::Crossed, Company::Both] {
            let case = formed(company, (1 << shift) + 1, shift % 2 == 0);
            let (truth, squares) = (Truth::of(&case.formed), case.squares());
            let (whitening, fit) = case.solve(Filter::Ols, RankTolerance::Rounding).unwrap();
            for (k, c) in fit.coefficients(0.95).iter().enumerate() {
                let found = digits(c.estimate.unwrap(), truth.coefficients[k].as_ref().unwrap(), &squares[k]);
                let what = format!("{}, {} bits: {c:?}, {found} digits", case.raw.name, whitening.bits);
                assert!(c.digits.unwrap() <= found + 0.5 && c.digits.unwrap() > 15.0, "{what}");
            }
        }
    }
}

#[test]
fn doubles_taken_at_their_word_give_the_same() {
    for case in every_case() {
        let (_, rounding) = case.solve(Filter::Ols, RankTolerance::Rounding).unwrap();
        let (_, exact) = case.solve(Filter::Ols, RankTolerance::Exact).unwrap();
        assert_eq!(rounding.estimates, exact.estimates, "{}", case.raw.name);
    }
}

/// `Σ aᵢ bᵢ`.
fn sum(products: impl Iterator<Item = Fraction>) -> Fraction {
    products.fold(Fraction::of(0.0), |sum, product| sum.add(&product))
}

#[test]
fn predictions_and_leverages_are_those_of_the_polynomials() {
    for case in every_case() {
        let truth = Truth::of(&case.formed);
        let (whitening, fit) = case.solve(Filter::Ols, RankTolerance::Rounding).unwrap();
        let block = case.raw.block();
        let ids: Vec<usize> = (0..case.raw.columns.len()).collect();
        let block = hattention::Block { columns: block.columns[..ids.len()].to_vec(), ..block };
        let predictions = predict(&whitening, &fit, &block, &ids).unwrap();
        let leverages = Keys::of(&whitening, &block, &ids).unwrap().leverages(block.weights);
        let p = case.formed.columns.len() as f64;
        // An entry of a formed column is a sum in 2⁻¹⁰⁴, and enters with a coefficient of at most ‖y‖ κ.
        let entry = 2f64.powi(-102) * case.reach;
        let size = 2.0 * 99.0 * (ROWS as f64 * 9.0).sqrt() * whitening.condition;
        for row in 0..ROWS {
            let number = |values: &Values| match values {
                Values::Dense(x) => Fraction::of(x[row]),
                Values::Pair(hi, lo) => Fraction::of(hi[row]).add(&Fraction::of(lo[row])),
            };
            let constant = case.design.intercept.then(|| Fraction::of(1.0));
            let x: Vec<Fraction> = constant.into_iter().chain(case.formed.columns.iter().map(number)).collect();
            let exact = sum(x.iter().zip(&truth.coefficients).map(|(x, b)| x.mul(b.as_ref().unwrap()))).to_f64();
            let tolerance = EPSILON * exact.abs() + p * entry * size;
            assert!((predictions[row] - exact).abs() <= tolerance, "{}: {row}", case.raw.name);
            let weight = Fraction::of(case.raw.weights.as_ref().map_or(1.0, |w| w[row]));
            let of_row = |a: usize| sum(truth.inverse[a].iter().zip(&x).map(|(i, x)| i.mul(x))).mul(&x[a]);
            let exact = sum((0..x.len()).map(of_row)).mul(&weight).to_f64();
            let tolerance = (p + 1.0) * (p + 4.0) * (EPSILON + 9.0 * entry) * whitening.condition;
            let got = leverages[row];
            assert!((got - exact).abs() <= tolerance, "{}: {got} for {exact}, row {row}", case.raw.name);
        }
    }
}

#[test]
fn ridge_penalises_the_polynomials() {
    // With standardised columns the lengths do not matter.
    let filter = Filter::Ridge { alpha: 2.5, standardize: true };
    for case in every_case() {
        let truth = Truth::penalised(&case.formed, Penalty::Standardized(2.5));
        let (_, fit) = case.solve(filter, RankTolerance::Rounding).unwrap();
        for ((k, c), square) in fit.coefficients(0.95).iter().enumerate().zip(case.squares()) {
            let found = digits(c.estimate.unwrap(), truth.coefficients[k].as_ref().unwrap(), &square);
            assert!(c.digits.unwrap() <= found + 0.5 && found > 15.0, "{}: {c:?}, {found} digits", case.raw.name);
        }
    }
}

#[test]
fn all_components_are_least_squares() {
    for case in every_case() {
        let (_, least) = case.solve(Filter::Ols, RankTolerance::Rounding).unwrap();
        let filter = Filter::Components { count: case.formed.columns.len(), standardize: false };
        let (_, components) = case.solve(filter, RankTolerance::Rounding).unwrap();
        for (a, b) in least.estimates.iter().zip(&components.estimates) {
            let (a, b) = (a.unwrap().to_f64(), b.unwrap().to_f64());
            assert!((a - b).abs() <= EPSILON * a.abs(), "{}: {b} for {a}", case.raw.name);
        }
    }
}

#[test]
fn how_much_to_shrink_is_chosen_for_the_polynomials() {
    for case in every_case() {
        let (moments, unweighted) = (case.raw.moments(), case.unweighted());
        let target = case.raw.columns.len();
        let formed = case.formed.moments();
        let plain = case.formed.design();
        // With standardised columns the lengths do not matter.
        let got = selection::ridge(&moments, &case.design, Some(&unweighted), target, true).unwrap();
        let expected = selection::ridge(&formed, &plain, None, case.formed.columns.len(), true).unwrap();
        assert!((got.criterion / expected.criterion - 1.0).abs() < 1e-9, "{}: {got:?} {expected:?}", case.raw.name);
        // Without weights components of equal length can be turned into each other.
        if case.raw.weights.is_none() {
            continue;
        }
        let got = selection::components(&moments, &case.design, Some(&unweighted), target, true).unwrap();
        let expected = selection::components(&formed, &plain, None, case.formed.columns.len(), true).unwrap();
        assert!((got.criterion / expected.criterion - 1.0).abs() < 1e-9, "{}: {got:?} {expected:?}", case.raw.name);
    }
}

#[test]
fn files_and_fast_memory_hold_the_polynomials() {
    for case in every_case() {
        let (whitening, fit) = case.solve(Filter::Ols, RankTolerance::Rounding).unwrap();
        let model = Model { whitening: whitening.clone(), fits: vec![fit.clone()], extra: Default::default() };
        let read = Model::from_bytes(&model.to_bytes().unwrap()).unwrap();
        assert_eq!(read.whitening.design, case.design);
        assert_eq!(read.whitening.factors, whitening.factors);
        let ids: Vec<usize> = (0..case.raw.columns.len()).collect();
        let block = case.raw.block();
        let target = block.columns[ids.len()];
        let block = hattention::Block { columns: block.columns[..ids.len()].to_vec(), ..block };
        let predictions = predict(&whitening, &fit, &block, &ids).unwrap();
        assert_eq!(predict(&read.whitening, &read.fits[0], &block, &ids).unwrap(), predictions);

        let mut memory = FastMemory::new(&whitening, 1);
        memory.push(&read.whitening, &block, &ids, &[target]).unwrap();
        let coefficients = memory.coefficients(&whitening).unwrap();
        // As FastMemory states it, with the entries' own rounding: √(Σ w y²) times the loading's length.
        let p = case.formed.columns.len() as f64;
        let entry = EPSILON + 9.0 * 2f64.powi(-102) * case.reach;
        let size = (ROWS as f64 * 9.0).sqrt() * 99.0;
        for ((got, b), loading) in coefficients[0].iter().zip(&fit.estimates).zip(&whitening.loading) {
            let length = loading.iter().map(|l| l * l).sum::<f64>().sqrt();
            let tolerance = (p + 1.0) * (p + 4.0) * entry * whitening.condition * size * length;
            let (got, b) = (got.unwrap(), b.unwrap().to_f64());
            assert!((got - b).abs() <= tolerance, "{}: {got} for {b}", case.raw.name);
        }
    }
}

#[test]
fn files_with_other_factors_than_their_design_are_refused() {
    let (whitening, fit) = formed(Company::Crossed, 0, true).solve(Filter::Ols, RankTolerance::Rounding).unwrap();
    let spoilt: [(&str, fn(&mut Whitening)); 4] = [
        ("a factor missing", |w| w.factors[1].clear()),
        ("a plain column with factors", |w| w.factors[3] = w.factors[1].clone()),
        ("positions outside", |w| w.design.orthogonal[0].positions[0] = 99),
        ("a column of two polynomials", |w| w.design.orthogonal[0].positions[0] = 1),
    ];
    for (what, spoil) in spoilt {
        let mut whitening = whitening.clone();
        spoil(&mut whitening);
        let model = Model { whitening, fits: vec![fit.clone()], extra: Default::default() };
        let read = Model::from_bytes(&model.to_bytes().unwrap());
        assert!(matches!(read, Err(Error::Format { .. })), "{what}");
    }
}

#[test]
fn dependent_columns_are_left_out_one_by_one() {
    // x beside its polynomials: the first of these depends on it.
    let case = formed(Company::Beside, 1000, true);
    let design = Design {
        names: ["x", "P1", "P2", "P3"].map(String::from).to_vec(),
        columns: vec![Some(0), Some(0), Some(1), Some(2)],
        intercept: true,
        orthogonal: vec![Orthogonal::alone(vec![1, 2, 3], vec![0, 1, 2])],
    };
    let moments = case.raw.moments();
    let options = WhiteningOptions { aliased: Aliased::Drop, ..WhiteningOptions::default() };
    let whitening = Whitening::of(&moments, &design, Filter::Ols, options, None).unwrap();
    assert_eq!(whitening.kept, [0, 2, 3]);
    assert_eq!((whitening.dependent[0].column.as_str(), &whitening.dependent[0].on[..]), ("P1", &["x".to_owned()][..]));
    let refused = Whitening::of(&moments, &design, Filter::Ols, WhiteningOptions::default(), None);
    assert!(matches!(refused, Err(Error::RankDeficient { rank: 4, columns: 5, .. })));

    // Only x = −1, 0, 1 have weight: the third polynomial, formed by all rows, depends on the others there.
    let weights: Vec<f64> = (0..ROWS).map(|row| f64::from(u8::from(t(row).abs() <= 1))).collect();
    let case = formed(Company::Beside, 0, true).weighted(weights);
    let (whitening, fit) = case.solve(Filter::Ols, RankTolerance::Rounding).unwrap();
    assert_eq!(whitening.kept, [0, 1, 3]);
    assert!(fit.estimates[3].is_none());
}

#[test]
fn powers_of_too_few_values_are_refused() {
    // u has three values, so that its cube depends on lower powers, whatever is done with dependent columns.
    let state = Case::new("u", (1..=3).map(|k| pairs(|row| (u(row) + 7).pow(k))).collect(), vec![0.5; ROWS], true);
    let moments = state.moments();
    let design = Design { orthogonal: vec![Orthogonal::alone(vec![0, 1, 2], vec![0, 1, 2])], ..state.design() };
    for aliased in [Aliased::Error, Aliased::Drop, Aliased::MinNorm] {
        for rank_tolerance in [RankTolerance::Rounding, RankTolerance::Exact] {
            let options = WhiteningOptions { aliased, rank_tolerance, ..WhiteningOptions::default() };
            match Whitening::of(&moments, &design, Filter::Ols, options, None) {
                Err(Error::RankDeficient { rank: 3, columns: 4, dependent }) => {
                    assert_eq!(dependent.len(), 1);
                    assert_eq!((dependent[0].column.as_str(), &dependent[0].on[0][..]), ("x3", "lower powers"));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
