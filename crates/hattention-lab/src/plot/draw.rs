//! Drawing: places on a canvas, through plotters' SVG backend.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Mark, Plot, Series, Stroke, heat};

/// The canvas, in units of which a page shows about two to a pixel: plotters' places are whole units.
pub(super) const WIDTH: i32 = 2400;
pub(super) const HEIGHT: i32 = 1440;
const TITLE: i32 = 72;
const LABEL: i32 = 60;
pub(super) const TICK: i32 = 52;
/// Width of a letter over its size, for margins.
pub(super) const LETTER: f64 = 0.58;
/// The same of bold letters.
const BOLD_LETTER: f64 = 0.66;
pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
const FAINT: RGBColor = RGBColor(222, 222, 222);
const GREY: RGBColor = RGBColor(110, 110, 110);
/// What bars may add to the range of the points at each end, over its length.
const MOST_ADDED: f64 = 0.25;
/// Okabe and Ito's colours without yellow, which white paper swallows.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(34, 34, 34),
];
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), String>;

pub(super) fn svg(plot: &Plot) -> Result<String, String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH as u32, HEIGHT as u32)).into_drawing_area();
        area.fill(&WHITE).map_err(|e| e.to_string())?;
        match &plot.heat {
            Some(heat) => heat::draw(&area, plot, heat)?,
            None => draw_lines(&area, plot)?,
        }
        area.present().map_err(|e| e.to_string())?;
    }
    Ok(text.trim().to_owned())
}

/// The rectangle of the data, and the range of places it shows.
pub(super) struct Frame {
    pub(super) left: i32,
    pub(super) right: i32,
    pub(super) top: i32,
    pub(super) bottom: i32,
    pub(super) x: (f64, f64),
    pub(super) y: (f64, f64),
}

impl Frame {
    pub(super) fn across(&self, place: f64) -> i32 {
        let share = (place - self.x.0) / (self.x.1 - self.x.0);
        self.left + (share * f64::from(self.right - self.left)).round() as i32
    }

    pub(super) fn up(&self, place: f64) -> i32 {
        let share = (place - self.y.0) / (self.y.1 - self.y.0);
        self.bottom - (share * f64::from(self.bottom - self.top)).round() as i32
    }

    fn shows(&self, (x, y): (f64, f64)) -> bool {
        let inside = |p: f64, (low, high): (f64, f64)| {
            let slack = 1e-9 * (high - low);
            p >= low - slack && p <= high + slack
        };
        inside(x, self.x) && inside(y, self.y)
    }
}

fn draw_lines(area: &Area<'_>, plot: &Plot) -> Drawn {
    check(plot)?;
    let points = || plot.series.iter().flat_map(|s| s.points.iter().copied());
    let nothing = || "no point can be shown".to_owned();
    let x = plot.x.extent(points().map(|p| p.0)).ok_or_else(nothing)?;
    let heights = points().map(|p| p.1).chain(plot.levels.iter().map(|l| l.0));
    let y = with_bounds(plot, plot.y.extent(heights).ok_or_else(nothing)?);
    let names = names(&plot.series);
    let longest = names.iter().map(|n| n.chars().count()).chain(plot.levels.iter().map(|l| l.1.chars().count())).max();
    let y_ticks = plot.y.ticks(y.0, y.1);
    let widest = y_ticks.iter().map(|t| t.1.chars().count()).max().unwrap_or(0);
    let frame = Frame {
        left: 130 + (widest as f64 * f64::from(TICK) * LETTER) as i32,
        right: WIDTH - 60 - (longest.unwrap_or(0) as f64 * f64::from(TICK) * LETTER) as i32,
        top: 60 + 84 * title_lines(&plot.title).len() as i32,
        bottom: HEIGHT - 190,
        x,
        y,
    };
    draw_frame(area, plot, &frame, &y_ticks)?;
    for series in &plot.series {
        let colour = COLOURS[names.iter().position(|n| *n == series.name).unwrap_or(0) % COLOURS.len()];
        draw_series(area, plot, &frame, series, colour)?;
    }
    draw_names(area, plot, &frame, &names)
}

/// The range with the ends of bars and bands, as far as they do not push the points together.
fn with_bounds(plot: &Plot, (low, high): (f64, f64)) -> (f64, f64) {
    if plot.y.range.is_some() {
        return (low, high);
    }
    let ranges = plot.series.iter().flat_map(|s| match &s.mark {
        Mark::Bars(ranges) | Mark::Band(ranges) => ranges.as_slice(),
        _ => &[],
    });
    let most = MOST_ADDED * (high - low);
    let places = ranges.flat_map(|r| [r.0, r.1]).map(|y| plot.y.scale.place(y)).filter(|p| !p.is_nan());
    places.fold((low, high), |(a, b), p| (a.min(p.max(low - most)), b.max(p.min(high + most))))
}

fn check(plot: &Plot) -> Drawn {
    for series in &plot.series {
        if let Mark::Bars(ranges) | Mark::Band(ranges) = &series.mark
            && ranges.len() != series.points.len()
        {
            return Err(format!("`{}` has {} points and {} ranges", series.name, series.points.len(), ranges.len()));
        }
    }
    Ok(())
}

/// The names, each once, in order.
fn names(series: &[Series]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for s in series {
        if !names.contains(&s.name.as_str()) {
            names.push(&s.name);
        }
    }
    names
}

fn draw_frame(area: &Area<'_>, plot: &Plot, frame: &Frame, y_ticks: &[(f64, String)]) -> Drawn {
    draw_title(area, &plot.title)?;
    for (place, name) in y_ticks {
        let height = frame.up(*place);
        line(area, &[(frame.left, height), (frame.right, height)], FAINT.stroke_width(2))?;
        text(area, name, (frame.left - 22, height), TICK, INK, (HPos::Right, VPos::Center))?;
    }
    for (place, name) in plot.x.ticks(frame.x.0, frame.x.1) {
        let across = frame.across(place);
        line(area, &[(across, frame.top), (across, frame.bottom)], FAINT.stroke_width(2))?;
        text(area, &name, (across, frame.bottom + 24), TICK, INK, (HPos::Center, VPos::Top))?;
    }
    line(area, &[(frame.left, frame.bottom), (frame.right, frame.bottom)], INK.stroke_width(4))?;
    line(area, &[(frame.left, frame.top), (frame.left, frame.bottom)], INK.stroke_width(4))?;
    draw_labels(area, plot, frame)
}

pub(super) fn draw_labels(area: &Area<'_>, plot: &Plot, frame: &Frame) -> Drawn {
    let middle = (frame.left + frame.right) / 2;
    text(area, &plot.x.label, (middle, HEIGHT - 28), LABEL, INK, (HPos::Center, VPos::Bottom))?;
    let style = font(LABEL).transform(FontTransform::Rotate270).color(&INK);
    let style = style.pos(Pos::new(HPos::Center, VPos::Top));
    let place = (22, (frame.top + frame.bottom) / 2);
    area.draw(&Text::new(plot.y.label.clone(), place, style)).map_err(|e| e.to_string())
}

fn draw_series(area: &Area<'_>, plot: &Plot, frame: &Frame, series: &Series, colour: RGBColor) -> Drawn {
    let place = |(x, y): (f64, f64)| (plot.x.scale.place(x), plot.y.scale.place(y));
    let pixel = |(x, y): (f64, f64)| (frame.across(x), frame.up(y));
    match &series.mark {
        Mark::Line(stroke) => draw_curve(area, frame, series.points.iter().map(|p| place(*p)), colour, *stroke),
        Mark::Band(ranges) => {
            let clipped = |height: f64| plot.y.scale.place(height).clamp(frame.y.0, frame.y.1);
            let edge = |of: fn(&(f64, f64)) -> f64| -> Vec<(i32, i32)> {
                let places = series.points.iter().zip(ranges).map(|(p, r)| (plot.x.scale.place(p.0), clipped(of(r))));
                places.filter(|p| frame.shows(*p)).map(pixel).collect()
            };
            let outline: Vec<_> = edge(|r| r.0).into_iter().chain(edge(|r| r.1).into_iter().rev()).collect();
            if outline.len() > 2 {
                area.draw(&Polygon::new(outline, colour.mix(0.2))).map_err(|e| e.to_string())?;
            }
            draw_curve(area, frame, series.points.iter().map(|p| place(*p)), colour, Stroke::Solid)
        }
        Mark::Points | Mark::Bars(_) => {
            for (i, point) in series.points.iter().map(|p| place(*p)).enumerate() {
                if !frame.shows(point) {
                    continue;
                }
                let (across, up) = pixel(point);
                if let Mark::Bars(ranges) = &series.mark {
                    let end = |y: f64| frame.up(plot.y.scale.place(y).clamp(frame.y.0, frame.y.1));
                    let (low, high) = (end(ranges[i].0), end(ranges[i].1));
                    line(area, &[(across, low), (across, high)], colour.stroke_width(6))?;
                    // (An end that is cut has no cap.)
                    let inside = |y: &f64| (frame.y.0..=frame.y.1).contains(&plot.y.scale.place(*y));
                    for height in [ranges[i].0, ranges[i].1].iter().filter(|y| inside(y)).map(|y| end(*y)) {
                        line(area, &[(across - 14, height), (across + 14, height)], colour.stroke_width(6))?;
                    }
                }
                area.draw(&Circle::new((across, up), 15, colour.filled())).map_err(|e| e.to_string())?;
            }
            Ok(())
        }
    }
}

/// A curve, broken where points cannot be shown.
fn draw_curve(
    area: &Area<'_>,
    frame: &Frame,
    points: impl Iterator<Item = (f64, f64)>,
    colour: RGBColor,
    stroke: Stroke,
) -> Drawn {
    let mut pieces: Vec<Vec<(i32, i32)>> = vec![Vec::new()];
    for point in points {
        match pieces.last_mut() {
            Some(piece) if frame.shows(point) => piece.push((frame.across(point.0), frame.up(point.1))),
            Some(piece) if !piece.is_empty() => pieces.push(Vec::new()),
            _ => {}
        }
    }
    for piece in pieces.iter().filter(|piece| piece.len() > 1) {
        match stroke {
            Stroke::Solid => line(area, piece, colour.stroke_width(9))?,
            Stroke::Dashed => {
                for dash in dashes(piece, 34.0, 22.0) {
                    line(area, &dash, colour.stroke_width(7))?;
                }
            }
        }
    }
    Ok(())
}

/// Cuts a path into dashes by length, also where its points are dense.
fn dashes(path: &[(i32, i32)], dash: f64, gap: f64) -> Vec<Vec<(i32, i32)>> {
    let mut pieces = Vec::new();
    let mut current = vec![path[0]];
    let (mut drawing, mut left) = (true, dash);
    for step in path.windows(2) {
        let (from, to) = ((f64::from(step[0].0), f64::from(step[0].1)), (f64::from(step[1].0), f64::from(step[1].1)));
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let share = done / length;
            let place = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
            let place = (place.0.round() as i32, place.1.round() as i32);
            if drawing {
                current.push(place);
                pieces.push(std::mem::take(&mut current));
            } else {
                current = vec![place];
            }
            drawing = !drawing;
            left = if drawing { dash } else { gap };
        }
        left -= length - done;
        if drawing {
            current.push(step[1]);
        }
    }
    if drawing && current.len() > 1 {
        pieces.push(current);
    }
    pieces
}

/// Writes each name beside the right end of its series, apart from each other.
fn draw_names(area: &Area<'_>, plot: &Plot, frame: &Frame, names: &[&str]) -> Drawn {
    let mut places = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let shown = plot.series.iter().filter(|s| s.name == *name).flat_map(|s| &s.points);
        let shown = shown.map(|(x, y)| (plot.x.scale.place(*x), plot.y.scale.place(*y))).filter(|p| frame.shows(*p));
        if let Some(end) = shown.max_by(|a, b| a.0.total_cmp(&b.0)) {
            places.push((frame.up(end.1), (*name).to_owned(), COLOURS[i % COLOURS.len()]));
        }
    }
    for (height, name) in &plot.levels {
        let place = plot.y.scale.place(*height);
        if frame.shows((frame.x.0, place)) {
            let up = frame.up(place);
            for dash in dashes(&[(frame.left, up), (frame.right, up)], 12.0, 12.0) {
                line(area, &dash, GREY.stroke_width(5))?;
            }
            places.push((up, name.clone(), GREY));
        }
    }
    for ((_, name, colour), height) in places.iter().zip(apart(&places, frame.bottom - TICK / 2)) {
        text(area, name, (frame.right + 24, height), TICK, *colour, (HPos::Left, VPos::Center))?;
    }
    Ok(())
}

/// Heights near the wanted ones, a line apart and none below the lowest: pools of neighbours are spread around their mean.
fn apart(wanted: &[(i32, String, RGBColor)], lowest: i32) -> Vec<i32> {
    let gap = f64::from(TICK) * 1.02;
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|i| wanted[*i].0);
    // Pools of (sum of wanted − offset, members): isotonic regression of the heights less their place in the row.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (rank, i) in order.iter().enumerate() {
        let mut pool = (f64::from(wanted[*i].0) - rank as f64 * gap, 1);
        while let Some(last) = pools.last().copied().filter(|l| l.0 / l.1 as f64 > pool.0 / pool.1 as f64) {
            pools.pop();
            pool = (pool.0 + last.0, pool.1 + last.1);
        }
        pools.push(pool);
    }
    let starts = pools.iter().flat_map(|(sum, count)| std::iter::repeat_n(sum / *count as f64, *count));
    let mut heights = vec![0; wanted.len()];
    for (rank, (i, start)) in order.iter().zip(starts).enumerate() {
        heights[*i] = (start + rank as f64 * gap).round() as i32;
    }
    let mut below = f64::from(lowest) + gap;
    for i in order.iter().rev() {
        heights[*i] = heights[*i].min((below - gap).round() as i32);
        below = f64::from(heights[*i]);
    }
    heights
}

/// The title broken into lines that fit.
pub(super) fn title_lines(title: &str) -> Vec<String> {
    let fit = (f64::from(WIDTH - 80) / (f64::from(TITLE) * BOLD_LETTER)) as usize;
    let mut lines = vec![String::new()];
    for word in title.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= fit => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

pub(super) fn draw_title(area: &Area<'_>, title: &str) -> Drawn {
    for (i, part) in title_lines(title).iter().enumerate() {
        let style = font(TITLE).style(FontStyle::Bold).color(&INK).pos(Pos::new(HPos::Left, VPos::Top));
        area.draw(&Text::new(part.clone(), (40, 24 + 84 * i as i32), style)).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn line(area: &Area<'_>, points: &[(i32, i32)], style: ShapeStyle) -> Drawn {
    area.draw(&PathElement::new(points.to_vec(), style)).map_err(|e| e.to_string())
}

/// Plotters writes a size over 1.24 into the file.
fn font(size: i32) -> FontDesc<'static> {
    (FontFamily::SansSerif, f64::from(size) * 1.24).into_font()
}

pub(super) fn text(
    area: &Area<'_>,
    what: &str,
    place: (i32, i32),
    size: i32,
    ink: RGBColor,
    anchor: (HPos, VPos),
) -> Drawn {
    let style = font(size).color(&ink).pos(Pos::new(anchor.0, anchor.1));
    area.draw(&Text::new(what.to_owned(), place, style)).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Mark, Plot, Stroke};
    use super::*;

    #[test]
    fn names_do_not_touch() {
        let wanted: Vec<_> = [500, 505, 100, 502, 900].iter().map(|h| (*h, String::new(), INK)).collect();
        let heights = apart(&wanted, 880);
        let mut sorted = heights.clone();
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|w| w[1] - w[0] >= TICK));
        assert_eq!((heights[2], heights[4]), (100, 880));
    }

    #[test]
    fn dashes_have_their_length() {
        let pieces = dashes(&[(0, 0), (3, 0), (100, 0)], 20.0, 10.0);
        assert_eq!(pieces.len(), 4);
        assert!(pieces.iter().all(|p| p.last().unwrap().0 - p[0].0 <= 20));
    }

    #[test]
    fn text_is_escaped_and_points_without_a_place_are_left_out() {
        let plot = Plot::new("a < b & c", Axis::log("x"), Axis::log("y"));
        assert!(plot.svg().is_err());
        let plot = plot.series("s", vec![(1.0, 1.0), (2.0, 0.0), (3.0, f64::NAN), (4.0, 2.0)], Mark::Points);
        let svg = plot.svg().unwrap();
        assert!(svg.contains("a &lt; b &amp; c"));
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(plot.clone().series("s", vec![(1.0, 1.0)], Mark::Band(vec![])).svg().is_err());
        assert!(plot.series("t", vec![(1.0, 1.0), (4.0, 1.5)], Mark::Line(Stroke::Dashed)).svg().is_ok());
    }
}
