//! The plot: latency and failures over time, with the steps drawn in. One panel per tool shows its worst deploy, all
//! on the same scale; a last one shows every deploy of ours.

use super::progress::Stretch;
use super::record::{Kind, Record};
use super::scenarios::Results;
use super::session::{Deploy, Session};
use super::statistics::{failures, percentile};
use super::svg::{Anchor, Svg};
use super::tools::Tool;

const WIDTH: f64 = 1180.0;
/// Where the time axis begins and ends.
const LEFT: f64 = 64.0;
const RIGHT: f64 = WIDTH - 16.0;
/// Seconds shown before a deploy and after it.
const MARGIN: f64 = 3.0;
/// The latency axis, seconds.
const FLOOR: f64 = 0.001;
const CEILING: f64 = 60.0;
const SCATTER: f64 = 130.0;
const LANE: f64 = 14.0;
const FAILED_LANE: f64 = 26.0;
/// Width of one bar of failures, seconds.
const BIN: f64 = 0.25;
const RED: &str = "#d4002a";
const GRID: &str = "#e4e4e4";

/// Draws it all.
pub(crate) fn draw(results: &Results, machine: &str) -> String {
    let mut svg = Svg::new(WIDTH);
    svg.text(
        (LEFT, 24.0),
        Anchor::Start,
        15.0,
        "Latency and failures while a release is deployed",
        r#"font-weight="bold""#,
    );
    svg.text((LEFT, 42.0), Anchor::Start, 11.0, machine, r##"fill="#666""##);
    legend(&mut svg, 60.0);
    let worst: Vec<(Tool, &Session, &Deploy)> = results
        .turns
        .iter()
        .filter_map(|turn| {
            let session = turn.sessions.first()?;
            Some((turn.tool, session, worst_deploy(session)?))
        })
        .collect();
    let longest = worst
        .iter()
        .map(|(_, _, deploy)| deploy.whole())
        .fold(0.0, f64::max);
    let mut top = 84.0;
    for (tool, session, deploy) in worst {
        let from = deploy.from - MARGIN;
        let panel = Panel {
            from,
            to: from + longest + 2.0 * MARGIN,
            until: deploy.to + MARGIN,
        };
        let failed: usize = failures(&session.recorded.records).values().sum();
        let title = format!(
            "{}: {failed} of {} requests failed in {}; shown is the worst, {} in {:.1} s",
            tool.name(),
            session.recorded.records.len(),
            counted(session.deploys.len(), "deploy"),
            deploy.tag,
            deploy.whole()
        );
        top = panel.deploy(&mut svg, top, &title, session, deploy);
    }
    let ours = results.turns.iter().find(|turn| turn.tool == Tool::Viatique);
    let overview = ours.and_then(|turn| turn.sessions.first());
    if let Some(session) = overview.filter(|session| session.deploys.len() > 1) {
        let panel = Panel {
            from: 0.0,
            to: session.recorded.ended,
            until: session.recorded.ended,
        };
        top = panel.overview(&mut svg, top, session);
    }
    svg.finish(top)
}

/// The one with most failures; among equals, the one that replaced containers for longest.
fn worst_deploy(session: &Session) -> Option<&Deploy> {
    let failed = |deploy: &Deploy| {
        let records = session.recorded.records.iter();
        let during = records.filter(|record| record.at >= deploy.from && record.at <= deploy.to + MARGIN);
        during.filter(|record| record.outcome.is_err()).count()
    };
    session.deploys.iter().max_by(|one, other| {
        let phases = one
            .phase()
            .unwrap_or(0.0)
            .total_cmp(&other.phase().unwrap_or(0.0));
        failed(one).cmp(&failed(other)).then(phases)
    })
}

fn legend(svg: &mut Svg, y: f64) {
    let mut x = LEFT;
    let kinds = Kind::ALL.iter().map(|kind| (kind.name(), colour(*kind)));
    for (name, colour) in kinds.chain([("failed", RED)]) {
        svg.dots([(x + 4.0, y - 4.0)].into_iter(), 7.0, colour);
        svg.text((x + 12.0, y), Anchor::Start, 11.0, name, "");
        x += 22.0 + name.chars().count() as f64 * 6.6;
    }
    x += 4.0;
    for name in [
        "check",
        "backup",
        "build",
        "migrate",
        "collectstatic",
        "deploy",
        "health",
        "unwind",
    ] {
        svg.rectangle((x, y - 9.0), (10.0, 10.0), step_colour(name));
        svg.text((x + 14.0, y), Anchor::Start, 11.0, name, "");
        x += 22.0 + name.chars().count() as f64 * 6.3;
    }
}

const fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Health => "#3b6fb6",
        Kind::Page => "#4bb3c9",
        Kind::Release => "#2f9e6e",
        Kind::Asset => "#a3a3a3",
        Kind::Post => "#8a3ea8",
        Kind::Upload => "#c98a00",
    }
}

fn step_colour(name: &str) -> &'static str {
    match name {
        "deploy" => "#ffd9a8",
        "health" => "#cdeccf",
        "backup" => "#d5e3f5",
        "build" => "#e3ddf2",
        "migrate" => "#f3e2ea",
        "collectstatic" => "#e9ecd2",
        _ if name.starts_with("unwind") => "#ffc2c2",
        _ => "#dedede",
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A stretch of time, laid over the whole width.
struct Panel {
    from: f64,
    to: f64,
    /// Requests of later than this are not shown: they belong to what came after.
    until: f64,
}

impl Panel {
    fn x(&self, at: f64) -> f64 {
        LEFT + (at - self.from).clamp(0.0, self.to - self.from) / (self.to - self.from) * (RIGHT - LEFT)
    }

    /// One deploy, request by request. Returns where the next panel begins.
    fn deploy(&self, svg: &mut Svg, top: f64, title: &str, session: &Session, deploy: &Deploy) -> f64 {
        heading(svg, top, title);
        let mut y = top + 18.0;
        for stretch in &deploy.steps {
            let (from, to) = (self.x(stretch.from), self.x(stretch.to));
            svg.rectangle((from, y), (to - from - 1.0, LANE), step_colour(&stretch.name));
            svg.label((from, to), y + 10.5, 10.0, &stretch.name);
        }
        y += LANE + 2.0;
        let lanes = lanes(&deploy.tasks);
        for (stretch, lane) in deploy.tasks.iter().zip(&lanes) {
            let (from, to) = (self.x(stretch.from), self.x(stretch.to));
            let at = y + *lane as f64 * (LANE - 1.0);
            svg.rectangle((from, at), (to - from - 1.0, LANE - 3.0), "#ffedd2");
            svg.label((from, to), at + 8.5, 9.0, &stretch.name);
        }
        y += lanes
            .iter()
            .max()
            .map_or(0.0, |most| (*most as f64 + 1.0) * (LANE - 1.0))
            + 2.0;
        for step in deploy.steps.iter().filter(|step| step.name == "deploy") {
            let (from, to) = (self.x(step.from), self.x(step.to));
            svg.rectangle((from, y), (to - from, SCATTER), "#fff8ee");
        }
        self.grid(svg, y, y + SCATTER, self.from + MARGIN);
        let shown: Vec<&Record> = self.shown(session).collect();
        for kind in Kind::ALL {
            let well = shown
                .iter()
                .filter(|record| record.kind == kind && record.outcome.is_ok());
            svg.dots(
                well.map(|record| (self.x(record.at), latency_y(y, record.latency))),
                if kind == Kind::Upload { 5.0 } else { 2.4 },
                colour(kind),
            );
        }
        let failed = shown.iter().filter(|record| record.outcome.is_err());
        svg.dots(
            failed.map(|record| (self.x(record.at), latency_y(y, record.latency))),
            3.2,
            RED,
        );
        y += SCATTER + 4.0;
        self.failed_lane(svg, y, session, BIN);
        y += FAILED_LANE;
        self.time_axis(svg, y, self.from + MARGIN);
        y + 34.0
    }

    /// A whole load: per second the fastest, the median and the slowest answer.
    fn overview(&self, svg: &mut Svg, top: f64, session: &Session) -> f64 {
        let title = format!(
            "viatique-deploy: {} one after another; per second the median latency, and a line from the fastest to \
             the slowest but for uploads",
            counted(session.deploys.len(), "deploy")
        );
        heading(svg, top, &title);
        let mut y = top + 18.0;
        for deploy in &session.deploys {
            for step in &deploy.steps {
                let (from, to) = (self.x(step.from), self.x(step.to));
                svg.rectangle((from, y), (to - from, LANE), step_colour(&step.name));
            }
            svg.label(
                (self.x(deploy.from), self.x(deploy.to)),
                y + 10.5,
                10.0,
                &deploy.tag,
            );
        }
        y += LANE + 4.0;
        self.grid(svg, y, y + SCATTER, 0.0);
        let counted = |record: &&Record| record.kind != Kind::Upload && record.outcome.is_ok();
        let mut medians = Vec::new();
        for second in 0..self.to.ceil() as usize {
            let (from, to) = (second as f64, second as f64 + 1.0);
            let records = session.recorded.records.iter().filter(counted);
            let within = records.filter(|record| record.at >= from && record.at < to);
            let latencies: Vec<f64> = within.map(|record| record.latency).collect();
            if let (Some(least), Some(median), Some(most)) = (
                percentile(&latencies, 0.0),
                percentile(&latencies, 0.5),
                percentile(&latencies, 1.0),
            ) {
                let x = self.x(from + 0.5);
                svg.line((x, latency_y(y, least)), (x, latency_y(y, most)), "#9fb8da");
                medians.push((x, latency_y(y, median)));
            }
        }
        svg.dots(medians.into_iter(), 2.4, "#1f4e8c");
        y += SCATTER + 4.0;
        self.failed_lane(svg, y, session, 1.0);
        y += FAILED_LANE;
        self.time_axis(svg, y, 0.0);
        y + 34.0
    }

    fn shown<'a>(&self, session: &'a Session) -> impl Iterator<Item = &'a Record> {
        let (from, to) = (self.from, self.until.min(self.to));
        let records = session.recorded.records.iter();
        records.filter(move |record| record.at >= from && record.at <= to)
    }

    fn grid(&self, svg: &mut Svg, top: f64, bottom: f64, zero: f64) {
        for (latency, name) in [
            (0.001, "1 ms"),
            (0.01, "10 ms"),
            (0.1, "100 ms"),
            (1.0, "1 s"),
            (10.0, "10 s"),
        ] {
            let y = latency_y(top, latency);
            svg.line((LEFT, y), (RIGHT, y), GRID);
            svg.text((LEFT - 6.0, y + 3.5), Anchor::End, 10.0, name, r##"fill="#666""##);
        }
        for (at, _) in self.ticks(zero) {
            svg.line((self.x(at), top), (self.x(at), bottom), GRID);
        }
    }

    /// How large a share of the requests of each bin failed.
    fn failed_lane(&self, svg: &mut Svg, top: f64, session: &Session, bin: f64) {
        let bottom = top + FAILED_LANE - 6.0;
        let bins = ((self.to - self.from) / bin).ceil() as usize;
        let mut counts = vec![(0_u32, 0_u32); bins + 1];
        for record in self.shown(session) {
            let (all, failed) = &mut counts[((record.at - self.from) / bin) as usize];
            *all += 1;
            *failed += u32::from(record.outcome.is_err());
        }
        for (number, (all, failed)) in counts.iter().enumerate().filter(|(_, (_, failed))| *failed > 0) {
            let height = (bottom - top) * f64::from(*failed) / f64::from(*all);
            let from = self.x(self.from + number as f64 * bin);
            let to = self.x(self.from + (number + 1) as f64 * bin);
            svg.rectangle((from, bottom - height), (to - from, height.max(1.5)), RED);
        }
        svg.line((LEFT, bottom), (RIGHT, bottom), "#888");
        svg.text(
            (LEFT - 6.0, bottom - 4.0),
            Anchor::End,
            10.0,
            "failed",
            r##"fill="#666""##,
        );
    }

    fn time_axis(&self, svg: &mut Svg, y: f64, zero: f64) {
        for (at, name) in self.ticks(zero) {
            svg.text(
                (self.x(at), y + 6.0),
                Anchor::Middle,
                10.0,
                &name,
                r##"fill="#666""##,
            );
        }
    }

    /// At most some fifteen, at round seconds after `zero`.
    fn ticks(&self, zero: f64) -> Vec<(f64, String)> {
        let length = self.to - self.from;
        let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
        let step = steps
            .into_iter()
            .find(|step| length / step <= 15.0)
            .unwrap_or(600.0);
        let first = ((self.from - zero) / step).ceil();
        let count = (length / step) as usize + 1;
        let ticks = (0..count).map(|number| (first + number as f64) * step);
        ticks
            .map(|seconds| (zero + seconds, format!("{seconds:.0} s")))
            .filter(|(at, _)| *at <= self.to)
            .collect()
    }
}

fn heading(svg: &mut Svg, top: f64, title: &str) {
    svg.text(
        (LEFT, top + 8.0),
        Anchor::Start,
        12.0,
        title,
        r#"font-weight="bold""#,
    );
}

fn latency_y(top: f64, latency: f64) -> f64 {
    let share = (latency.clamp(FLOOR, CEILING) / FLOOR).ln() / (CEILING / FLOOR).ln();
    top + SCATTER * (1.0 - share)
}

/// In which lane each stretch is drawn, so that none covers another.
fn lanes(stretches: &[Stretch]) -> Vec<usize> {
    let mut ends: Vec<f64> = Vec::new();
    let mut order: Vec<usize> = (0..stretches.len()).collect();
    order.sort_by(|one, other| stretches[*one].from.total_cmp(&stretches[*other].from));
    let mut lanes = vec![0; stretches.len()];
    for index in order {
        let stretch = &stretches[index];
        let free = ends.iter().position(|end| *end <= stretch.from);
        let lane = free.unwrap_or(ends.len());
        if lane == ends.len() {
            ends.push(stretch.to);
        } else {
            ends[lane] = stretch.to;
        }
        lanes[index] = lane;
    }
    lanes
}
