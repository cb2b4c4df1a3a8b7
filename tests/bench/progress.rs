//! Reads from what a tool prints which step it is at. Pure; its tests are in `tests/it/bench.rs`.

use serde_json::Value;

/// What one line of output says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    Nothing,
    /// A step begins; for a script, the one before it ends.
    StepBegins(String),
    StepEnds(String),
    TaskBegins(String),
    TaskEnds(String),
}

/// A line of `viatique-deploy --output json`.
pub(crate) fn event(line: &str) -> Said {
    let Ok(event) = serde_json::from_str::<Value>(line) else {
        return Said::Nothing;
    };
    let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
    match event["event"].as_str() {
        Some("step_started") => Said::StepBegins(text("step")),
        Some("step_finished") => Said::StepEnds(text("step")),
        Some("unwind_started") => Said::StepBegins(format!("unwind {}", text("step"))),
        Some("unwind_finished") => Said::StepEnds(format!("unwind {}", text("step"))),
        Some("task_started") if event["step"] == "deploy" => Said::TaskBegins(text("task")),
        Some("task_finished") if event["step"] == "deploy" => Said::TaskEnds(text("task")),
        Some(_) | None => Said::Nothing,
    }
}

/// A line of a script, whose headings are `6. Deploying services...`. The name is the first word of the heading.
pub(crate) fn heading(line: &str) -> Said {
    let Some((number, title)) = line.split_once(". ") else {
        return Said::Nothing;
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) || !title.ends_with("...") {
        return Said::Nothing;
    }
    let name = match title.split(' ').next() {
        Some("Building") => "build",
        Some("Running") => "migrate",
        Some("Collecting") => "collectstatic",
        Some("Deploying") => "deploy",
        Some("Health") => "health",
        Some(_) | None => title,
    };
    Said::StepBegins(name.to_owned())
}

/// A named stretch of time: seconds since the load began.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stretch {
    pub(crate) name: String,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// Steps and tasks as they come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    open_steps: Vec<(String, f64)>,
    open_tasks: Vec<(String, f64)>,
    steps: Vec<Stretch>,
    tasks: Vec<Stretch>,
}

impl Progress {
    /// Takes what was said at this moment.
    pub(crate) fn take(&mut self, at: f64, said: Said) {
        match said {
            Said::Nothing => {}
            Said::StepBegins(name) => {
                self.end_steps(at);
                self.open_steps.push((name, at));
            }
            Said::StepEnds(name) => close(&mut self.open_steps, &mut self.steps, &name, at),
            Said::TaskBegins(name) => self.open_tasks.push((name, at)),
            Said::TaskEnds(name) => close(&mut self.open_tasks, &mut self.tasks, &name, at),
        }
    }

    fn end_steps(&mut self, at: f64) {
        for (name, from) in self.open_steps.drain(..) {
            self.steps.push(Stretch { name, from, to: at });
        }
    }

    /// Everything ends here. Returns the steps, and the tasks of the deploy step.
    pub(crate) fn finish(mut self, at: f64) -> (Vec<Stretch>, Vec<Stretch>) {
        self.end_steps(at);
        for (name, from) in self.open_tasks.drain(..) {
            self.tasks.push(Stretch { name, from, to: at });
        }
        (self.steps, self.tasks)
    }
}

fn close(open: &mut Vec<(String, f64)>, closed: &mut Vec<Stretch>, name: &str, at: f64) {
    if let Some(position) = open.iter().position(|(other, _)| other == name) {
        let (name, from) = open.remove(position);
        closed.push(Stretch { name, from, to: at });
    }
}
