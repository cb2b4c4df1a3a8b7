//! The dashboard on a screen of any size: what is most needed first, more of it where there is room. 80 by 24 shows all
//! that the example has. Without colours the words and signs say the same. Each part is in a file of its own; here is
//! where they stand, and what they have in common.

mod requests;
mod services;
mod stores;

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use self::requests::{draw_requests, requests_size};
use self::services::draw_services;
use self::stores::{database_lines, draw_database, stores};
use super::model::{List, Model};
use crate::pipeline::{LoggedErrors, Measured, News};
use crate::ui::foreign_text::printable_line;
use crate::ui::line::{Role, fitted};
use crate::ui::measured_lines::verdict;
use crate::ui::quantity;

/// Below this, it says so and nothing else.
const NARROWEST: u16 = 40;
/// Without news for so long, it is said.
const STALE: Duration = Duration::from_secs(10);
/// Of a disk, so much in use is worth a colour.
const FULL: f64 = 0.9;

/// Draws all of it, at this time of the reporter's clock.
pub fn draw(model: &Model, now: Duration, color: bool, frame: &mut Frame<'_>) {
    let paint = Paint(color);
    let area = frame.area();
    if area.width < NARROWEST || area.height < 3 {
        frame.render_widget(Paragraph::new("too small a screen; q ends"), area);
        return;
    }
    let Some(measured) = &model.measured else {
        let [header, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        frame.render_widget(title_line(model, &paint), header);
        frame.render_widget(Paragraph::new(text(&model.doing)), body);
        return;
    };
    let notices = notices(model, measured, &paint);
    let of_database = database_lines(measured, &paint).len();
    let sections = [
        Section::fixed(1 + notices.len().min(4)),
        requests_size(measured),
        Section::list(2, 7, measured.containers.len()),
        Section::list(1, 2, measured.errors.len().max(1)),
        Section::list(1, 2, of_database),
        Section::fixed(1 + stores(measured, &paint).len()),
    ];
    let heights = heights(usize::from(area.height) - 1, &sections);
    let mut areas = Layout::vertical(
        heights
            .iter()
            .map(|height| Constraint::Length(u16::try_from(*height).unwrap_or(u16::MAX)))
            .chain([Constraint::Fill(1)]),
    )
    .split(area)
    .to_vec();
    let rest = areas.pop().unwrap_or_default();
    let [header, requests, services, errors, database, others] = areas.as_slice() else {
        return;
    };
    draw_header(model, measured, now, notices, &paint, *header, frame);
    draw_requests(model, measured, &paint, *requests, frame);
    draw_services(model, measured, &paint, *services, frame);
    draw_errors(model, measured, &paint, *errors, frame);
    draw_database(model, measured, &paint, *database, frame);
    draw_list(
        "redis, queues, disks",
        stores(measured, &paint),
        0,
        &paint,
        *others,
        frame,
    );
    draw_footer(model, measured, &paint, rest, frame);
    if model.helps {
        draw_help(&paint, area, frame);
    }
}

/// How many rows a part needs, how many it should have before any other gets more than that, and how many it could fill.
#[derive(Debug, Clone, Copy)]
struct Section {
    least: usize,
    good: usize,
    wanted: usize,
}

impl Section {
    const fn fixed(rows: usize) -> Self {
        Self {
            least: rows,
            good: rows,
            wanted: rows,
        }
    }

    /// Below a title so many lines, as far as there are any.
    fn list(least: usize, good: usize, lines: usize) -> Self {
        Self {
            least: 1 + least.min(lines),
            good: 1 + good.min(lines),
            wanted: 1 + lines,
        }
    }
}

/// What each gets: its least, then what is good one after the other, then one row after the other to each that wants more.
/// Where not even the least is there, the last ones go without.
fn heights(available: usize, sections: &[Section]) -> Vec<usize> {
    let mut left = available;
    let mut heights = vec![0; sections.len()];
    for until in [
        |section: &Section| section.least,
        |section: &Section| section.good,
    ] {
        for (height, section) in heights.iter_mut().zip(sections) {
            let more = until(section).saturating_sub(*height).min(left);
            *height += more;
            left -= more;
        }
    }
    while left > 0 {
        let before = left;
        for (height, section) in heights.iter_mut().zip(sections) {
            if *height < section.wanted && left > 0 {
                *height += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    heights
}

/// Roles as styles; none without colours.
struct Paint(bool);

impl Paint {
    const fn style(&self, role: Role) -> Style {
        if !self.0 {
            return Style::new();
        }
        match role {
            Role::Plain => Style::new(),
            Role::Strong => Style::new().add_modifier(Modifier::BOLD),
            Role::Faint => Style::new().add_modifier(Modifier::DIM),
            Role::Good => Style::new().fg(Color::Green),
            Role::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            Role::Warning => Style::new().fg(Color::Yellow),
            Role::Accent => Style::new().fg(Color::Cyan),
        }
    }

    fn span(&self, role: Role, words: &str) -> Span<'static> {
        Span::styled(text(words), self.style(role))
    }
}

/// Pages, errors and names are others' words.
fn text(words: &str) -> String {
    printable_line(words)
}

fn title_line(model: &Model, paint: &Paint) -> Line<'static> {
    Line::from(vec![
        paint.span(Role::Strong, &model.project),
        Span::raw("  "),
        paint.span(Role::Strong, &model.release),
    ])
}

/// What is bad, and what was warned of last.
fn notices(model: &Model, measured: &Measured, paint: &Paint) -> Vec<Line<'static>> {
    let findings = measured.findings.iter();
    let findings = findings.map(|finding| paint.span(Role::Bad, &format!("✘ {finding}")));
    let warnings = model.warnings.iter().rev().take(1);
    let warnings = warnings.map(|warning| paint.span(Role::Warning, &format!("! {warning}")));
    findings.chain(warnings).map(Line::from).collect()
}

fn draw_header(
    model: &Model,
    measured: &Measured,
    now: Duration,
    notices: Vec<Line<'static>>,
    paint: &Paint,
    area: Rect,
    frame: &mut Frame<'_>,
) {
    let age = now.saturating_sub(model.at);
    let (role, word) = verdict(measured.verdict);
    let mut title = title_line(model, paint);
    title.push_span(Span::raw("   "));
    title.push_span(paint.span(role, word));
    let time = if model.ends {
        paint.span(Role::Warning, "ending …")
    } else if age >= STALE {
        let silent = format!("no news for {}", quantity::running_for(age));
        paint.span(Role::Warning, &silent)
    } else {
        let left = measured.left.saturating_sub(age);
        let watched = quantity::running_for(measured.elapsed + age);
        paint.span(
            Role::Faint,
            &format!("{watched} watched, {} left", quantity::running_for(left)),
        )
    };
    let [first, rest] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let columns = u16::try_from(time.width()).unwrap_or(u16::MAX);
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(columns)]).areas(first);
    frame.render_widget(Paragraph::new(title), left);
    frame.render_widget(
        Paragraph::new(Line::from(time)).alignment(Alignment::Right),
        right,
    );
    frame.render_widget(Paragraph::new(notices), rest);
}

fn draw_errors(model: &Model, measured: &Measured, paint: &Paint, area: Rect, frame: &mut Frame<'_>) {
    let new = measured.errors.iter().filter(|one| one.news == News::New).count();
    let beside = measured.further_errors;
    let title = match (measured.errors.len(), beside) {
        (0, _) => "errors in the logs".to_owned(),
        (all, 0) => format!("errors in the logs: {new} new of {all} kinds"),
        (all, beside) => format!("errors in the logs: {new} new of {all} kinds, {beside} beside them"),
    };
    let lines: Vec<Line<'static>> = if measured.errors.is_empty() {
        vec![Line::from(paint.span(Role::Faint, "none"))]
    } else {
        let errors = measured.errors.iter();
        errors.map(|error| of_error(error, area.width, paint)).collect()
    };
    draw_scrolled(model, List::Errors, &title, lines, paint, area, frame);
}

fn of_error(error: &LoggedErrors, width: u16, paint: &Paint) -> Line<'static> {
    let (role, sign) = match error.news {
        News::New => (Role::Bad, "new"),
        News::Known => (Role::Faint, "known"),
        News::Unclear => (Role::Warning, "new?"),
    };
    let last = error.last;
    let before = format!(
        "{sign:<6}{:>6}×  {:02}:{:02}:{:02}Z  ",
        error.count,
        last.hour(),
        last.minute(),
        last.second()
    );
    let what = text(&format!("{}: {}", error.service, error.fingerprint));
    let room = usize::from(width).saturating_sub(before.chars().count());
    Line::from(vec![paint.span(role, &before), Span::raw(fitted(&what, room))])
}

fn block(title: &str, is_marked: bool, paint: &Paint) -> Block<'static> {
    let mark = if is_marked { "▸" } else { " " };
    let title = Line::from(paint.span(Role::Strong, &format!("{mark}{title} ")));
    Block::new()
        .borders(Borders::TOP)
        .border_style(paint.style(Role::Faint))
        .title(title)
}

fn draw_list(
    title: &str,
    lines: Vec<Line<'static>>,
    from: usize,
    paint: &Paint,
    area: Rect,
    frame: &mut Frame<'_>,
) {
    let lines: Vec<Line<'static>> = lines.into_iter().skip(from).collect();
    frame.render_widget(Paragraph::new(lines).block(block(title, false, paint)), area);
}

fn draw_scrolled(
    model: &Model,
    list: List,
    title: &str,
    lines: Vec<Line<'static>>,
    paint: &Paint,
    area: Rect,
    frame: &mut Frame<'_>,
) {
    let room = usize::from(area.height).saturating_sub(1);
    let from = model.first_line(list, room);
    let hidden = lines.len().saturating_sub(from + room);
    let title = if hidden > 0 && room > 0 {
        format!("{title}  (+{hidden} below)")
    } else {
        title.to_owned()
    };
    let lines: Vec<Line<'static>> = lines.into_iter().skip(from).collect();
    let block = block(&title, model.scrolled == list, paint);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_footer(model: &Model, measured: &Measured, paint: &Paint, area: Rect, frame: &mut Frame<'_>) {
    let Some(row) = area.rows().next_back() else {
        return;
    };
    let keys = format!(
        "q ends  s sorts: {}  Tab ↑ ↓ scroll  ? helps",
        model.order.as_str()
    );
    let mut spans = vec![paint.span(Role::Faint, &keys)];
    if let [first, rest @ ..] = measured.unseen.as_slice() {
        let more = if rest.is_empty() {
            String::new()
        } else {
            format!(" (+{})", rest.len())
        };
        let room = usize::from(row.width).saturating_sub(keys.chars().count() + more.len() + 3);
        let words = fitted(&text(&format!("not seen: {first}")), room);
        spans.push(paint.span(Role::Warning, &format!("   {words}{more}")));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), row);
}

const HELP: [&str; 12] = [
    "q, Ctrl-C    end the watch; what was seen last stays on the screen",
    "s            sort the services by name, cpu, memory, network",
    "Tab          choose the list that is scrolled (▸): services,",
    "             errors, database, pages",
    "↑ ↓ PgUp PgDn  scroll it",
    "?            this help; any key closes it",
    "",
    "•            made for the release that is watched",
    "cpu          of one core",
    "5xx, p95     of the last 15 to 20 s",
    "new, known   held against the hour before; new?: no log tells",
    "bad          is final; any other verdict may change until the end",
];

fn draw_help(paint: &Paint, area: Rect, frame: &mut Frame<'_>) {
    let width = 70.min(area.width);
    let height = u16::try_from(HELP.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let over = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    let lines: Vec<Line<'static>> = HELP.iter().map(|line| Line::from(*line)).collect();
    let block = Block::bordered().title(Line::from(paint.span(Role::Strong, " keys ")));
    frame.render_widget(Clear, over);
    frame.render_widget(Paragraph::new(lines).block(block), over);
}
