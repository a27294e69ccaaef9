//! Expressions of columns, evaluated a column at a time in pairs of doubles.

use hattention::double_double::DoubleDouble;

use super::numbers::Numbers;
use crate::formula::syntax::{Expr, Kind, Operator};
use crate::formula::variable::Function;

/// Powers up to this are products of pairs; beyond, the power function of doubles.
const EXACT_POWER_LIMIT: f64 = 64.0;

/// An expression whose columns are positions among the inputs of a design.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Number(f64),
    Input(usize),
    Negate(Box<Node>),
    Chain { first: Box<Node>, rest: Vec<(Operator, Node)> },
    Power { base: Box<Node>, exponent: Box<Node> },
    Call { function: Function, argument: Box<Node> },
}

/// Compiles checked arithmetic; `input` gives the position of a column.
pub(crate) fn compile<E>(expr: &Expr, input: &mut impl FnMut(&str) -> Result<usize, E>) -> Result<Node, E> {
    Ok(match &expr.kind {
        Kind::Number(number) => Node::Number(*number),
        Kind::Name(name) => Node::Input(input(name)?),
        Kind::Group(inner) => compile(inner, input)?,
        Kind::Unary { minus: false, operand } => compile(operand, input)?,
        Kind::Unary { minus: true, operand } => Node::Negate(Box::new(compile(operand, input)?)),
        Kind::Chain { first, rest } => {
            let first = Box::new(compile(first, input)?);
            let link = |link: &crate::formula::syntax::Link| Ok((link.operator, compile(&link.operand, input)?));
            Node::Chain { first, rest: rest.iter().map(link).collect::<Result<_, E>>()? }
        }
        Kind::Power { base, exponent } => {
            Node::Power { base: Box::new(compile(base, input)?), exponent: Box::new(compile(exponent, input)?) }
        }
        Kind::Call { function, arguments } => {
            // The grammar admits known functions of one argument only; a parsed formula has been checked.
            let function = Function::named(function).unwrap_or(Function::Identity);
            let argument =
                arguments.first().map_or(Ok(Node::Number(f64::NAN)), |argument| compile(&argument.value, input))?;
            Node::Call { function, argument: Box::new(argument) }
        }
        Kind::Text(_) | Kind::Dot => Node::Number(f64::NAN),
    })
}

/// A number for all rows, or one a row.
enum Value {
    Constant(DoubleDouble),
    Column(Numbers),
}

impl Value {
    fn column(self, rows: usize) -> Numbers {
        match self {
            Self::Constant(value) => Numbers::constant(value, rows),
            Self::Column(numbers) => numbers,
        }
    }
}

/// The value of an expression in every row. Shape of the inputs: `[rows]` each.
///
/// # Numerics
/// `+ - * /` and integer powers carry about 106 bits; all functions but `I` and `abs` take and give doubles.
pub(crate) fn evaluate(node: &Node, inputs: &[Option<Numbers>], rows: usize) -> Numbers {
    value(node, inputs, rows).column(rows)
}

fn value(node: &Node, inputs: &[Option<Numbers>], rows: usize) -> Value {
    match node {
        Node::Number(number) => Value::Constant(DoubleDouble::from(*number)),
        Node::Input(input) => match &inputs[*input] {
            Some(numbers) => Value::Column(numbers.clone()),
            None => Value::Constant(DoubleDouble::from(f64::NAN)),
        },
        Node::Negate(operand) => match value(operand, inputs, rows) {
            Value::Constant(number) => Value::Constant(-number),
            Value::Column(numbers) => Value::Column(numbers.map_pairs(|x| -x)),
        },
        Node::Chain { first, rest } => rest.iter().fold(value(first, inputs, rows), |left, (operator, right)| {
            combine(*operator, left, value(right, inputs, rows), rows)
        }),
        Node::Power { base, exponent } => power(value(base, inputs, rows), value(exponent, inputs, rows), rows),
        Node::Call { function, argument } => match value(argument, inputs, rows) {
            Value::Constant(number) => Value::Column(apply(*function, &Numbers::constant(number, rows))),
            Value::Column(numbers) => Value::Column(apply(*function, &numbers)),
        },
    }
}

fn combine(operator: Operator, left: Value, right: Value, rows: usize) -> Value {
    if let (Value::Constant(a), Value::Constant(b)) = (&left, &right) {
        let (a, b) = (*a, *b);
        return Value::Constant(match operator {
            Operator::Plus => a + b,
            Operator::Minus => a - b,
            Operator::Times | Operator::Colon => a * b,
            Operator::Divide => a / b,
        });
    }
    let (left, right) = (left.column(rows), right.column(rows));
    Value::Column(match operator {
        Operator::Plus => left.add(&right),
        Operator::Minus => left.subtract(&right),
        Operator::Times | Operator::Colon => left.multiply(&right),
        Operator::Divide => left.divide(&right),
    })
}

fn power(base: Value, exponent: Value, rows: usize) -> Value {
    let whole = match &exponent {
        Value::Constant(k) if k.lo == 0.0 && k.hi.fract() == 0.0 && k.hi.abs() <= EXACT_POWER_LIMIT => {
            Some(k.hi as i32)
        }
        _ => None,
    };
    match (base, whole) {
        (Value::Constant(x), Some(k)) => Value::Constant(integer_power(x, k)),
        (Value::Column(x), Some(2)) => Value::Column(x.multiply(&x)),
        (Value::Column(x), Some(k)) => Value::Column(x.map_pairs(|x| integer_power(x, k))),
        (base, None) => {
            let (base, exponent) = (base.column(rows), exponent.column(rows));
            let hi = base.hi.iter().zip(exponent.hi.iter()).map(|(&x, &k)| x.powf(k)).collect();
            Value::Column(Numbers::dense(hi))
        }
    }
}

#[inline(always)]
fn integer_power(x: DoubleDouble, k: i32) -> DoubleDouble {
    let (mut result, mut square, mut rest) = (DoubleDouble::ONE, x, k.unsigned_abs());
    while rest > 0 {
        if rest & 1 == 1 {
            result = result * square;
        }
        rest >>= 1;
        if rest > 0 {
            square = square * square;
        }
    }
    if k < 0 { DoubleDouble::ONE / result } else { result }
}

fn apply(function: Function, x: &Numbers) -> Numbers {
    match function {
        Function::Identity => x.clone(),
        Function::Abs => x.map_pairs(|x| if x.hi < 0.0 || (x.hi == 0.0 && x.lo < 0.0) { -x } else { x }),
        Function::Log => x.map(f64::ln),
        Function::Exp => x.map(f64::exp),
        Function::Sqrt => x.map(f64::sqrt),
        Function::Log2 => x.map(f64::log2),
        Function::Log10 => x.map(f64::log10),
        Function::Log1p => x.map(f64::ln_1p),
        Function::Expm1 => x.map(f64::exp_m1),
        Function::Sin => x.map(f64::sin),
        Function::Cos => x.map(f64::cos),
    }
}

/// `x, x², …, xᵏ` as pairs.
pub(crate) fn powers(x: &Numbers, degree: u32) -> Vec<Numbers> {
    let mut powers = vec![x.clone()];
    for _ in 1..degree {
        let next = powers.last().map_or_else(|| x.clone(), |last| last.multiply(x));
        powers.push(next);
    }
    powers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula::Formula;

    /// Evaluates the target of `{text} ~ 1` for `x`, `z` in that order.
    fn eval(text: &str, x: &[f64], z: &[f64]) -> Numbers {
        let formula = Formula::parse(&format!("{text} ~ 1")).unwrap();
        let mut input = |name: &str| Ok::<usize, ()>(usize::from(name == "z"));
        let node = compile(&formula.targets()[0].expression, &mut input).unwrap();
        evaluate(&node, &[Some(Numbers::dense(x.to_vec())), Some(Numbers::dense(z.to_vec()))], x.len())
    }

    #[test]
    fn precedence_is_that_of_r() {
        let (x, z) = ([3.0, 2.0], [2.0, 8.0]);
        assert_eq!(eval("-x^2", &x, &z).hi[..], [-9.0, -4.0]);
        assert_eq!(eval("2^x^z", &x, &z).hi[..], [512.0, 2f64.powi(256)]);
        assert_eq!(eval("x - z - 1", &x, &z).hi[..], [0.0, -7.0]);
        assert_eq!(eval("z/x*2 + 1", &[2.0, 4.0], &z).hi[..], [3.0, 5.0]);
        assert_eq!(eval("(x + z)*-2", &x, &z).hi[..], [-10.0, -20.0]);
        assert_eq!(eval("x^-1", &[4.0, 2.0], &z).hi[..], [0.25, 0.5]);
        assert_eq!(eval("x^0.5", &[4.0, 9.0], &z).hi[..], [2.0, 3.0]);
        assert_eq!(eval("abs(-x) + I(x*2)/4", &[2.0, 4.0], &z).hi[..], [3.0, 6.0]);
        assert_eq!(eval("x + +z", &x, &z).hi[..], [5.0, 10.0]);
    }

    #[test]
    fn functions_are_those_of_doubles() {
        let x = [0.3, 7.5];
        let expected: [(&str, fn(f64) -> f64); 10] = [
            ("log(x)", f64::ln),
            ("exp(x)", f64::exp),
            ("sqrt(x)", f64::sqrt),
            ("abs(-x)", |x| x),
            ("log2(x)", f64::log2),
            ("log10(x)", f64::log10),
            ("log1p(x)", f64::ln_1p),
            ("expm1(x)", f64::exp_m1),
            ("sin(x)", f64::sin),
            ("cos(x)", f64::cos),
        ];
        for (text, function) in expected {
            assert_eq!(eval(text, &x, &x).hi[..], [function(0.3), function(7.5)], "{text}");
        }
    }

    #[test]
    fn arithmetic_keeps_what_doubles_round_away() {
        let x = [1.0 + 2f64.powi(-52)];
        let square = eval("x^2", &x, &x);
        assert_eq!((square.hi[0], square.lo.unwrap()[0]), (1.0 + 2f64.powi(-51), 2f64.powi(-104)));
        let back = eval("(x/3)*3 - x", &[1.0], &[1.0]);
        assert!(back.hi[0].abs() < 1e-31);
        let difference = eval("(x + z) - z", &[1.0], &[1e20]);
        assert_eq!(difference.hi[0], 1.0);
    }

    #[test]
    fn powers_of_integers_are_exact() {
        let x = Numbers::dense(vec![1059.0]);
        let tenth = &powers(&x, 10)[9];
        assert_eq!(tenth.hi[0] as i128 + tenth.lo.as_ref().unwrap()[0] as i128, 1059i128.pow(10));
    }
}
