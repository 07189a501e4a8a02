//! Drawing, without knowing what is measured: dots with quartiles, lines, and bars of parts.
//!
//! A plot is shown on light and on dark pages. So it has no background, its colours are of middle
//! lightness, and its text takes a colour that suits the page as far as that is known: a style in the
//! SVG asks for it, and what is written without an answer can be read on both. What belongs
//! together is written beside it, in its colour, in place of a legend.

use anyhow::{Result, ensure};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::drawing::*;

/// What was measured: the middle and the quartiles.
#[derive(Clone, Copy)]
pub(super) struct Point {
    pub(super) middle: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// What belongs together in a plot.
pub(super) struct Series {
    pub(super) name: String,
    /// One for each row, or each place on the horizontal axis; none where nothing was measured.
    pub(super) points: Vec<Option<Point>>,
}

/// A row of a plot of parts: what makes up a whole.
pub(super) struct Bar {
    pub(super) name: String,
    /// Shares of the plot's whole, from left to right; each has the colour of its place.
    pub(super) parts: Vec<f64>,
    /// Stands behind the bar.
    pub(super) note: String,
}

/// A dot for each series in each row, on a logarithmic axis.
pub(super) fn dots(title: &str, axis: &str, rows: &[String], series: &[Series]) -> Result<String> {
    let left = width_of(rows.iter()) + 20;
    let height = TOP + BOTTOM + ROW_HEIGHT * i32::try_from(rows.len())?;
    let scale = Scale::over(points(series), (left, WIDTH - RIGHT))?;
    svg(title, height, |area| {
        let y = |row: usize| TOP + ROW_HEIGHT * i32::try_from(row).unwrap_or(0) + ROW_HEIGHT / 2;
        for decade in scale.marks() {
            let x = scale.pixel(decade);
            line(area, [(x, TOP), (x, height - BOTTOM)], INK.mix(0.2))?;
            text(
                area,
                &mark(decade),
                (x, height - BOTTOM + 6),
                INK,
                HPos::Center,
            )?;
        }
        text(
            area,
            axis,
            ((left + WIDTH) / 2, height - 18),
            INK,
            HPos::Center,
        )?;
        for (row, name) in rows.iter().enumerate() {
            text(
                area,
                name,
                (left - 10, y(row) - TEXT_SIZE / 2),
                INK,
                HPos::Right,
            )?;
            line(
                area,
                [(left, y(row)), (WIDTH - RIGHT, y(row))],
                INK.mix(0.1),
            )?;
        }
        let mut names = Vec::new();
        for (index, one) in series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            for (row, point) in one.points.iter().enumerate() {
                let Some(point) = point else { continue };
                let pixels = [point.low, point.high].map(|value| (scale.pixel(value), y(row)));
                area.draw(&PathElement::new(pixels, colour.stroke_width(2)))
                    .map_err(drawing)?;
                dot(area, (scale.pixel(point.middle), y(row)), colour)?;
            }
            let first = one.points.iter().flatten().next();
            if let Some(first) = first {
                names.push((scale.pixel(first.middle), one.name.as_str(), colour));
            }
        }
        names.sort_by_key(|(x, ..)| *x);
        let mut free = left;
        for (x, name, colour) in names {
            let width = width_of([name].iter());
            let start = (x - width / 2).max(free).min(WIDTH - width);
            text(
                area,
                name,
                (start, TOP - LINE_HEIGHT - 2),
                colour,
                HPos::Left,
            )?;
            free = start + width + 14;
        }
        Ok(())
    })
}

/// A line for each series, over places that are named, on a logarithmic axis.
pub(super) fn lines(
    title: &str,
    axis: &str,
    below: &str,
    places: &[String],
    series: &[Series],
) -> Result<String> {
    const HEIGHT: i32 = 460;
    const LEFT: i32 = 64;
    ensure!(places.len() > 1, "a line needs two places: {title}");
    let right = WIDTH - width_of(series.iter().map(|one| &one.name)) - 20;
    // From below to above: a greater number is nearer to the top.
    let scale = Scale::over(points(series), (HEIGHT - BOTTOM - 10, TOP))?;
    let step = (right - LEFT - 60) / i32::try_from(places.len() - 1)?;
    let x = |place: usize| LEFT + 30 + step * i32::try_from(place).unwrap_or(0);
    svg(title, HEIGHT, |area| {
        text(area, axis, (8, TOP - LINE_HEIGHT - 8), INK, HPos::Left)?;
        text(
            area,
            below,
            ((LEFT + right) / 2, HEIGHT - 18),
            INK,
            HPos::Center,
        )?;
        for decade in scale.marks() {
            let y = scale.pixel(decade);
            line(area, [(LEFT, y), (right - 10, y)], INK.mix(0.2))?;
            text(
                area,
                &mark(decade),
                (LEFT - 8, y - TEXT_SIZE / 2),
                INK,
                HPos::Right,
            )?;
        }
        for (place, name) in places.iter().enumerate() {
            text(
                area,
                name,
                (x(place), HEIGHT - BOTTOM + 4),
                INK,
                HPos::Center,
            )?;
        }
        let mut names = Vec::new();
        for (index, one) in series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let known = |(place, point): (usize, &Option<Point>)| Some((x(place), (*point)?));
            let known: Vec<(i32, Point)> =
                one.points.iter().enumerate().filter_map(known).collect();
            let path: Vec<(i32, i32)> = known
                .iter()
                .map(|(x, point)| (*x, scale.pixel(point.middle)))
                .collect();
            area.draw(&PathElement::new(path.clone(), colour.stroke_width(2)))
                .map_err(drawing)?;
            for (x, point) in &known {
                let pixels = [point.low, point.high].map(|value| (*x, scale.pixel(value)));
                area.draw(&PathElement::new(pixels, colour.stroke_width(2)))
                    .map_err(drawing)?;
                dot(area, (*x, scale.pixel(point.middle)), colour)?;
            }
            if let Some((_, y)) = path.last() {
                names.push((*y, one.name.as_str(), colour));
            }
        }
        names.sort_by_key(|(y, ..)| *y);
        let ends: Vec<i32> = names.iter().map(|(y, ..)| *y).collect();
        for ((_, name, colour), y) in names.iter().zip(apart(&ends)) {
            text(area, name, (right, y - TEXT_SIZE / 2), *colour, HPos::Left)?;
        }
        Ok(())
    })
}

/// A bar for each row, made of parts that are shares of one whole.
pub(super) fn bars(title: &str, parts: &[&str], rows: &[Bar]) -> Result<String> {
    const WHOLE: f64 = 1.0;
    let left = width_of(rows.iter().map(|row| &row.name)) + 20;
    let right = WIDTH - width_of(rows.iter().map(|row| &row.note)) - 20;
    let height = TOP + 14 + ROW_HEIGHT * i32::try_from(rows.len())?;
    let longest = rows
        .iter()
        .map(|row| row.parts.iter().sum::<f64>())
        .fold(WHOLE, f64::max);
    let x = |share: f64| left + pixel(share / longest * f64::from(right - left));
    svg(title, height, |area| {
        let mut free = left;
        for (index, part) in parts.iter().enumerate() {
            text(
                area,
                part,
                (free, TOP - LINE_HEIGHT - 8),
                COLOURS[index],
                HPos::Left,
            )?;
            free += width_of([part].iter()) + 14;
        }
        for (index, row) in rows.iter().enumerate() {
            let top = TOP + ROW_HEIGHT * i32::try_from(index)?;
            let middle = top + ROW_HEIGHT / 2 - TEXT_SIZE / 2;
            text(area, &row.name, (left - 10, middle), INK, HPos::Right)?;
            let mut start = 0.0;
            for (part, share) in row.parts.iter().enumerate() {
                let corners = [
                    (x(start), top + 4),
                    (x(start + share), top + ROW_HEIGHT - 4),
                ];
                let style = COLOURS[part].mix(0.85).filled();
                area.draw(&Rectangle::new(corners, style))
                    .map_err(drawing)?;
                start += share;
            }
            text(area, &row.note, (x(start) + 8, middle), INK, HPos::Left)?;
        }
        Ok(())
    })
}
