//! A chart as SVG. Lines differ in their strokes and have their names beside them, so that it can be read without colours.

use std::fmt::{Result, Write};

use super::escape;
use super::scale::Scale;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 50.0;
/// Beside the names of lines, and for a letter of them.
const MARGIN: f64 = 24.0;
const LETTER: f64 = 7.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 36.0;
/// Names of lines are so far apart at least.
const NAME_HEIGHT: f64 = 12.0;

/// Values that belong together.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A stretch of the horizontal axis that has a name.
pub(super) struct Band {
    pub(super) name: String,
    pub(super) from: f64,
    pub(super) to: f64,
}

/// One axis.
pub(super) struct Axis {
    pub(super) scale: Scale,
    pub(super) name: &'static str,
    pub(super) format: fn(f64) -> String,
}

/// A chart.
pub(super) struct Chart {
    /// What it shows, for who cannot see it.
    pub(super) description: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    pub(super) bands: Vec<Band>,
}

impl Chart {
    pub(super) fn svg(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).unwrap_or_else(|error| unreachable!("a String takes it: {error}"));
        out
    }

    fn write(&self, out: &mut String) -> Result {
        write!(
            out,
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#,
            escape(&self.description)
        )?;
        self.write_bands(out)?;
        self.write_axes(out)?;
        for (number, line) in self.lines.iter().enumerate() {
            write_line(&self.path(line), number, out)?;
        }
        self.write_names(out)?;
        out.write_str("</svg>")
    }

    /// Where the lines end and their names begin.
    fn right(&self) -> f64 {
        let longest = self.lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
        WIDTH - MARGIN - LETTER * longest as f64
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.scale.place(value) * (self.right() - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.scale.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn path(&self, line: &Line) -> String {
        let point = |(index, (x, y)): (usize, &(f64, f64))| {
            format!("{}{:.1} {:.1}", if index == 0 { "M" } else { "L" }, self.x(*x), self.y(*y))
        };
        line.points.iter().enumerate().map(point).collect()
    }

    fn write_bands(&self, out: &mut String) -> Result {
        for (number, band) in self.bands.iter().enumerate() {
            let (from, to) = (self.x(band.from), self.x(band.to));
            let (width, height) = ((to - from).max(1.0), HEIGHT - TOP - BOTTOM);
            let name = escape(&band.name);
            write!(
                out,
                r#"<rect class="band b{}" x="{from:.1}" y="{TOP}" width="{width:.1}" height="{height}"><title>{name}</title></rect>"#,
                number % 2
            )?;
            // Numbers, as there is no room for names; they are beside the chart.
            let middle = from + width / 2.0;
            write!(
                out,
                r#"<text class="tick" x="{middle:.1}" y="{}" text-anchor="middle">{}</text>"#,
                TOP - 5.0,
                number + 1
            )?;
        }
        Ok(())
    }

    fn write_axes(&self, out: &mut String) -> Result {
        let (right, bottom) = (self.right(), HEIGHT - BOTTOM);
        for tick in self.y.scale.ticks() {
            let y = self.y(tick);
            write!(out, r#"<path class="grid" d="M{LEFT} {y:.1}H{right}"/>"#)?;
            let text = (self.y.format)(tick);
            write!(
                out,
                r#"<text class="tick" x="{}" y="{:.1}" text-anchor="end">{text}</text>"#,
                LEFT - 6.0,
                y + 3.5
            )?;
        }
        for tick in self.x.scale.ticks() {
            let (x, text) = (self.x(tick), (self.x.format)(tick));
            write!(out, r#"<path class="grid" d="M{x:.1} {bottom}v4"/>"#)?;
            write!(
                out,
                r#"<text class="tick" x="{x:.1}" y="{}" text-anchor="middle">{text}</text>"#,
                bottom + 15.0
            )?;
        }
        write!(out, r#"<path class="axis" d="M{LEFT} {bottom}H{right}"/>"#)?;
        let name = self.x.name;
        write!(
            out,
            r#"<text class="name" x="{right}" y="{}" text-anchor="end">{name}</text>"#,
            HEIGHT - 5.0
        )?;
        if self.bands.is_empty() {
            write!(out, r#"<text class="name" x="2" y="{}">{}</text>"#, TOP - 11.0, self.y.name)?;
        }
        Ok(())
    }

    /// The names of lines, beside where each ends, without one on another.
    fn write_names(&self, out: &mut String) -> Result {
        let end = |(number, line): (usize, &Line)| Some((self.y(line.points.last()?.1), number));
        let mut ends: Vec<(f64, usize)> = self.lines.iter().enumerate().filter_map(end).collect();
        ends.sort_by(|one, other| one.0.total_cmp(&other.0));
        let lowest = HEIGHT - BOTTOM - NAME_HEIGHT * ends.len().saturating_sub(1) as f64;
        let mut last = f64::NEG_INFINITY;
        for (index, (y, number)) in ends.into_iter().enumerate() {
            let y = y.max(last + NAME_HEIGHT).min(lowest + NAME_HEIGHT * index as f64).max(TOP);
            last = y;
            let (x, name) = (self.right() + 5.0, escape(&self.lines[number].name));
            write!(out, r#"<path class="line s{number}" d="M{x} {y:.1}h14"/>"#)?;
            write!(
                out,
                r#"<text class="tick of{number}" x="{}" y="{:.1}">{name}</text>"#,
                x + 17.0,
                y + 3.5
            )?;
        }
        Ok(())
    }
}

fn write_line(path: &str, number: usize, out: &mut String) -> Result {
    write!(out, r#"<path class="line s{number}" d="{path}"/>"#)
}
