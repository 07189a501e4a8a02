//! Drawing, without knowing what is measured: dots with quartiles, lines, and bars of parts.
//!
//! A plot is shown on light and on dark pages. So it has no background, its colours are of middle
//! lightness, and its text takes a colour that suits the page as far as that is known: a style in the
//! SVG asks for it, and what is written without an answer can be read on both. What belongs
//! together is written beside it, in its colour, in place of a legend.

use anyhow::{Context as _, Result, anyhow, ensure};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Stands for "the colour of the text" until the SVG is done; nothing else is drawn in it.
const INK: RGBColor = RGBColor(1, 2, 3);
/// What [`INK`] is in the SVG.
const INK_IN_SVG: &str = "\"#010203\"";

/// Gray of middle lightness has a contrast of four to white and to black; it gets more where
/// the page is known, and keeps a contrast of three where what is known is wrong.
const STYLE: &str = "<style>svg{color:#757b83}\
@media(prefers-color-scheme:light){svg{color:#5f666e}}\
@media(prefers-color-scheme:dark){svg{color:#8d949d}}</style>";

/// Colours of middle lightness that people with any sight tell apart (after Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 124, 196),
    RGBColor(213, 94, 0),
    RGBColor(0, 145, 105),
    RGBColor(190, 95, 150),
    RGBColor(160, 125, 0),
    RGBColor(110, 115, 125),
];

const FONT: &str = "sans-serif";
const TEXT_SIZE: i32 = 16;
const TITLE_SIZE: i32 = 18;
/// Two lines of text that are nearer than this can't be read.
const LINE_HEIGHT: i32 = 17;
/// Roughly: an SVG's font is known to its viewer only.
const CHARACTER_WIDTH: f64 = 7.4;

const WIDTH: i32 = 860;
const ROW_HEIGHT: i32 = 24;
const TOP: i32 = 62;
const BOTTOM: i32 = 46;
const RIGHT: i32 = 24;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

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

/// The SVG that `draw` makes, with a title, fit for light and dark pages.
fn svg(title: &str, height: i32, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let style = (FONT, TITLE_SIZE).into_font().color(&INK);
        area.draw(&Text::new(title, (8, 10), style))
            .map_err(drawing)?;
        draw(&area)?;
        area.present().map_err(drawing)?;
    }
    ensure!(svg.contains(INK_IN_SVG), "no text in the plot {title}");
    let body = svg.find("<svg").context("the plot is no SVG")?;
    let end = body + svg[body..].find('>').context("the plot is no SVG")? + 1;
    svg.insert_str(end, &format!("\n{STYLE}"));
    Ok(svg.replace(INK_IN_SVG, "\"currentColor\""))
}

/// A logarithmic scale from numbers to pixels.
struct Scale {
    low: f64,
    high: f64,
    pixels: (i32, i32),
}

impl Scale {
    /// One that shows all points.
    fn over<'a>(
        points: impl Iterator<Item = &'a Point> + Clone,
        pixels: (i32, i32),
    ) -> Result<Scale> {
        let positive = points
            .clone()
            .map(|point| point.middle)
            .filter(|middle| *middle > 0.0);
        let low = positive.fold(f64::INFINITY, f64::min);
        let high = points.map(|point| point.high).fold(0.0, f64::max);
        ensure!(low.is_finite() && high >= low, "there is nothing to plot");
        Ok(Scale {
            low: low / 1.4,
            high: high * 1.4,
            pixels,
        })
    }

    /// Where a number is; what is too small for the scale is at its end.
    fn pixel(&self, value: f64) -> i32 {
        let share = (value.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        let (from, to) = self.pixels;
        from + pixel(share * f64::from(to - from))
    }

    /// The numbers that are marked: powers of ten, or more where there are few of them.
    fn marks(&self) -> Vec<f64> {
        let within = |steps: &[f64]| -> Vec<f64> {
            (-6..9)
                .flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)))
                .filter(|mark| (self.low..=self.high).contains(mark))
                .collect()
        };
        let powers = within(&[1.0]);
        match powers.len() {
            0 | 1 => within(&[1.0, 2.0, 5.0]),
            _ => powers,
        }
    }
}

fn points(series: &[Series]) -> impl Iterator<Item = &Point> + Clone {
    series.iter().flat_map(|one| one.points.iter().flatten())
}

/// The nearest pixel.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a plot has some hundred pixels"
)]
fn pixel(value: f64) -> i32 {
    value.round() as i32
}

/// A number at an axis.
fn mark(value: f64) -> String {
    if value >= 1.0 {
        super::words::grouped(value)
    } else {
        format!("{value}")
    }
}

/// Moves heights, which are in ascending order, so far apart that text fits.
fn apart(heights: &[i32]) -> Vec<i32> {
    let mut moved: Vec<i32> = Vec::with_capacity(heights.len());
    for height in heights {
        let least = moved.last().map_or(i32::MIN, |last| last + LINE_HEIGHT);
        moved.push(*height.max(&least));
    }
    moved
}

/// About how many pixels the longest of the texts takes.
fn width_of<T: AsRef<str>>(texts: impl Iterator<Item = T>) -> i32 {
    let characters = texts
        .map(|text| text.as_ref().chars().count())
        .max()
        .unwrap_or(0);
    pixel(f64::from(u32::try_from(characters).unwrap_or(0)) * CHARACTER_WIDTH)
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), colour: RGBColor, side: HPos) -> Result<()> {
    let style = (FONT, TEXT_SIZE)
        .into_font()
        .color(&colour)
        .pos(Pos::new(side, VPos::Top));
    area.draw(&Text::new(text, at, style)).map_err(drawing)
}

fn line<C: Into<ShapeStyle>>(area: &Area<'_>, ends: [(i32, i32); 2], colour: C) -> Result<()> {
    area.draw(&PathElement::new(ends, colour)).map_err(drawing)
}

fn dot(area: &Area<'_>, at: (i32, i32), colour: RGBColor) -> Result<()> {
    area.draw(&Circle::new(at, 4, colour.filled()))
        .map_err(drawing)
}

/// plotters' error, which can't be sent to another thread as it is.
fn drawing<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("draw: {error}")
}
