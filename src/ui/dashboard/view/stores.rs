//! The database's sessions, Redis, queues and disks.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::super::model::{List, Model};
use super::{FULL, Paint, draw_scrolled};
use crate::pipeline::{Disk, Measured};
use crate::ui::line::Role;
use crate::ui::measured_lines::{blockers, seconds};
use crate::ui::quantity;

pub(super) fn draw_database(
    model: &Model,
    measured: &Measured,
    paint: &Paint,
    area: Rect,
    frame: &mut Frame<'_>,
) {
    let title = match &measured.database {
        None => "database: not known".to_owned(),
        Some(database) => {
            let sessions = database.activity.as_ref().map_or_else(String::new, |activity| {
                format!("  {} slow  {} wait for locks", activity.slow, activity.waiting)
            });
            format!(
                "database  {} of {} connections{sessions}",
                database.connections, database.usable
            )
        }
    };
    let lines = database_lines(measured, paint);
    draw_scrolled(model, List::Database, &title, lines, paint, area, frame);
}

/// Who waits for whose lock, then what goes on for long.
pub(super) fn database_lines(measured: &Measured, paint: &Paint) -> Vec<Line<'static>> {
    let Some(activity) = measured
        .database
        .as_ref()
        .and_then(|database| database.activity.as_ref())
    else {
        return vec![Line::from(
            paint.span(Role::Faint, "what its sessions are at is not known"),
        )];
    };
    let took = |taken: f64| quantity::duration(seconds(taken));
    let waits = activity.waits.iter().map(|wait| {
        let line = format!(
            "{} waits {} for a lock of {}: {}",
            wait.session.pid,
            took(wait.session.seconds),
            blockers(&wait.blocked_by),
            wait.session.statement
        );
        Line::from(paint.span(Role::Bad, &line))
    });
    let longest = activity.longest.iter().map(|session| {
        let line = format!(
            "{} {} {}: {}",
            session.pid,
            session.state,
            took(session.seconds),
            session.statement
        );
        Line::from(paint.span(Role::Plain, &line))
    });
    let mut lines: Vec<Line<'static>> = waits.chain(longest).collect();
    if lines.is_empty() {
        lines.push(Line::from(
            paint.span(Role::Faint, "no slow statement, nobody waits for a lock"),
        ));
    }
    lines
}

pub(super) fn stores(measured: &Measured, paint: &Paint) -> Vec<Line<'static>> {
    let mut first: Vec<String> = Vec::new();
    first.extend(measured.redis.as_ref().map(|redis| {
        let limit = redis
            .memory_limit
            .map_or_else(String::new, |limit| format!(" of {}", quantity::bytes(limit)));
        format!(
            "redis {} clients, {}{limit}",
            redis.clients,
            quantity::bytes(redis.memory)
        )
    }));
    let queues = measured.queues.iter();
    first.extend(queues.map(|queue| format!("queue {} {} waiting", queue.name, queue.waiting)));
    let mut lines = Vec::new();
    if !first.is_empty() {
        lines.push(Line::from(paint.span(Role::Plain, &first.join("   "))));
    }
    if !measured.disks.is_empty() {
        let disks = measured
            .disks
            .iter()
            .flat_map(|one| [disk(one, paint), Span::raw("   ")]);
        lines.push(Line::from(disks.collect::<Vec<Span<'static>>>()));
    }
    if lines.is_empty() {
        lines.push(Line::from(paint.span(Role::Faint, "not known")));
    }
    lines
}

fn disk(disk: &Disk, paint: &Paint) -> Span<'static> {
    let used = 1.0 - disk.free as f64 / disk.total.max(1) as f64;
    let role = if used >= FULL { Role::Bad } else { Role::Plain };
    let words = format!(
        "{}: {} free of {}",
        disk.what,
        quantity::bytes(disk.free),
        quantity::bytes(disk.total)
    );
    paint.span(role, &words)
}
