//! Formulas against what R's `terms()` gives: `attr(terms(f, data = d), "term.labels")` and `attr(, "intercept")`.

use super::*;

/// The columns of the table that `.` stands for: those of `d <- data.frame(y, a, b, c, x, z)`.
const COLUMNS: [&str; 6] = ["y", "a", "b", "c", "x", "z"];

/// Formula, R's term labels joined by a space and a comma, and whether R keeps the intercept.
const EXPANSIONS: &[(&str, &str, bool)] = &[
    ("y ~ a", "a", true),
    ("y ~ 1", "", true),
    ("y ~ 0", "", false),
    ("y ~ -1", "", false),
    ("y ~ a - 1", "a", false),
    ("y ~ a + 0", "a", false),
    ("y ~ 0 + a", "a", false),
    ("y ~ -1 + a", "a", false),
    ("y ~ 1 + a", "a", true),
    ("y ~ a - 1 + 1", "a", true),
    ("y ~ a - 0", "a", true),
    ("y ~ a + b", "a, b", true),
    ("y ~ b + a", "b, a", true),
    ("y ~ a + b + a", "a, b", true),
    ("y ~ a:b", "a:b", true),
    ("y ~ a:b + b:a", "a:b", true),
    ("y ~ b:a + a", "a, b:a", true),
    ("y ~ a + b:a", "a, a:b", true),
    ("y ~ a:a", "a", true),
    ("y ~ a*b", "a, b, a:b", true),
    ("y ~ a*b - a", "b, a:b", true),
    ("y ~ a*b - a:b", "a, b", true),
    ("y ~ a*b - b:a", "a, b", true),
    ("y ~ a*b*c", "a, b, c, a:b, a:c, b:c, a:b:c", true),
    ("y ~ a*b*c - a:b:c", "a, b, c, a:b, a:c, b:c", true),
    ("y ~ a*b + c", "a, b, c, a:b", true),
    ("y ~ a:b + c", "c, a:b", true),
    ("y ~ a*b + c*x", "a, b, c, x, a:b, c:x", true),
    ("y ~ a:b*c", "c, a:b, a:b:c", true),
    ("y ~ a*b:c", "a, b:c, a:b:c", true),
    ("y ~ (a + b):c", "a:c, b:c", true),
    ("y ~ c:(a + b)", "c:a, c:b", true),
    ("y ~ (a + b)*c", "a, b, c, a:c, b:c", true),
    ("y ~ (a + b)*(c + x)", "a, b, c, x, a:c, a:x, b:c, b:x", true),
    ("y ~ (a + b + c)^2", "a, b, c, a:b, a:c, b:c", true),
    ("y ~ (a + b + c)**2", "a, b, c, a:b, a:c, b:c", true),
    ("y ~ (a + b + c)^3", "a, b, c, a:b, a:c, b:c, a:b:c", true),
    ("y ~ (a + b + c)^9", "a, b, c, a:b, a:c, b:c, a:b:c", true),
    ("y ~ (a + b + c)^2 - a:b", "a, b, c, a:c, b:c", true),
    ("y ~ (a*b)^2", "a, b, a:b", true),
    ("y ~ (a + b)^1", "a, b", true),
    ("y ~ a^2", "a", true),
    ("y ~ a/b", "a, a:b", true),
    ("y ~ a/b/c", "a, a:b, a:b:c", true),
    ("y ~ (a + b)/c", "a, b, a:b:c", true),
    ("y ~ a/(b + c)", "a, a:b, a:c", true),
    ("y ~ .", "a, b, c, x, z", true),
    ("log(y) ~ .", "a, b, c, x, z", true),
    ("cbind(y, a) ~ .", "b, c, x, z", true),
    ("y ~ . - a", "b, c, x, z", true),
    ("y ~ . - a - 1", "b, c, x, z", false),
    ("y ~ a:.", "a, a:b, a:c, a:x, a:z", true),
    ("y ~ . + log(x)", "a, b, c, x, z, log(x)", true),
    ("cbind(y, a, b, c) ~ .^2", "x, z, x:z", true),
    ("cbind(y, a, b) ~ .*c", "c, x, z, c:x, c:z", true),
    ("y ~ x + I(x^2)", "x, I(x^2)", true),
    ("y ~ x+I( x ^2 )+I(x^2)", "x, I(x^2)", true),
    ("y ~ I(a*b/c - -x)", "I(a * b/c - -x)", true),
    ("y ~ I((a+b)^-2)", "I((a + b)^-2)", true),
    ("y ~ log(x):a + sqrt(abs(z))", "sqrt(abs(z)), log(x):a", true),
    ("y ~ exp(-x/1e5)", "exp(-x/1e+05)", true),
    ("y ~ log1p(x) + expm1(x) + log2(x) + log10(x)", "log1p(x), expm1(x), log2(x), log10(x)", true),
    ("y ~ sin(x)*cos(x)", "sin(x), cos(x), sin(x):cos(x)", true),
    ("y ~ poly(x, 3)", "poly(x, 3)", true),
    ("y ~ poly(x,degree=3)*a", "poly(x, 3), a, poly(x, 3):a", true),
    ("y ~ a + (b + (c - b))", "a, b, c", true),
    ("y ~ a - b", "a", true),
    ("y ~ `a` + a", "a", true),
    ("y ~ `my x`:`2nd`", "`my x`:`2nd`", true),
    ("y ~ (1 + a)*b", "a, b, a:b", true),
    ("y ~ +a", "a", true),
    ("y ~ a - (b + 1)", "a", false),
    ("y1 - y2 ~ a", "a", true),
];

#[test]
fn a_formula_names_the_columns_it_reads() {
    let columns = |text: &str| Formula::parse(text).unwrap().columns();
    let names = |list: &[&str]| Some(list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(
        columns("log(y) ~ a*b + poly(c + d, 3, raw) + C(g, ref = \"x\") | h"),
        names(&["y", "a", "b", "c", "d", "g", "h"])
    );
    assert_eq!(columns("cbind(y, z) ~ 1"), names(&["y", "z"]));
    assert_eq!(columns("y ~ . - a"), None);
}

#[test]
fn expansions_are_those_of_r() {
    for &(text, labels, intercept) in EXPANSIONS {
        let formula = Formula::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        // R takes the left-hand columns out of `.`, as `expand` does.
        let terms = formula.expand(&COLUMNS).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(terms.labels().join(", "), labels, "{text}");
        assert_eq!(terms.intercept, intercept, "{text}");
    }
}

#[test]
fn our_own_spellings_have_one_canonical_label() {
    let same = [
        ("y ~ poly(x, 3, raw)", "poly(x, 3, raw)"),
        ("y ~ poly(x,3,raw=TRUE)", "poly(x, 3, raw)"),
        ("y ~ poly(x, degree = 3L, raw = T)", "poly(x, 3, raw)"),
        ("y ~ poly(x, raw = FALSE, 3)", "poly(x, 3)"),
        ("y ~ poly(log(x), 2)", "poly(log(x), 2)"),
        ("y ~ C(g)", "C(g)"),
        ("y ~ factor(g)", "C(g)"),
        ("y ~ as.factor(g) + C(g)", "C(g)"),
        ("y ~ C(g, ref='x')", "C(g, ref = \"x\")"),
        ("y ~ C(g, ref=6)", "C(g, ref = \"6\")"),
        ("y ~ C(g, ref=TRUE)", "C(g, ref = \"TRUE\")"),
        ("y ~ C(`my g`)", "C(`my g`)"),
    ];
    for (text, label) in same {
        assert_eq!(Formula::parse(text).unwrap().expand(&COLUMNS).unwrap().labels(), [label], "{text}");
    }
}

#[test]
fn canonical_text_is_a_fixed_point() {
    for &(text, _, _) in EXPANSIONS {
        let formula = Formula::parse(text).unwrap();
        let again = Formula::parse(&formula.to_string()).unwrap();
        assert_eq!(again.to_string(), formula.to_string());
        let (left, right) = (formula.expand(&COLUMNS).unwrap(), again.expand(&COLUMNS).unwrap());
        assert_eq!(left.terms, right.terms, "{text}");
        let expanded = Formula::parse(&left.formula()).unwrap().expand(&COLUMNS).unwrap();
        assert_eq!((expanded.terms.len(), expanded.intercept), (left.terms.len(), left.intercept), "{text}");
    }
    assert_eq!(Formula::parse("y~as.factor(g)+poly(x,2,raw=T)").unwrap().to_string(), "y ~ C(g) + poly(x, 2, raw)");
}

#[test]
fn targets_are_named_as_r_prints_them() {
    let labels = |text: &str| -> Vec<String> {
        Formula::parse(text).unwrap().targets().iter().map(|target| target.label().to_owned()).collect()
    };
    assert_eq!(labels("cbind(y1,log(y2), y1-y2)~x"), ["y1", "log(y2)", "y1 - y2"]);
    assert_eq!(labels("sqrt( y )*2~x"), ["sqrt(y) * 2"]);
    assert_eq!(labels("`my y` ~ x"), ["`my y`"]);
}

/// Formula, the offset of the caret, and a part of what was expected.
const BROKEN: &[(&str, usize, &str)] = &[
    ("", 0, "a column"),
    ("y", 1, "`~` after the target"),
    ("y ~", 3, "a column, a number"),
    ("~ a", 0, "a target before `~`"),
    ("y ~ a +", 7, "a column, a number"),
    ("y ~ a b", 6, "an operator, `|` or the end"),
    ("y ~ a + * b", 8, "a column, a number"),
    ("y ~ (a + b", 10, "an operator or `)`"),
    ("y ~ a)", 5, "an operator, `|` or the end"),
    ("y ~ a |", 7, "the column of an effect"),
    ("y ~ a | g + 1", 12, "the column of an effect"),
    ("y ~ a | g + g", 12, "each effect once"),
    ("y ~ a | g^h", 9, "combinations of two columns"),
    ("y ~ a | C(g)", 9, "an effect is a bare column"),
    ("y ~ a | g | h", 10, "`+` between effects"),
    ("y ~ a | g - h", 10, "or the end of the formula"),
    ("y ~ (1 | g)", 7, "effects stand after all terms"),
    ("y ~ a ~ b", 6, "an operator, `|` or the end"),
    ("y ~ 2", 4, "1 or 0"),
    ("y ~ a:1", 6, "a term to multiply"),
    ("y ~ 1*a", 4, "a term to multiply"),
    ("y ~ a*2", 6, "a term to multiply"),
    ("y ~ a^b", 6, "a positive whole number"),
    ("y ~ a^0", 6, "a positive whole number"),
    ("y ~ a^1.5", 6, "a positive whole number"),
    ("y ~ \"a\"", 4, "a term"),
    ("y ~ I()", 4, "one argument of `I`"),
    ("y ~ I(a:b)", 7, "one of + - * / ^ inside arithmetic"),
    ("y ~ I(.)", 6, "a number or a column"),
    ("y ~ log(x, 2)", 11, "log2, log10"),
    ("y ~ lgo(x)", 4, "such as `log`"),
    ("y ~ gamma(x)", 4, "one of I log"),
    ("y ~ log(poly(x, 2))", 8, "arithmetic"),
    ("y ~ I(2)", 4, "uses a column"),
    ("y ~ poly()", 4, "poly(x, k)"),
    ("y ~ poly(x, 0)", 12, "a degree from 1 to 64"),
    ("y ~ poly(x, 2.5)", 12, "a degree from 1 to 64"),
    ("y ~ poly(x, 2, row)", 15, "poly(x, k, raw)"),
    ("y ~ poly(x, 2, raw = 7)", 15, "poly(x, k, raw)"),
    ("y ~ C(a + b)", 6, "C(column)"),
    ("y ~ C(g, base = 2)", 9, "C(column"),
    ("y ~ cbind(a, b)", 4, "arithmetic"),
    ("poly(y, 2) ~ x", 0, "arithmetic"),
    ("C(y) ~ x", 0, "arithmetic"),
    ("cbind() ~ x", 0, "at least one target"),
    ("cbind(y, y) ~ x", 9, "each target once"),
    ("1 ~ x", 0, "a target that uses a column"),
    (". ~ x", 0, "a number or a column"),
    ("y ~ a == b", 6, "a name, a number"),
    ("y ~ a %in% b", 6, "a name, a number"),
    ("größe ~ ä + § ", 15, "a name, a number"),
];

#[test]
fn errors_point_at_the_character() {
    for &(text, at, part) in BROKEN {
        match Formula::parse(text) {
            Err(TableError::Formula { offset, expected, .. }) => {
                assert_eq!(offset, at, "{text}: expected {expected}");
                assert!(expected.contains(part), "{text}: expected {expected}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn an_error_reads_like_this() {
    let error = Formula::parse("y ~ a + lgo(x)").unwrap_err();
    let text = "formula: expected a known function such as `log`, got `lgo`\n  y ~ a + lgo(x)\n          ^";
    assert_eq!(error.to_string(), text);
    assert!(error.hint().is_some());
}

#[test]
fn a_target_among_the_terms_is_an_error() {
    for text in ["y ~ x + y", "log(y) ~ log(y) + x", "cbind(y, x) ~ x"] {
        let result = Formula::parse(text).unwrap().expand(&COLUMNS);
        assert!(matches!(result, Err(TableError::TargetAmongTerms { .. })), "{text}: {result:?}");
    }
}

#[test]
fn effects_stand_behind_the_terms() {
    let formula = Formula::parse("log(y)~a*b|g+`h i`").unwrap();
    assert_eq!(formula.effects(), ["g", "h i"]);
    assert_eq!(formula.to_string(), "log(y) ~ a * b | g + `h i`");
    assert_eq!(formula.expand(&["y", "a", "b", "g"]).unwrap().labels(), ["a", "b", "a:b"]);
    // Effects are not among the other columns.
    assert_eq!(Formula::parse("y ~ . | g").unwrap().expand(&["y", "x", "g", "z"]).unwrap().labels(), ["x", "z"]);
    assert!(Formula::parse("y ~ 1 | g").unwrap().expand(&["y", "g"]).unwrap().labels().is_empty());
    assert!(matches!(Formula::parse("log(y) ~ x | y"), Err(TableError::TargetAmongTerms { .. })));
}

#[test]
fn a_power_of_one_term_is_noted() {
    let notes = |text: &str| Formula::parse(text).unwrap().expand(&COLUMNS).unwrap().notes;
    assert_eq!(notes("y ~ x^2"), ["`x^2` in a formula is `x` itself; write `I(x^2)` for the power"]);
    assert!(notes("y ~ (x + z)^2 + I(x^2)").is_empty());
}

#[test]
fn hostile_formulas_end_in_errors() {
    let nested = format!("y ~ {}a{}", "(".repeat(50_000), ")".repeat(50_000));
    let signs = format!("y ~ {}a", "-".repeat(50_000));
    let powers = format!("y ~ I(a{})", "^2".repeat(50_000));
    let calls = format!("y ~ {}a{}", "I(".repeat(50_000), ")".repeat(50_000));
    for text in [nested, signs, powers, calls, "y ~ a".repeat(300_000)] {
        assert!(matches!(Formula::parse(&text), Err(TableError::Formula { .. })));
    }
    let many: Vec<String> = (0..60).map(|i| format!("x{i}")).collect();
    let power = format!("y ~ ({})^9", many.join(" + "));
    assert_eq!(Formula::parse(&power).unwrap_err(), TableError::TooManyTerms { limit: TERM_LIMIT });
}

#[test]
fn long_sums_are_flat() {
    let many: Vec<String> = (0..20_000).map(|i| format!("x{i}")).collect();
    let formula = Formula::parse(&format!("y ~ {} + I({})", many.join(" + "), many.join(" * "))).unwrap();
    assert_eq!(formula.expand(&[]).unwrap().terms.len(), 20_001);
}
