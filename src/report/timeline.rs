//! The steps over time, and what was put back: a bar each, and what is in it below. Steps that ran side by side stand below
//! each other.

use super::markup::Markup;
use super::scale::time_step;
use super::words::{self, Said, Tone, badge, took};
use crate::account::{Account, StepAccount, TaskAccount, UnwindAccount};

/// So many ticks fit on a phone.
const TICKS: f64 = 4.0;

/// Writes it.
pub(super) fn section(page: &mut Markup, account: &Account) {
    let span = span(account);
    page.element("ol", &[("class", "timeline")], |list| {
        axis(list, span);
        for step in &account.steps {
            let said = words::step(step.step, step.result);
            let row = Row {
                name: step.step.as_str(),
                said,
                began: step.began,
                seconds: step.seconds,
                message: &step.message,
                is_undone: false,
            };
            row.write(list, span);
        }
        for undone in &account.unwound {
            undone_row(list, undone, span);
        }
    });
    for step in account.steps.iter().filter(|step| !step.tasks.is_empty()) {
        tasks(page, step, span);
    }
}

/// Until the last of it has ended.
fn span(account: &Account) -> f64 {
    let steps = account
        .steps
        .iter()
        .map(|step| step.began.unwrap_or_default() + step.seconds);
    let unwound = account.unwound.iter().map(|undone| undone.began + undone.seconds);
    let last = steps.chain(unwound).chain([account.seconds]);
    last.filter(|end| end.is_finite()).fold(0.001, f64::max)
}

fn undone_row(list: &mut Markup, undone: &UnwindAccount, span: f64) {
    let name = format!("undo {}", undone.step.as_str());
    let (tone, sign, word) = words::unwound(undone.result);
    let message = if undone.message.is_empty() {
        undone.reason.clone()
    } else {
        format!("{}; because {}", undone.message, undone.reason)
    };
    Row {
        name: &name,
        said: (tone, sign, word),
        began: Some(undone.began),
        seconds: undone.seconds,
        message: &message,
        is_undone: true,
    }
    .write(list, span);
}

struct Row<'a> {
    name: &'a str,
    said: Said,
    began: Option<f64>,
    seconds: f64,
    message: &'a str,
    is_undone: bool,
}

impl Row<'_> {
    fn write(&self, list: &mut Markup, span: f64) {
        let kind = if self.is_undone { "undo" } else { "step" };
        list.element("li", &[("class", kind)], |row| {
            row.element("span", &[("class", "name")], |name| {
                name.worded("b", &[], self.name);
                name.text(" ");
                badge(name, self.said);
            });
            let class = if self.is_undone {
                Tone::Undone.class()
            } else {
                self.said.0.class()
            };
            row.element("span", &[("class", "track"), ("aria-hidden", "true")], |track| {
                if let Some(began) = self.began {
                    bar(track, class, began, self.seconds, span);
                }
            });
            let when = self.began.map_or_else(String::new, |began| {
                format!("{} · at +{}", took(self.seconds), took(began))
            });
            row.worded("span", &[("class", "when")], &when);
            if !self.message.is_empty() {
                row.worded("span", &[("class", "said")], self.message);
            }
        });
    }
}

fn bar(track: &mut Markup, class: &str, began: f64, seconds: f64, span: f64) {
    let percent = |seconds: f64| Some(100.0 * seconds / span).filter(|percent| percent.is_finite());
    let left = percent(began).unwrap_or_default().clamp(0.0, 99.0);
    let width = percent(seconds).unwrap_or_default().max(0.6).min(100.0 - left);
    track.element("svg", &[("width", "100%"), ("height", "14")], |svg| {
        svg.empty(
            "rect",
            &[
                ("class", class),
                ("x", &format!("{left:.2}%")),
                ("y", "1"),
                ("width", &format!("{width:.2}%")),
                ("height", "12"),
                ("rx", "2"),
            ],
        );
    });
}

fn axis(list: &mut Markup, span: f64) {
    list.element("li", &[("class", "axis"), ("aria-hidden", "true")], |row| {
        row.element("span", &[("class", "track")], |track| {
            track.element("svg", &[("width", "100%"), ("height", "18")], |svg| {
                let step = time_step(span, TICKS);
                let mut tick = 0.0;
                while tick <= span {
                    let place = format!("{:.2}%", 100.0 * tick / span);
                    let anchor = match tick / span {
                        first if first < 0.05 => "start",
                        last if last > 0.9 => "end",
                        _ => "middle",
                    };
                    let class = [
                        ("class", "tick"),
                        ("x", &place),
                        ("y", "12"),
                        ("text-anchor", anchor),
                    ];
                    svg.worded("text", &class, &axis_time(tick));
                    tick += step;
                }
            });
        });
    });
}

/// `0`, `30 s`, `5 min`, `2 h`, of what is a round time.
fn axis_time(seconds: f64) -> String {
    if seconds < 1.0 {
        "0".to_owned()
    } else if seconds < 60.0 {
        format!("{seconds:.0} s")
    } else if seconds < 3600.0 {
        let minutes = seconds / 60.0;
        if (minutes - minutes.round()).abs() < 0.01 {
            format!("{minutes:.0} min")
        } else {
            format!("{minutes:.1} min")
        }
    } else {
        format!("{:.0} h", seconds / 3600.0)
    }
}

fn tasks(page: &mut Markup, step: &StepAccount, span: f64) {
    page.element("details", &[], |details| {
        let parts = words::count(step.tasks.len(), "part", "parts");
        details.worded("summary", &[], &format!("{}: {parts}", step.step.as_str()));
        details.element("ol", &[("class", "timeline tasks")], |list| {
            for task in &step.tasks {
                task_row(list, step, task, span);
            }
        });
    });
}

fn task_row(list: &mut Markup, step: &StepAccount, task: &TaskAccount, span: f64) {
    let message = match (task.title.as_str(), task.message.as_str()) {
        (title, "") => title.to_owned(),
        ("", message) => message.to_owned(),
        (title, message) => format!("{title}: {message}"),
    };
    Row {
        name: &task.task,
        said: words::step(step.step, task.result),
        began: Some(task.began),
        seconds: task.seconds,
        message: &message,
        is_undone: false,
    }
    .write(list, span);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_seen_and_stays_on_its_track_whatever_the_times() {
        for (began, seconds, span) in [
            (0.0, 0.0, 0.001),
            (599.9, 0.1, 600.0),
            (10.0, 1e9, 600.0),
            (1e9, 1.0, 600.0),
            (-5.0, 1.0, 10.0),
            (170.5, 0.1, 171.0),
            (f64::NAN, f64::INFINITY, 0.001),
        ] {
            let mut track = Markup::default();
            bar(&mut track, "good", began, seconds, span);
            let markup = track.finish();
            let number = |name: &str| -> f64 {
                let (_, rest) = markup.split_once(&format!(" {name}=\"")).unwrap();
                rest.split_once('%').unwrap().0.parse().unwrap()
            };
            let svg = markup.split_once("<rect").unwrap().1.to_owned();
            assert!(svg.contains("class=\"good\""), "{markup}");
            let left = number("x");
            let width: f64 = {
                let (_, rest) = svg.split_once(" width=\"").unwrap();
                rest.split_once('%').unwrap().0.parse().unwrap()
            };
            assert!(left >= 0.0 && width >= 0.59 && left + width <= 100.01, "{markup}");
        }
    }
}
