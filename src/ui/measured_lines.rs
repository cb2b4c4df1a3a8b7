//! What one look of `monitor` has found, as lines for people: for a log every so often, and on the screen after a
//! dashboard. Decides what is worth a line, and nothing of when.

use std::time::Duration;

use crate::pipeline::{DatabaseActivity, LoggedErrors, Measured, MeasuredContainer, News, Requests, Verdict};

use super::line::{Line, Role};
use super::quantity;

/// So many lines of one kind.
const OF_A_KIND: usize = 3;

/// The lines, the verdict first.
pub(super) fn lines(measured: &Measured) -> Vec<Line> {
    let mut lines = vec![how_it_goes(measured)];
    let containers: Vec<String> = measured
        .containers
        .iter()
        .map(|one| container(measured, one))
        .collect();
    if !containers.is_empty() {
        lines.push(Line::of(Role::Plain, &containers.join(", ")));
    }
    let stores = stores(measured);
    if !stores.is_empty() {
        lines.push(Line::of(Role::Plain, &stores.join("; ")));
    }
    let activity = measured
        .database
        .as_ref()
        .and_then(|database| database.activity.as_ref());
    lines.extend(activity.iter().flat_map(|activity| sessions(activity)));
    let new: Vec<&LoggedErrors> = measured
        .errors
        .iter()
        .filter(|error| error.news == News::New)
        .collect();
    lines.extend(new.iter().take(OF_A_KIND).map(|error| new_error(error)));
    if new.len() > OF_A_KIND {
        let further = format!("and {} further new errors", new.len() - OF_A_KIND);
        lines.push(Line::of(Role::Bad, &further));
    }
    lines
}

/// The verdict so far, and the requests.
fn how_it_goes(measured: &Measured) -> Line {
    let (role, word) = verdict(measured.verdict);
    let line = Line::of(role, word);
    let left = quantity::running_for(measured.left);
    let line = if measured.left == Duration::ZERO {
        line
    } else {
        line.and(Role::Faint, &format!(", {left} left"))
    };
    let requests = match &measured.requests {
        Some(told) => requests(told),
        None => "requests are not known".to_owned(),
    };
    line.and(Role::Plain, ": ").and(Role::Plain, &requests)
}

/// A verdict before the time is over: only a bad one is final.
pub(super) const fn verdict(verdict: Verdict) -> (Role, &'static str) {
    match verdict {
        Verdict::Good => (Role::Good, "good so far"),
        Verdict::Bad => (Role::Bad, "bad"),
        Verdict::Inconclusive => (Role::Warning, "too little seen so far"),
    }
}

fn requests(told: &Requests) -> String {
    let mut words = vec![format!("{:.1} requests/s", told.per_second)];
    match told.failed_share {
        Some(share) => words.push(format!("{} 5xx", percent(share))),
        None if told.per_second > 0.0 => words.push("5xx not known".to_owned()),
        None => {}
    }
    let quantiles = [("p50", told.p50), ("p95", told.p95), ("p99", told.p99)];
    words.extend(
        quantiles
            .iter()
            .filter_map(|(name, seconds)| Some(format!("{name} {}", milliseconds((*seconds)?)))),
    );
    words.join(", ")
}

/// `backend 12 % 210 MB`, and what is not as it should be.
fn container(measured: &Measured, one: &MeasuredContainer) -> String {
    let mut words = vec![short_name(measured, one)];
    if one.state != "running" {
        words.push(one.state.to_owned());
    } else if let Some(health) = one.health.filter(|health| *health != "healthy") {
        words.push(health.to_owned());
    }
    words.extend(one.cores.map(percent));
    words.extend(one.memory.map(quantity::bytes));
    if one.restarts_since > 0 {
        words.push(format!("restarted {} times", one.restarts_since));
    }
    words.join(" ")
}

/// The service, with the container's number where it has several.
pub(super) fn short_name(measured: &Measured, one: &MeasuredContainer) -> String {
    let of_service = measured.containers.iter();
    if of_service.filter(|other| other.service == one.service).count() < 2 {
        return one.service.clone();
    }
    match one.name.rsplit_once(['-', '_']) {
        Some((_, number)) => format!("{}-{number}", one.service),
        None => one.name.clone(),
    }
}

fn stores(measured: &Measured) -> Vec<String> {
    let mut stores = Vec::new();
    if let Some(database) = &measured.database {
        let mut words = format!(
            "database {} of {} connections",
            database.connections, database.usable
        );
        if let Some(activity) = &database.activity {
            words.push_str(&format!(
                ", {} slow, {} wait for locks",
                activity.slow, activity.waiting
            ));
        }
        stores.push(words);
    }
    if let Some(redis) = &measured.redis {
        stores.push(format!(
            "redis {} clients, {}",
            redis.clients,
            quantity::bytes(redis.memory)
        ));
    }
    let queues = measured.queues.iter();
    stores.extend(queues.map(|queue| format!("queue {} {}", queue.name, queue.waiting)));
    let disks = measured.disks.iter();
    stores.extend(disks.map(|disk| {
        let (free, total) = (quantity::bytes(disk.free), quantity::bytes(disk.total));
        format!("{}: {free} free of {total}", disk.what)
    }));
    stores
}

/// Who waits for whose lock, else what goes on for longest.
fn sessions(activity: &DatabaseActivity) -> Vec<Line> {
    let waits = activity.waits.iter().take(OF_A_KIND).map(|wait| {
        let line = format!(
            "database: {} waits {} for a lock of {}: {}",
            wait.session.pid,
            quantity::duration(seconds(wait.session.seconds)),
            blockers(&wait.blocked_by),
            wait.session.statement
        );
        Line::of(Role::Warning, &line)
    });
    let waits: Vec<Line> = waits.collect();
    if !waits.is_empty() {
        return waits;
    }
    let longest = activity.longest.iter().take(OF_A_KIND).map(|session| {
        let line = format!(
            "database: {} is {} for {}: {}",
            session.pid,
            session.state,
            quantity::duration(seconds(session.seconds)),
            session.statement
        );
        Line::of(Role::Plain, &line)
    });
    longest.collect()
}

/// `905 (idle in transaction)`
pub(super) fn blockers(sessions: &[crate::pipeline::DatabaseSession]) -> String {
    if sessions.is_empty() {
        return "no session".to_owned();
    }
    let each = sessions
        .iter()
        .map(|session| format!("{} ({})", session.pid, session.state));
    each.collect::<Vec<String>>().join(", ")
}

fn new_error(error: &LoggedErrors) -> Line {
    let line = format!(
        "new error in the log of {}, {} times: {}",
        error.service, error.count, error.fingerprint
    );
    Line::of(Role::Bad, &line)
}

/// Of a share from 0 to 1; one that is not nothing is never shown as nothing.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.1 {
        "< 0.1 %".to_owned()
    } else if percent < 10.0 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// Of seconds.
pub(super) fn milliseconds(seconds: f64) -> String {
    let milliseconds = seconds * 1000.0;
    if milliseconds < 9.95 {
        format!("{milliseconds:.1} ms")
    } else if milliseconds < 9999.5 {
        format!("{milliseconds:.0} ms")
    } else {
        format!("{seconds:.0} s")
    }
}

/// Seconds that were measured elsewhere.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
