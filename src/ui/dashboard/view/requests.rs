//! The requests: figures, three curves, and the worst pages below them.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline};

use super::super::model::{List, Model};
use super::{Paint, Section, block, draw_list, text};
use crate::pipeline::{Measured, Requests};
use crate::ui::line::{Role, fitted};
use crate::ui::measured_lines::{milliseconds, percent};

pub(super) fn requests_size(measured: &Measured) -> Section {
    match &measured.requests {
        None => Section::fixed(1),
        // The figures, the curves, and the pages below them.
        Some(requests) => Section {
            least: 3,
            good: 2 + requests.pages.len().min(2),
            wanted: 2 + CURVES + requests.pages.len(),
        },
    }
}

/// How many rows higher than one the curves become where there is room.
const CURVES: usize = 2;

pub(super) fn draw_requests(
    model: &Model,
    measured: &Measured,
    paint: &Paint,
    area: Rect,
    frame: &mut Frame<'_>,
) {
    let Some(requests) = &measured.requests else {
        draw_list("requests: not known", Vec::new(), 0, paint, area, frame);
        return;
    };
    let block = block(&figures(requests), false, paint);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let rows = usize::from(inner.height);
    // Two pages come before higher curves.
    let higher = rows.saturating_sub(1 + requests.pages.len().min(3)).min(CURVES);
    let curves = u16::try_from(1 + higher).unwrap_or(1).min(inner.height);
    let [curves, pages] = Layout::vertical([Constraint::Length(curves), Constraint::Fill(1)]).areas(inner);
    draw_curves(model, paint, curves, frame);
    let room = usize::from(pages.height);
    let from = model.first_line(List::Pages, room);
    let lines: Vec<Line<'static>> = requests
        .pages
        .iter()
        .skip(from)
        .take(room)
        .map(|page| {
            let role = if page.failed > 0 { Role::Bad } else { Role::Plain };
            let p95 = page.p95.map_or_else(|| "–".to_owned(), milliseconds);
            let name = fitted(
                &text(&page.page),
                usize::from(pages.width).saturating_sub(PAGE_FIGURES),
            );
            let figures = format!(
                "{:>6} requests  {:>5} 5xx  p95 {p95:>7}  ",
                page.requests, page.failed
            );
            Line::from(vec![paint.span(role, &figures), Span::raw(name)])
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), pages);
}

/// As wide as what stands before a page's name.
const PAGE_FIGURES: usize = 42;

fn figures(requests: &Requests) -> String {
    let failed = match requests.failed_share {
        Some(share) => format!("{} 5xx", percent(share)),
        None => "5xx –".to_owned(),
    };
    let quantiles = [
        ("p50", requests.p50),
        ("p95", requests.p95),
        ("p99", requests.p99),
    ];
    let quantiles: Vec<String> = quantiles
        .iter()
        .map(|(name, seconds)| format!("{name} {}", seconds.map_or_else(|| "–".to_owned(), milliseconds)))
        .collect();
    format!(
        "{:.1} requests/s  {failed}  {}",
        requests.per_second,
        quantiles.join("  ")
    )
}

/// One in a hundred, in the parts that a share is drawn in.
const HUNDREDTH: u64 = 100;

/// Three curves beside each other, the newest look at the right.
fn draw_curves(model: &Model, paint: &Paint, area: Rect, frame: &mut Frame<'_>) {
    let thirds: [Rect; 3] = Layout::horizontal([Constraint::Ratio(1, 3); 3]).areas(area);
    let of = [
        ("req/s", Role::Accent, 100.0),
        ("p95", Role::Warning, 1000.0),
        ("5xx", Role::Bad, 10_000.0),
    ];
    for (third, (name, role, factor)) in thirds.into_iter().zip(of) {
        let columns = [Constraint::Length(6), Constraint::Fill(1), Constraint::Length(1)];
        let [label, curve, _] = Layout::horizontal(columns).areas(third);
        let values = model.figures.iter().map(|figures| match name {
            "req/s" => figures.requests,
            "p95" => figures.p95,
            _ => figures.failed,
        });
        // A share, or a number of requests, in whole parts that are fine enough.
        let values: Vec<Option<u64>> = values
            .map(|value| value.map(|value| (value * factor).round() as u64))
            .collect();
        let shown = values
            .get(values.len().saturating_sub(usize::from(curve.width))..)
            .unwrap_or_default();
        frame.render_widget(Paragraph::new(Line::from(paint.span(Role::Faint, name))), label);
        // A share of next to nothing is not drawn as high as the curve goes.
        let least = if name == "5xx" { HUNDREDTH } else { 1 };
        let most = shown.iter().flatten().copied().max().unwrap_or_default();
        let widget = Sparkline::default()
            .max(most.max(least))
            .data(shown)
            .absent_value_symbol(" ")
            .style(paint.style(role));
        frame.render_widget(widget, curve);
    }
}
