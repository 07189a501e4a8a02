//! What all plots are drawn with: the page, its colours, a scale, and the shapes.

use anyhow::{Context as _, Result, anyhow, ensure};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::plot::{Point, Series};

/// Stands for "the colour of the text" until the SVG is done; nothing else is drawn in it.
pub(super) const INK: RGBColor = RGBColor(1, 2, 3);
/// What [`INK`] is in the SVG.
pub(super) const INK_IN_SVG: &str = "\"#010203\"";

/// Gray of middle lightness has a contrast of four to white and to black; it gets more where
/// the page is known, and keeps a contrast of three where what is known is wrong.
pub(super) const STYLE: &str = "<style>svg{color:#757b83}\
@media(prefers-color-scheme:light){svg{color:#5f666e}}\
@media(prefers-color-scheme:dark){svg{color:#8d949d}}</style>";

/// Colours of middle lightness that people with any sight tell apart (after Okabe and Ito).
pub(super) const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 124, 196),
    RGBColor(213, 94, 0),
    RGBColor(0, 145, 105),
    RGBColor(190, 95, 150),
    RGBColor(160, 125, 0),
    RGBColor(110, 115, 125),
];

pub(super) const FONT: &str = "sans-serif";
pub(super) const TEXT_SIZE: i32 = 16;
pub(super) const TITLE_SIZE: i32 = 18;
/// Two lines of text that are nearer than this can't be read.
pub(super) const LINE_HEIGHT: i32 = 17;
/// Roughly: an SVG's font is known to its viewer only.
pub(super) const CHARACTER_WIDTH: f64 = 7.4;

pub(super) const WIDTH: i32 = 860;
pub(super) const ROW_HEIGHT: i32 = 24;
pub(super) const TOP: i32 = 62;
pub(super) const BOTTOM: i32 = 46;
pub(super) const RIGHT: i32 = 24;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The SVG that `draw` makes, with a title, fit for light and dark pages.
pub(super) fn svg(
    title: &str,
    height: i32,
    draw: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<String> {
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
pub(super) struct Scale {
    low: f64,
    high: f64,
    pixels: (i32, i32),
}

impl Scale {
    /// One that shows all points.
    pub(super) fn over<'a>(
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
    pub(super) fn pixel(&self, value: f64) -> i32 {
        let share = (value.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        let (from, to) = self.pixels;
        from + pixel(share * f64::from(to - from))
    }

    /// The numbers that are marked: powers of ten, or more where there are few of them.
    pub(super) fn marks(&self) -> Vec<f64> {
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

pub(super) fn points(series: &[Series]) -> impl Iterator<Item = &Point> + Clone {
    series.iter().flat_map(|one| one.points.iter().flatten())
}

/// The nearest pixel.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a plot has some hundred pixels"
)]
pub(super) fn pixel(value: f64) -> i32 {
    value.round() as i32
}

/// A number at an axis.
pub(super) fn mark(value: f64) -> String {
    if value >= 1.0 {
        super::words::grouped(value)
    } else {
        format!("{value}")
    }
}

/// Moves heights, which are in ascending order, so far apart that text fits.
pub(super) fn apart(heights: &[i32]) -> Vec<i32> {
    let mut moved: Vec<i32> = Vec::with_capacity(heights.len());
    for height in heights {
        let least = moved.last().map_or(i32::MIN, |last| last + LINE_HEIGHT);
        moved.push(*height.max(&least));
    }
    moved
}

/// About how many pixels the longest of the texts takes.
pub(super) fn width_of<T: AsRef<str>>(texts: impl Iterator<Item = T>) -> i32 {
    let characters = texts
        .map(|text| text.as_ref().chars().count())
        .max()
        .unwrap_or(0);
    pixel(f64::from(u32::try_from(characters).unwrap_or(0)) * CHARACTER_WIDTH)
}

pub(super) fn text(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    colour: RGBColor,
    side: HPos,
) -> Result<()> {
    let style = (FONT, TEXT_SIZE)
        .into_font()
        .color(&colour)
        .pos(Pos::new(side, VPos::Top));
    area.draw(&Text::new(text, at, style)).map_err(drawing)
}

pub(super) fn line<C: Into<ShapeStyle>>(
    area: &Area<'_>,
    ends: [(i32, i32); 2],
    colour: C,
) -> Result<()> {
    area.draw(&PathElement::new(ends, colour)).map_err(drawing)
}

pub(super) fn dot(area: &Area<'_>, at: (i32, i32), colour: RGBColor) -> Result<()> {
    area.draw(&Circle::new(at, 4, colour.filled()))
        .map_err(drawing)
}

/// plotters' error, which can't be sent to another thread as it is.
pub(super) fn drawing<E: std::error::Error + Send + Sync>(
    error: DrawingAreaErrorKind<E>,
) -> anyhow::Error {
    anyhow!("draw: {error}")
}
