//! Plots for a talk: large type, thin grid, colours that colour-blind people can tell apart, series named where they end.
//!
//! A plot's title states its finding. Drawing goes through [plotters](https://docs.rs/plotters)' SVG backend; the text is
//! set by whoever shows the page, so widths are estimates and margins generous.

mod axis;
mod draw;
mod heat;

pub use axis::{Axis, Scale};

use crate::error::Error;

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// Measured, joined by a line.
    Solid,
    /// Fitted or predicted.
    Dashed,
}

/// What is drawn of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// A line.
    Line(Stroke),
    /// Points.
    Points,
    /// Points with vertical bars from low to high, one for each point.
    Bars(Vec<(f64, f64)>),
    /// A line in a band from low to high, one for each point.
    Band(Vec<(f64, f64)>),
}

/// Points under a name; series of one name share a colour, and the name is written once.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The name, written at the series' right end.
    pub name: String,
    /// The points `(x, y)`; those that are not finite, or not positive on a logarithmic axis, are left out.
    pub points: Vec<(f64, f64)>,
    /// How they are drawn.
    pub mark: Mark,
}

/// A table of numbers as colours, each with its number.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// Names of the columns, left to right.
    pub columns: Vec<String>,
    /// Names of the rows, top to bottom.
    pub rows: Vec<String>,
    /// The numbers. Shape: `[rows][columns]`; NaN (not measured) is written `–` and infinity `∞`, without a colour.
    pub values: Vec<Vec<f64>>,
    /// The numbers that have the lightest and the darkest colour.
    pub range: (f64, f64),
    /// Whether colours follow the logarithm.
    pub scale: Scale,
}

/// A plot.
///
/// # Example
/// ```
/// use hattention_lab::plot::{Axis, Mark, Plot};
/// let plot = Plot::new("y doubles with x", Axis::log("x"), Axis::linear("y"))
///     .series("measured", vec![(1.0, 2.0), (10.0, 20.0)], Mark::Points)
///     .level(10.0, "limit");
/// assert!(plot.svg().unwrap().starts_with("<svg"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    title: String,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
    levels: Vec<(f64, String)>,
    heat: Option<Heat>,
}

impl Plot {
    /// A plot without series; the title states the finding.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { title: title.into(), x, y, series: Vec::new(), levels: Vec::new(), heat: None }
    }

    /// A heat map with the names of its axes.
    pub fn heat(title: impl Into<String>, x: &str, y: &str, heat: Heat) -> Self {
        Self { heat: Some(heat), ..Self::new(title, Axis::linear(x), Axis::linear(y)) }
    }

    /// With a series.
    pub fn series(mut self, name: impl Into<String>, points: Vec<(f64, f64)>, mark: Mark) -> Self {
        self.series.push(Series { name: name.into(), points, mark });
        self
    }

    /// With a thin horizontal line at a height, and its name.
    pub fn level(mut self, height: f64, name: impl Into<String>) -> Self {
        self.levels.push((height, name.into()));
        self
    }

    /// The title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Whether there is nothing to show, because nothing was measured.
    pub fn is_empty(&self) -> bool {
        let shown = |(x, y): &(f64, f64)| !self.x.scale.place(*x).is_nan() && !self.y.scale.place(*y).is_nan();
        match &self.heat {
            Some(heat) => heat.values.iter().flatten().all(|v| v.is_nan()),
            None => !self.series.iter().flat_map(|s| &s.points).any(shown),
        }
    }

    /// The plot as an SVG element.
    ///
    /// # Errors
    /// [`Error::Plot`] if no point can be shown, a band or bars have another number of points than their series, or a
    /// heat map's numbers do not fit its names.
    pub fn svg(&self) -> Result<String, Error> {
        draw::svg(self).map_err(|why| Error::Plot { title: self.title.clone(), why })
    }
}
