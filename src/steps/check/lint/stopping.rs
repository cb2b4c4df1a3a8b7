//! Rules about the end of a container: whether the stop signal reaches the program, and whether it is given the time
//! that it takes to finish what it has.

use std::time::Duration;

use super::facts::Facts;
use super::{Finding, Rule};
use crate::compose::Service;
use crate::stack::program::Program;
use crate::stack::shell::{self, FirstProcess};

/// A shell that stays does not hand the stop signal on.
pub(super) fn shell_as_pid_1(facts: &Facts<'_>) -> Vec<Finding> {
    let judge = |service: &Service| match facts.first_process(service) {
        FirstProcess::Shell {
            shell,
            last,
            plain,
            certain,
        } => shell_that_stays(
            facts,
            service,
            &shell,
            certain,
            &advice(&shell, last.as_deref(), plain),
        ),
        FirstProcess::Script => script_that_stays(facts, service),
        FirstProcess::Program | FirstProcess::Unknown => None,
    };
    replaced(facts).filter_map(judge).collect()
}

/// A `-c` script. Where it depends on the shell, the container that runs decides.
fn shell_that_stays(
    facts: &Facts<'_>,
    service: &Service,
    shell: &str,
    certain: bool,
    advice: &str,
) -> Option<Finding> {
    let running = facts.processes.get(&service.name).filter(|_| !certain);
    if running.is_some_and(|processes| shell::running_shell(processes).is_none()) {
        return None;
    }
    let where_it_does = if certain || running.is_some() {
        String::new()
    } else {
        format!(", where the image's `{shell}` is dash, as in Debian,")
    };
    let key = if service.command.is_some() || service.entrypoint.is_none() {
        "command"
    } else {
        "entrypoint"
    };
    Some(Finding::warning(
        Rule::ShellAsPid1,
        &service.name,
        key,
        format!(
            "`{shell} -c`{where_it_does} stays the first process: {}",
            consequence(facts, service)
        ),
        advice,
    ))
}

fn advice(shell: &str, program: Option<&str>, plain: bool) -> String {
    let program = program.unwrap_or("<program>");
    if plain {
        format!("write `command: [\"{program}\", …]`, without a shell, or `exec {program} …` in it")
    } else {
        format!(
            "write `exec` before the program: `command: [\"{shell}\", \"-c\", \"… && exec {program} …\"]`"
        )
    }
}

/// A script of the image can only be seen at work.
fn script_that_stays(facts: &Facts<'_>, service: &Service) -> Option<Finding> {
    let shell = shell::running_shell(facts.processes.get(&service.name)?)?;
    Some(Finding::warning(
        Rule::ShellAsPid1,
        &service.name,
        "",
        format!(
            "in the container that runs now, a script ({shell}) stays the first process: {}",
            consequence(facts, service)
        ),
        "write `exec` before the last command of the image's entry point script: `exec \"$@\"`",
    ))
}

fn consequence(facts: &Facts<'_>, service: &Service) -> String {
    let lost = match facts.program(service) {
        Some(Program::CeleryWorker { .. }) => "the task it is on is lost",
        Some(Program::CeleryBeat) => "nothing is scheduled meanwhile",
        Some(
            Program::Gunicorn { .. }
            | Program::Uvicorn { .. }
            | Program::Uwsgi { .. }
            | Program::Daphne
            | Program::Hypercorn,
        )
        | None => "what it has in flight is cut off",
    };
    format!(
        "the stop signal does not reach the program, which is killed after {}, and {lost}",
        seconds(facts.grace(service))
    )
}

/// The program's own grace must fit into the container's.
pub(super) fn grace_too_short(facts: &Facts<'_>) -> Vec<Finding> {
    let judge = |service: &Service| {
        let grace = facts.grace(service);
        let program = facts.program(service)?;
        let finding = |problem: String, wanted: Duration, key: &str| {
            let wanted = seconds(wanted);
            let remedy = match key {
                "drain" => format!("write `services.{{service}}.drain: {wanted}` in deploy.yml"),
                _ => format!("write `{key}: {wanted}` in the Compose file"),
            };
            Some(Finding::warning(
                Rule::StopGraceTooShort,
                &service.name,
                "stop_grace_period",
                problem,
                remedy,
            ))
        };
        match program {
            Program::Gunicorn { graceful: Some(own) } | Program::Uvicorn { graceful: Some(own) }
                if own > grace =>
            {
                finding(
                    format!(
                        "{} lets requests finish for {}, and is killed after {}: requests that take longer are cut off",
                        program.name(),
                        seconds(own),
                        seconds(grace)
                    ),
                    own + Duration::from_secs(5),
                    "stop_grace_period",
                )
            }
            Program::CeleryWorker {
                limit: Some(limit), ..
            } if limit > grace => finding(
                format!(
                    "a task of this worker may take {}, and is killed {} after the stop signal: it is lost, or begins \
                     again, half done",
                    seconds(limit),
                    seconds(grace)
                ),
                limit + Duration::from_secs(10),
                "drain",
            ),
            Program::CeleryWorker { limit: None, .. } if !facts.has_written_grace(service) => finding(
                format!(
                    "a task that is still running {} after the stop signal is killed: it is lost, or begins again, \
                     half done",
                    seconds(grace)
                ),
                Duration::from_secs(600),
                "drain",
            ),
            Program::Gunicorn { .. }
            | Program::Uvicorn { .. }
            | Program::CeleryWorker { .. }
            | Program::Uwsgi { .. }
            | Program::Daphne
            | Program::Hypercorn
            | Program::CeleryBeat => None,
        }
    };
    replaced(facts).filter_map(judge).collect()
}

/// uWSGI takes SIGTERM for "start again" (its documentation, "Signals for controlling uWSGI").
pub(super) fn sigterm_reloads_uwsgi(facts: &Facts<'_>) -> Vec<Finding> {
    let judge = |service: &Service| match facts.program(service)? {
        Program::Uwsgi {
            ends_on_term: Some(false),
        } if service.stop_signal.is_none() => Some(Finding::warning(
            Rule::SigtermReloadsUwsgi,
            &service.name,
            "command",
            format!(
                "uWSGI takes the stop signal for \"start again\": requests in flight are cut off, and it is killed after {}",
                seconds(facts.grace(service))
            ),
            "add `\"--hook-master-start\", \"unix_signal:15 gracefully_kill_them_all\"` (and `\"--master\"`) to its \
             command",
        )),
        Program::Uwsgi { .. }
        | Program::Gunicorn { .. }
        | Program::Uvicorn { .. }
        | Program::Daphne
        | Program::Hypercorn
        | Program::CeleryWorker { .. }
        | Program::CeleryBeat => None,
    };
    replaced(facts).filter_map(judge).collect()
}

fn replaced<'a>(facts: &Facts<'a>) -> impl Iterator<Item = &'a Service> {
    facts.services().filter(|service| facts.is_replaced(service))
}

/// Whole seconds, rounded up, as both files take them.
pub(super) fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    match (whole / 60, whole % 60) {
        (minutes, 0) if minutes > 1 => format!("{minutes}m"),
        _ => format!("{whole}s"),
    }
}
