//! Plots of the requests over time, as SVG that keeps its letters at their size however wide the page is: what stands in
//! percent grows with it. Lines differ by their dashes and bars by their place, and not by colour alone.

use time::{Duration, OffsetDateTime};

use super::markup::Markup;
use super::scale::{Scale, time_step};
use super::words::{answer_time, clock};
use crate::release::traffic::{TrafficCounts, TrafficSeries};

/// Of each panel, in pixels.
const TALL: f64 = 190.0;
const LOW: f64 = 96.0;
const LOWEST: f64 = 64.0;
/// Left of each panel, for its numbers.
const MARGIN: &str = "52";
/// What lines are drawn in, before they are stretched.
const ACROSS: f64 = 1000.0;
/// So many ticks of time fit on a phone.
const TICKS: f64 = 5.0;

/// A moment that is marked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    /// In seconds since the series begins.
    pub(super) at: f64,
    pub(super) label: String,
}

/// What the panels have in common.
pub(super) struct Plot<'a> {
    pub(super) series: &'a TrafficSeries,
    /// While it was deployed, in seconds since the series begins.
    pub(super) deploy: (f64, f64),
    pub(super) marks: Vec<Mark>,
}

impl Plot<'_> {
    /// Writes the panels, one below the other: how long answers took, how many requests, how many failed.
    pub(super) fn write(&self, page: &mut Markup, summary: &str) {
        let buckets = &self.series.buckets;
        let every = f64::from(self.series.every.max(1));
        page.element("figure", &[("class", "plots")], |figure| {
            let times: Vec<f64> = buckets
                .iter()
                .flat_map(|one| [one.p50, one.p95, one.p99])
                .flatten()
                .collect();
            if !times.is_empty() {
                let scale = Scale::of(&times);
                let kind = if scale.is_logarithmic() {
                    "How long answers took, on a logarithmic scale"
                } else {
                    "How long answers took"
                };
                legend(figure, kind);
                let panel = Panel {
                    height: TALL,
                    scale,
                    title: kind,
                    unit: &answer_time,
                    has_labels: true,
                };
                self.panel(figure, &panel, summary, |svg, panel| {
                    self.lines(svg, panel, "p99", &|one| one.p99);
                    self.lines(svg, panel, "p95", &|one| one.p95);
                    self.lines(svg, panel, "p50", &|one| one.p50);
                });
            }
            figure.worded("p", &[("class", "legend")], "Requests per second");
            let most = buckets.iter().map(|one| one.requests).max().unwrap_or_default();
            let panel = Panel {
                height: LOW,
                scale: Scale::linear(most as f64 / every),
                title: "Requests per second",
                unit: &plain,
                has_labels: times.is_empty(),
            };
            self.panel(figure, &panel, summary, |svg, panel| {
                self.bars(svg, panel, "requests", &|one| one.requests as f64 / every);
            });
            let failed: u64 = buckets.iter().map(|one| one.failed).sum();
            let heading = if failed == 0 {
                "Answers 5xx: none".to_owned()
            } else {
                format!("Answers 5xx, in {} s", self.series.every)
            };
            figure.worded("p", &[("class", "legend")], &heading);
            let most = buckets.iter().map(|one| one.failed).max().unwrap_or_default();
            let panel = Panel {
                height: LOWEST,
                scale: Scale::linear((most as f64).max(4.0)),
                title: "Answers 5xx",
                unit: &plain,
                has_labels: false,
            };
            self.panel(figure, &panel, summary, |svg, panel| {
                self.bars(svg, panel, "failed", &|one| one.failed as f64);
            });
            self.times(figure);
        });
    }

    /// In seconds: all that is drawn.
    fn span(&self) -> f64 {
        let buckets = self.series.buckets.len().max(1) as f64;
        buckets * f64::from(self.series.every.max(1))
    }

    fn place(&self, seconds: f64) -> f64 {
        let place = 100.0 * seconds / self.span();
        if place.is_finite() {
            place.clamp(0.0, 100.0)
        } else {
            0.0
        }
    }

    fn panel(
        &self,
        figure: &mut Markup,
        panel: &Panel<'_>,
        summary: &str,
        draw: impl FnOnce(&mut Markup, &Panel<'_>),
    ) {
        let height = format!("{:.0}", panel.height);
        figure.element("div", &[("class", "panel")], |row| {
            let size = [
                ("width", MARGIN),
                ("height", height.as_str()),
                ("aria-hidden", "true"),
            ];
            row.element("svg", &size, |svg| {
                for tick in &panel.scale.ticks {
                    // Within the drawing, also the highest and the lowest.
                    let y = format!("{:.1}", (panel.y(*tick) + 4.0).clamp(9.0, panel.height - 1.0));
                    let place = [("class", "tick"), ("x", "46"), ("y", &y), ("text-anchor", "end")];
                    svg.worded("text", &place, &(panel.unit)(*tick));
                }
            });
            let size = [
                ("class", "area"),
                ("width", "100%"),
                ("height", height.as_str()),
                ("role", "img"),
            ];
            row.element("svg", &size, |svg| {
                svg.worded("title", &[], panel.title);
                svg.worded("desc", &[], summary);
                self.backdrop(svg, panel);
                draw(svg, panel);
                self.marks(svg, panel);
            });
        });
    }

    fn backdrop(&self, svg: &mut Markup, panel: &Panel<'_>) {
        let (from, to) = (self.place(self.deploy.0), self.place(self.deploy.1));
        let band = [
            ("class", "band"),
            ("x", &format!("{from:.3}%")),
            ("y", "0"),
            ("width", &format!("{:.3}%", (to - from).max(0.0))),
            ("height", "100%"),
        ];
        svg.empty("rect", &band);
        for tick in &panel.scale.ticks {
            let y = format!("{:.1}", panel.y(*tick));
            svg.empty(
                "line",
                &[
                    ("class", "grid"),
                    ("x1", "0"),
                    ("x2", "100%"),
                    ("y1", &y),
                    ("y2", &y),
                ],
            );
        }
    }

    fn marks(&self, svg: &mut Markup, panel: &Panel<'_>) {
        for (number, mark) in self.marks.iter().enumerate() {
            let place = self.place(mark.at);
            let x = format!("{place:.3}%");
            svg.empty(
                "line",
                &[
                    ("class", "mark"),
                    ("x1", &x),
                    ("x2", &x),
                    ("y1", "0"),
                    ("y2", "100%"),
                ],
            );
            if !panel.has_labels {
                continue;
            }
            let (anchor, shift) = if place > 50.0 {
                ("end", "-4")
            } else {
                ("start", "4")
            };
            let y = format!("{}", 12 + 14 * number);
            let label = [
                ("class", "label"),
                ("x", x.as_str()),
                ("dx", shift),
                ("y", &y),
                ("text-anchor", anchor),
            ];
            svg.worded("text", &label, &mark.label);
        }
    }

    /// A line through the middle of each bucket; one that has no neighbour is a dash.
    fn lines(
        &self,
        svg: &mut Markup,
        panel: &Panel<'_>,
        class: &'static str,
        value: &dyn Fn(&TrafficCounts) -> Option<f64>,
    ) {
        let wide = ACROSS / self.series.buckets.len().max(1) as f64;
        let mut pieces: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
        for (number, bucket) in self.series.buckets.iter().enumerate() {
            match (value(bucket), pieces.last_mut()) {
                (Some(seconds), Some(piece)) => {
                    piece.push((wide * (number as f64 + 0.5), panel.y(seconds)));
                }
                (None, Some(piece)) if piece.is_empty() => {}
                (Some(_) | None, _) => pieces.push(Vec::new()),
            }
        }
        let view = format!("0 0 {ACROSS:.0} {:.0}", panel.height);
        let size = [
            ("class", class),
            ("width", "100%"),
            ("height", "100%"),
            ("viewBox", view.as_str()),
            ("preserveAspectRatio", "none"),
        ];
        svg.element("svg", &size, |inner| {
            for piece in &pieces {
                let mut points: Vec<String> = piece.iter().map(|(x, y)| format!("{x:.2},{y:.1}")).collect();
                if let [(x, y)] = piece.as_slice() {
                    let (from, to) = (x - wide / 2.0, x + wide / 2.0);
                    points = vec![format!("{from:.2},{y:.1}"), format!("{to:.2},{y:.1}")];
                }
                if !points.is_empty() {
                    inner.empty("polyline", &[("points", &points.join(" "))]);
                }
            }
        });
    }

    fn bars(
        &self,
        svg: &mut Markup,
        panel: &Panel<'_>,
        class: &'static str,
        value: &dyn Fn(&TrafficCounts) -> f64,
    ) {
        let wide = 100.0 / self.series.buckets.len().max(1) as f64;
        svg.element("g", &[("class", class)], |group| {
            for (number, bucket) in self.series.buckets.iter().enumerate() {
                let value = value(bucket);
                if value <= 0.0 {
                    continue;
                }
                // One of a thousand is seen, too.
                let y = panel.y(value).min(panel.floor() - 1.5);
                let bar = [
                    ("x", &*format!("{:.3}%", wide * number as f64)),
                    ("y", &*format!("{y:.1}")),
                    ("width", &*format!("{:.3}%", (wide * 0.86).max(0.12))),
                    ("height", &*format!("{:.1}", panel.floor() - y)),
                ];
                group.empty("rect", &bar);
            }
        });
    }

    /// The axis of time, below the panels.
    fn times(&self, figure: &mut Markup) {
        let begins = super::words::parsed(&self.series.from);
        figure.element("div", &[("class", "panel"), ("aria-hidden", "true")], |row| {
            row.element("svg", &[("width", MARGIN), ("height", "18")], |svg| {
                let place = [
                    ("class", "tick"),
                    ("x", "46"),
                    ("y", "12"),
                    ("text-anchor", "end"),
                ];
                svg.worded("text", &place, "UTC");
            });
            let size = [("class", "area"), ("width", "100%"), ("height", "18")];
            row.element("svg", &size, |svg| {
                let Some(begins) = begins else { return };
                for (at, label) in ticks(begins, self.span()) {
                    let place = self.place(at);
                    let anchor = match place {
                        first if first < 6.0 => "start",
                        last if last > 94.0 => "end",
                        _ => "middle",
                    };
                    let x = format!("{place:.3}%");
                    let attributes = [
                        ("class", "tick"),
                        ("x", x.as_str()),
                        ("y", "12"),
                        ("text-anchor", anchor),
                    ];
                    svg.worded("text", &attributes, &label);
                }
            });
        });
    }
}

/// At round times of the clock: the seconds since the beginning, and what is written there.
fn ticks(begins: OffsetDateTime, span: f64) -> Vec<(f64, String)> {
    let step = time_step(span, TICKS);
    let since_midnight = (begins - begins.replace_time(time::Time::MIDNIGHT)).as_seconds_f64();
    let mut at = (since_midnight / step).ceil() * step - since_midnight;
    let mut ticks = Vec::new();
    while at <= span && ticks.len() < 20 {
        let moment = begins.checked_add(Duration::seconds_f64(at)).unwrap_or(begins);
        ticks.push((at, clock(moment, step < 60.0)));
        at += step;
    }
    ticks
}

struct Panel<'a> {
    height: f64,
    scale: Scale,
    title: &'static str,
    unit: &'a dyn Fn(f64) -> String,
    has_labels: bool,
}

impl Panel<'_> {
    /// Where nothing stands, in pixels from the top.
    const fn floor(&self) -> f64 {
        self.height - 1.0
    }

    fn y(&self, value: f64) -> f64 {
        const TOP: f64 = 4.0;
        self.floor() - self.scale.place(value) * (self.floor() - TOP)
    }
}

fn legend(figure: &mut Markup, kind: &str) {
    figure.element("p", &[("class", "legend")], |line| {
        line.text(kind);
        line.text(": ");
        for (class, words) in [
            ("p50", "half of them"),
            ("p95", "95 of 100"),
            ("p99", "99 of 100 at most"),
        ] {
            line.element("span", &[("class", "key")], |key| {
                let size = [
                    ("class", class),
                    ("width", "26"),
                    ("height", "10"),
                    ("aria-hidden", "true"),
                ];
                key.element("svg", &size, |svg| {
                    svg.empty("polyline", &[("points", "0,5 26,5")]);
                });
                key.text(" ");
                key.text(words);
            });
            line.text(" ");
        }
    });
}

/// `0`, `2.5`, `40`.
fn plain(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn series(buckets: Vec<TrafficCounts>, every: u32) -> TrafficSeries {
        TrafficSeries {
            from: "2026-11-29T09:52:10Z".to_owned(),
            every,
            deployed: 600.0,
            watched: 640.0,
            until: buckets.len() as f64 * f64::from(every),
            buckets,
            ..TrafficSeries::default()
        }
    }

    fn counts(requests: u64, seconds: Option<f64>) -> TrafficCounts {
        TrafficCounts {
            requests,
            failed: 0,
            missing: 0,
            p50: seconds,
            p95: seconds,
            p99: seconds,
        }
    }

    fn drawn(series: &TrafficSeries) -> String {
        let mut page = Markup::default();
        let plot = Plot {
            series,
            deploy: (series.deployed, series.watched),
            marks: vec![Mark {
                at: series.watched,
                label: "switched".to_owned(),
            }],
        };
        plot.write(&mut page, "a summary");
        page.finish()
    }

    #[test]
    fn times_of_the_clock_are_round() {
        let told: Vec<String> = ticks(datetime!(2026-11-29 09:52:10 UTC), 1320.0)
            .into_iter()
            .map(|(_, label)| label)
            .collect();
        assert_eq!(told, ["09:55", "10:00", "10:05", "10:10"]);
        let told: Vec<String> = ticks(datetime!(2026-11-29 09:59:58 UTC), 45.0)
            .into_iter()
            .map(|(_, label)| label)
            .collect();
        assert_eq!(told, ["10:00:00", "10:00:10", "10:00:20", "10:00:30", "10:00:40"]);
        assert!(ticks(datetime!(9999-12-31 23:59:59 UTC), 1e12).len() <= 20);
    }

    #[test]
    fn one_bucket_alone_is_drawn_as_a_dash() {
        let drawn = drawn(&series(vec![counts(3, Some(0.1))], 5));
        assert_eq!(drawn.matches("<polyline points=\"0.00,").count(), 3, "{drawn}");
        assert!(drawn.contains("Answers 5xx: none"), "{drawn}");
    }

    #[test]
    fn where_nothing_came_there_is_an_axis_and_no_line() {
        let buckets = vec![counts(4, Some(0.1)), counts(0, None), counts(9, Some(0.2))];
        let with_gap = drawn(&series(buckets, 5));
        let lines = with_gap.matches("<polyline points=\"").count();
        assert_eq!(
            lines,
            3 * 2 + 3,
            "two dashes of each kind, and the legend: {with_gap}"
        );
        let empty = drawn(&series(vec![TrafficCounts::default(); 4], 5));
        assert!(!empty.contains("<polyline"), "{empty}");
        assert!(empty.contains("switched"), "{empty}");
        assert!(!drawn(&series(Vec::new(), 0)).contains("NaN"));
    }

    #[test]
    fn nothing_is_drawn_outside_whatever_the_values() {
        let absurd = TrafficCounts {
            requests: u64::MAX,
            failed: u64::MAX,
            missing: 0,
            p50: Some(f64::NAN),
            p95: Some(f64::INFINITY),
            p99: Some(-1.0),
        };
        let mut series = series(vec![absurd, counts(1, Some(1e-9)), counts(1, Some(1e9))], 5);
        (series.deployed, series.watched) = (f64::NAN, 1e300);
        let drawn = drawn(&series);
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        let placed = drawn.replace(" dx=\"-4\"", "");
        assert!(!placed.contains("=\"-"), "{placed}");
    }

    #[test]
    fn a_day_stays_small() {
        let drawn = drawn(&series(vec![counts(1000, Some(0.123)); 360], 360));
        assert!(drawn.len() < 150_000, "{}", drawn.len());
    }
}
