//! Heat maps: cells, and the key to their colours.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::draw::{Area, Drawn, Frame, HEIGHT, INK, LETTER, TICK, WIDTH, draw_labels, draw_title, text, title_lines};
use super::{Axis, Heat, Plot};

/// What the key takes at the right.
const KEY: i32 = 320;
/// Steps of the key.
const SHADES: i32 = 64;
/// A ramp of growing darkness (from viridis, light end first).
const RAMP: [RGBColor; 5] =
    [RGBColor(253, 231, 37), RGBColor(94, 201, 98), RGBColor(33, 145, 140), RGBColor(59, 82, 139), RGBColor(68, 1, 84)];

pub(super) fn draw(area: &Area<'_>, plot: &Plot, heat: &Heat) -> Drawn {
    let (rows, columns) = (heat.rows.len(), heat.columns.len());
    if rows == 0 || columns == 0 || heat.values.len() != rows || heat.values.iter().any(|row| row.len() != columns) {
        return Err(format!("the numbers are not {rows} rows of {columns}, or there are none"));
    }
    let widest = heat.rows.iter().map(|r| r.chars().count()).max().unwrap_or(0);
    let frame = Frame {
        left: 140 + (widest as f64 * f64::from(TICK) * LETTER) as i32,
        right: WIDTH - KEY,
        top: 60 + 84 * title_lines(&plot.title).len() as i32,
        bottom: HEIGHT - 190,
        x: (0.0, columns as f64),
        y: (rows as f64, 0.0),
    };
    draw_title(area, &plot.title)?;
    let (low, high) = (heat.scale.place(heat.range.0), heat.scale.place(heat.range.1));
    let size = TICK.min((f64::from(frame.right - frame.left) / columns as f64 / 5.0 / LETTER) as i32);
    for (i, row) in heat.values.iter().enumerate() {
        for (j, value) in row.iter().enumerate() {
            let corner = (frame.across(j as f64) + 2, frame.bottom - (frame.bottom - frame.up(i as f64)) + 2);
            let other = (frame.across(j as f64 + 1.0) - 2, frame.up(i as f64 + 1.0) - 2);
            let place = heat.scale.place(*value);
            let middle = ((corner.0 + other.0) / 2, (corner.1 + other.1) / 2);
            if !value.is_finite() {
                let mark = if value.is_nan() { "–" } else { "∞" };
                text(area, mark, middle, size, INK, (HPos::Center, VPos::Center))?;
                continue;
            }
            // What has no place on a logarithmic scale is below its low end.
            let share = if place.is_nan() { 0.0 } else { ((place - low) / (high - low)).clamp(0.0, 1.0) };
            let (colour, dark) = ramp(share);
            area.draw(&Rectangle::new([corner, other], colour.filled())).map_err(|e| e.to_string())?;
            let ink = if dark { WHITE } else { INK };
            text(area, &crate::claim::number(*value), middle, size, ink, (HPos::Center, VPos::Center))?;
        }
        let middle = (frame.up(i as f64) + frame.up(i as f64 + 1.0)) / 2;
        text(area, &heat.rows[i], (frame.left - 22, middle), TICK, INK, (HPos::Right, VPos::Center))?;
    }
    for (j, name) in heat.columns.iter().enumerate() {
        let middle = (frame.across(j as f64) + frame.across(j as f64 + 1.0)) / 2;
        text(area, name, (middle, frame.bottom + 24), TICK, INK, (HPos::Center, VPos::Top))?;
    }
    draw_key(area, heat, &frame)?;
    draw_labels(area, plot, &frame)
}

/// The colours and the numbers they mean, from the lightest below to the darkest above.
fn draw_key(area: &Area<'_>, heat: &Heat, frame: &Frame) -> Drawn {
    let (low, high) = (heat.scale.place(heat.range.0), heat.scale.place(heat.range.1));
    let (left, right) = (frame.right + 50, frame.right + 110);
    let up = |share: f64| frame.bottom - (share * f64::from(frame.bottom - frame.top)).round() as i32;
    for shade in 0..SHADES {
        let (from, to) = (f64::from(shade) / f64::from(SHADES), f64::from(shade + 1) / f64::from(SHADES));
        let (colour, _) = ramp((from + to) / 2.0);
        area.draw(&Rectangle::new([(left, up(to)), (right, (up(from) + 2).min(frame.bottom))], colour.filled()))
            .map_err(|e| e.to_string())?;
    }
    let axis = Axis { scale: heat.scale, ..Axis::linear("") };
    for (place, name) in axis.ticks(low, high) {
        let height = up((place - low) / (high - low));
        text(area, &name, (right + 16, height), TICK, INK, (HPos::Left, VPos::Center))?;
    }
    Ok(())
}

/// A colour of the ramp, and whether white ink is needed on it.
fn ramp(share: f64) -> (RGBColor, bool) {
    let place = share * (RAMP.len() - 1) as f64;
    let below = (place.floor() as usize).min(RAMP.len() - 2);
    let part = place - below as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + part * (f64::from(b) - f64::from(a))).round() as u8;
    let (a, b) = (RAMP[below], RAMP[below + 1]);
    (RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2)), share > 0.4)
}

#[cfg(test)]
mod tests {
    use super::super::Scale;
    use super::*;

    #[test]
    fn heat_maps_have_a_cell_for_each_number() {
        let heat = Heat {
            columns: vec!["a".into(), "b".into(), "c".into()],
            rows: vec!["r".into()],
            values: vec![vec![1.0, f64::NAN, f64::INFINITY]],
            range: (0.1, 1.0),
            scale: Scale::Log,
        };
        let svg = Plot::heat("t", "x", "y", heat.clone()).svg().unwrap();
        // One for the paper, one for the number that is there, and the key; what is infinite is written.
        assert_eq!((svg.matches("<rect").count(), svg.matches('∞').count()), (2 + SHADES as usize, 1));
        // The key says what the lightest and the darkest colour mean.
        assert!(svg.contains("\n0.1\n") && svg.contains("\n1\n"), "{svg}");
        assert!(Plot::heat("t", "x", "y", Heat { values: vec![vec![1.0]], ..heat }).svg().is_err());
    }
}
