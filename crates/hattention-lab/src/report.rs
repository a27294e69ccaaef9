//! The report: one page that needs no other file.

use serde_json::Value;

use crate::claim::{Claim, Verdict, number};
use crate::error::Error;
use crate::experiment::{Experiment, Judgement, Table};

const STYLE: &str = include_str!("report.css");

/// The page of an experiment.
///
/// # Errors
/// [`Error::Plot`] if a plot cannot be drawn.
pub fn page(experiment: &Experiment, summary: &Value, judgement: &Judgement) -> Result<String, Error> {
    let mut body =
        format!("<h1>{}</h1>\n<p class=\"lead\">{}</p>\n", escape(experiment.name), escape(experiment.summary));
    if summary["size"] == "smoke" {
        body += "<p class=\"warning\">This is a smoke run: it shows that everything works. Its verdicts are computed like \
                 those of a full run, from far too few data to mean anything.</p>\n";
    }
    if let Some(set) = summary["set"].as_object() {
        let named: Vec<String> = set.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        body += &format!(
            "<p class=\"warning\">A run of other parameters than the experiment's own: {}.</p>\n",
            escape(&named.join(", "))
        );
    }
    let (planned, run) = (&summary["units"]["planned"], &summary["units"]["run"]);
    if planned != run {
        body +=
            &format!("<p class=\"warning\">Only {run} of {planned} units were run; verdicts are preliminary.</p>\n");
    }
    body += "<h2>Claims</h2>\n";
    body += &claims(&judgement.claims);
    for plot in &judgement.plots {
        body += &if plot.is_empty() {
            format!("<p class=\"warning\">Nothing was measured for the plot “{}”.</p>\n", escape(plot.title()))
        } else {
            format!("<figure>\n{}\n</figure>\n", plot.svg()?)
        };
    }
    for table in &judgement.tables {
        body += &of_table(table);
    }
    body += &format!("<h2>About this experiment</h2>\n{}", head(&experiment.head()));
    body += &format!(
        "<h2>About this run</h2>\n<p>Size {}; {} seeds; {} of computing; version {} of the experiment; commit {}; {}. Every \
         number is in <code>results.csv</code>.</p>\n",
        escape(summary["size"].as_str().unwrap_or_default()),
        summary["seeds"],
        duration(summary["seconds"].as_f64().unwrap_or_default()),
        summary["version"],
        escape(summary["commit"].as_str().unwrap_or_default()),
        escape(summary["machine"].as_str().unwrap_or_default()),
    );
    Ok(document(experiment.name, &body))
}

/// A page of its own with the lab's looks: a title, and what stands in its body.
pub fn document(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

fn claims(claims: &[Claim]) -> String {
    let mut text = String::from(
        "<table>\n<thead><tr><th>Claim</th><th>Expected</th><th>Measured</th><th>Threshold</th><th>Verdict</th></tr></thead>\n<tbody>\n",
    );
    for claim in claims {
        let measured = match (claim.value(), claim.interval()) {
            (Some(value), Some(i)) => format!(
                "{}<br><small>{} to {} ({} %)</small>",
                number(value),
                number(i.low),
                number(i.high),
                number(100.0 * i.level)
            ),
            (Some(value), None) => number(value),
            (None, _) => "—".to_owned(),
        };
        let note = claim.qualification().map(|n| format!("<br><small>{}</small>", escape(n))).unwrap_or_default();
        text += &format!(
            "<tr id=\"{}\"><td>{}{note}<br><small class=\"source\">{}</small></td><td>{}</td><td>{measured}</td><td>{}</td>\
             <td><span class=\"verdict {}\">{}</span></td></tr>\n",
            escape(claim.id()),
            escape(claim.sentence()),
            escape(claim.source()),
            escape(claim.expected()),
            escape(&claim.threshold().words()),
            class(claim.verdict()),
            claim.verdict().words(),
        );
    }
    text + "</tbody>\n</table>\n"
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reproduced => "yes",
        Verdict::Partly => "partly",
        Verdict::NotReproduced => "no",
        Verdict::CannotBeJudged => "open",
    }
}

/// A table with its title.
pub fn of_table(table: &Table) -> String {
    let line = |cells: &[String], tag: &str| {
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = table.cells.iter().map(|cells| line(cells, "td")).collect();
    format!(
        "<h3>{}</h3>\n<table class=\"numbers\">\n<thead>{}</thead>\n<tbody>\n{rows}</tbody>\n</table>\n",
        escape(&table.title),
        line(&table.columns, "th"),
    )
}

/// The head as paragraphs, lists and headings; everything else of its markup stays as it was written.
fn head(text: &str) -> String {
    let mut html = String::new();
    for block in text.split("\n\n").map(str::trim_end).filter(|block| !block.is_empty()) {
        let is_list = block.lines().all(|line| line.starts_with("- ") || line.starts_with("  "));
        html += &if block.starts_with('|') {
            format!("<pre>{}</pre>\n", escape(block))
        } else if is_list {
            let joined = block.replace("\n  ", " ");
            let items: String =
                joined.lines().map(|l| format!("<li>{}</li>\n", escape(l.trim_start_matches("- ")))).collect();
            format!("<ul>\n{items}</ul>\n")
        } else {
            let (heading, rest) = match block.strip_prefix('#') {
                Some(line) => line.split_once('\n').unwrap_or((line, "")),
                None => ("", block),
            };
            let heading = heading.trim_start_matches('#').trim();
            let heading = if heading.is_empty() { String::new() } else { format!("<h3>{}</h3>\n", escape(heading)) };
            let rest = if rest.is_empty() { String::new() } else { head_body(rest) };
            heading + &rest
        };
    }
    html
}

fn head_body(text: &str) -> String {
    if text.starts_with("- ") || text.starts_with('|') { head(text) } else { format!("<p>{}</p>\n", escape(text)) }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Text as HTML has it.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_become_html() {
        let html = head("# Title\n\nOne < two,\ngoes on.\n\n- a\n- b\n  more\n\n| x |\n|---|");
        assert_eq!(
            html,
            "<h3>Title</h3>\n<p>One &lt; two,\ngoes on.</p>\n<ul>\n<li>a</li>\n<li>b more</li>\n</ul>\n<pre>| x |\n|---|</pre>\n"
        );
        assert_eq!(head("# T\n- a"), "<h3>T</h3>\n<ul>\n<li>a</li>\n</ul>\n");
    }
}
