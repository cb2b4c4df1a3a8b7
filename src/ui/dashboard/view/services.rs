//! The services: a row for each container.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Row, Table};

use super::super::model::{List, Model};
use super::{FULL, Paint, text};
use crate::pipeline::{Measured, MeasuredContainer};
use crate::ui::line::Role;
use crate::ui::measured_lines::{percent, short_name};
use crate::ui::quantity;

pub(super) fn draw_services(
    model: &Model,
    measured: &Measured,
    paint: &Paint,
    area: Rect,
    frame: &mut Frame<'_>,
) {
    if area.height == 0 {
        return;
    }
    let room = usize::from(area.height).saturating_sub(1);
    let from = model.first_line(List::Services, room);
    let rows = model.containers();
    let widths = [
        Constraint::Min(12),
        Constraint::Length(10),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(8),
    ];
    let right = |words: &str| Line::from(words.to_owned()).alignment(Alignment::Right);
    let mark = if model.scrolled == List::Services {
        "▸"
    } else {
        " "
    };
    let hidden = rows.len().saturating_sub(room);
    let name = if hidden > 0 {
        format!("{mark}services {}-{}/{}", from + 1, from + room, rows.len())
    } else {
        format!("{mark}services")
    };
    let header = Row::new([
        Line::from(name),
        Line::from("state"),
        right("cpu"),
        right("memory"),
        right("limit"),
        right("in/s"),
        right("out/s"),
        right("restarts"),
    ])
    .style(paint.style(Role::Strong));
    let rows = rows
        .into_iter()
        .skip(from)
        .take(room)
        .map(|one| service(measured, one, paint));
    let table = Table::new(rows, widths).header(header).column_spacing(1);
    frame.render_widget(table, area);
}

fn service(measured: &Measured, one: &MeasuredContainer, paint: &Paint) -> Row<'static> {
    let right = |role: Role, words: String| Line::from(paint.span(role, &words)).alignment(Alignment::Right);
    let unknown = || "–".to_owned();
    let (role, state) = match (one.state, one.health) {
        ("running", Some("unhealthy")) => (Role::Bad, "unhealthy"),
        ("running", Some("starting")) => (Role::Warning, "starting"),
        ("running", Some(health)) => (Role::Good, health),
        ("running", None) => (Role::Plain, "running"),
        (other, _) => (Role::Bad, other),
    };
    let of_limit = match (one.memory, one.memory_limit) {
        (Some(memory), Some(limit)) if limit > 0 => Some(memory as f64 / limit as f64),
        (Some(_) | None, _) => None,
    };
    let tight = |share: f64| if share >= FULL { Role::Bad } else { Role::Plain };
    let bytes = |a_second: Option<f64>| a_second.map_or_else(unknown, |bytes| quantity::bytes(bytes as u64));
    let restarts = if one.restarts_since > 0 {
        Role::Bad
    } else {
        Role::Plain
    };
    Row::new([
        Line::from(format!(
            "{} {}",
            if one.is_new { "•" } else { " " },
            text(&short_name(measured, one))
        )),
        Line::from(paint.span(role, state)),
        right(Role::Plain, one.cores.map_or_else(unknown, percent)),
        right(Role::Plain, one.memory.map_or_else(unknown, quantity::bytes)),
        right(
            of_limit.map_or(Role::Plain, tight),
            of_limit.map_or_else(unknown, |share| format!("{:.0} %", share * 100.0)),
        ),
        right(Role::Plain, bytes(one.received)),
        right(Role::Plain, bytes(one.sent)),
        right(restarts, one.restarts.to_string()),
    ])
}
