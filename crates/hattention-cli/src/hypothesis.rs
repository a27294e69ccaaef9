//! `hat test`: hypotheses, terms, nested models.

use hattention_table::regression::hypothesis;
use hattention_table::regression::render;
use serde_json::json;

use crate::args::TestArgs;
use crate::failure::Failure;
use crate::progress::Terminal;
use crate::{model, output};

/// Runs the command.
pub fn run(args: &TestArgs) -> Result<(), Failure> {
    let model = model::load(&args.model)?;
    let asked = !args.hypotheses.is_empty() as u8 + args.terms as u8 + args.against.is_some() as u8;
    if asked != 1 {
        return Err(Failure::usage(
            "expected hypotheses, or --terms, or --against MODEL",
            "for example: hat test m.hat 'dep_delay = 1'",
        ));
    }
    let tests = if let Some(other) = &args.against {
        hypothesis::against(&model, &model::load(other)?, &Terminal { quiet: false })?
    } else if args.terms {
        hypothesis::terms(&model)?
    } else {
        hypothesis::joint(&model, &args.hypotheses)?
    };
    let text = if args.json {
        let tests: Vec<_> = tests
            .iter()
            .map(|row| {
                let mut object = render::f_test(&row.test);
                object["name"] = json!(row.name);
                object
            })
            .collect();
        format!("{:#}\n", json!({"tests": tests}))
    } else {
        let df = |x: f64| if x.fract() == 0.0 { format!("{x:.0}") } else { format!("{x:.2}") };
        let cells: Vec<Vec<String>> = tests
            .iter()
            .map(|row| {
                let t = &row.test;
                vec![row.name.clone(), render::significant(t.statistic, 5), df(t.df1), df(t.df2), render::p_value(t.p)]
            })
            .collect();
        render::columns(&["", "F", "df1", "df2", "Pr(>F)"], &cells)
    };
    output::print(&text)
}
