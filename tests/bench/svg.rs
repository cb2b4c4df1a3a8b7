//! The few SVG shapes that the plot is made of. Pure. Written by hand: what is needed is smaller than a plotting
//! crate's way of being told about it.

use std::fmt::Write as _;

/// A picture while it is drawn.
pub(crate) struct Svg {
    width: f64,
    body: String,
}

/// Where a text stands against its point.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub(crate) const fn new(width: f64) -> Self {
        Self {
            width,
            body: String::new(),
        }
    }

    pub(crate) fn rectangle(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
        self.add(&format!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{:.1}" height="{height:.1}" fill="{fill}"/>"#,
            width.max(0.5)
        ));
    }

    pub(crate) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), stroke: &str) {
        self.add(&format!(
            r#"<path d="M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}" stroke="{stroke}"/>"#
        ));
    }

    /// One path for all of them: tens of thousands of points stay small.
    pub(crate) fn dots(&mut self, points: impl Iterator<Item = (f64, f64)>, size: f64, colour: &str) {
        let mut path = String::new();
        for (x, y) in points {
            // Writing to a string cannot fail.
            let _ = write!(path, "M{x:.1} {y:.1}h0");
        }
        if !path.is_empty() {
            self.add(&format!(
                r#"<path d="{path}" stroke="{colour}" stroke-width="{size}" stroke-linecap="round"/>"#
            ));
        }
    }

    pub(crate) fn text(
        &mut self,
        (x, y): (f64, f64),
        anchor: Anchor,
        size: f64,
        text: &str,
        attributes: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.add(&format!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" {attributes}>{text}</text>"#
        ));
    }

    /// The text in the middle of this stretch, where there is room for it.
    pub(crate) fn label(&mut self, (from, to): (f64, f64), y: f64, size: f64, text: &str) {
        if text.chars().count() as f64 * size * 0.56 < to - from {
            self.text((f64::midpoint(from, to), y), Anchor::Middle, size, text, "");
        }
    }

    /// The whole picture, this high.
    pub(crate) fn finish(self, height: f64) -> String {
        let Self { width, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"DejaVu Sans, Verdana, sans-serif\" fill=\"#222\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
        )
    }

    fn add(&mut self, shape: &str) {
        self.body.push_str(shape);
        self.body.push('\n');
    }
}
