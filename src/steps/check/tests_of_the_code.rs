//! The tests of the code: a command of the operator's, on this machine, or in the image that is about to serve. There it
//! has the service's environment and nothing else that is the service's own: no network, and nothing that it could write.

use futures_util::FutureExt as _;

use super::registry::{Asking, Check, Look, Moment, When};
use super::verdict::{Level, Problem, Verdict};
use crate::compose::{Service, ServiceName};
use crate::config::TestsOfTheCode;
use crate::engine::{EngineErrorKind, ImageId};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Settings, StepId};
use crate::steps::local_command::{self, LocalCommand, Output, Ran};
use crate::steps::{images, one_off};

/// Shells' codes for a command that cannot be run, and one that is not there.
const CANNOT_RUN: [i64; 2] = [126, 127];

/// The name of the one-off.
const TESTS: &str = "tests";

/// The room's checks.
pub(super) static CHECKS: &[Check] = &[Check {
    id: "tests",
    title: "the tests of the code pass",
    protects_from: "a release whose own tests would have said that it is broken",
    level: Level::Blocks,
    how: "runs checks.tests to its end, on this machine or in a container of the new image without a network",
    remedy: "mend what the tests say, and build again",
    when: When::Asked(|settings| {
        let inside = asked(settings).is_some_and(|tests| tests.r#in.is_some());
        if inside { Moment::Gate } else { Moment::First }
    }),
    refuses_as: FailureKind::Gate,
    applies: |settings| asked(settings).is_some(),
    look: Look::Asks(|asking| pass(asking).boxed()),
    time_limit: Some(|settings| {
        asked(settings).map_or(settings.config.checks.timeout.0, |tests| tests.timeout.0 * 2)
    }),
}];

fn asked(settings: &Settings) -> Option<&TestsOfTheCode> {
    settings.config.checks.tests.as_ref()
}

async fn pass(asking: Asking<'_>) -> Result<Verdict, Failure> {
    let Some(tests) = asked(asking.context.settings) else {
        return Ok(Verdict::NotYet("deploy.yml names no tests".to_owned()));
    };
    match &tests.r#in {
        None => Ok(on_this_machine(asking, tests).await),
        Some(service) => in_image(asking, tests, service).await,
    }
}

async fn on_this_machine(asking: Asking<'_>, tests: &TestsOfTheCode) -> Verdict {
    let line = tests.run.join(" ");
    let command = LocalCommand {
        words: &tests.run,
        folder: asking.context.settings.config.directory(),
        environment: local_command::facts(asking.context, StepId::Check),
        time_limit: tests.timeout.0,
        output: Output::Heard,
    };
    match local_command::run(command, asking.task).await {
        Err(failure) => Verdict::found(Problem::unverified_for(
            failure.context(format!("running `{line}`")),
        )),
        Ok(Ran::Ended(ended)) if ended.status.success() => Verdict::Passed(format!("`{line}` passed")),
        Ok(Ran::Ended(ended)) => failed(&line, &ended.status.to_string(), ended.last_lines),
        Ok(Ran::NotThere) => Verdict::not_verified(format!("there is no program `{line}`")),
        Ok(Ran::TimedOut) => too_long(tests, &line),
    }
}

async fn in_image(
    asking: Asking<'_>,
    tests: &TestsOfTheCode,
    name: &ServiceName,
) -> Result<Verdict, Failure> {
    let context = asking.context;
    let settings = context.settings;
    let found = images::find(context.view()).await?;
    let (Some(service), Some(image)) = (settings.project.services.get(name), found.images.get(name)) else {
        let why = format!(
            "there is no image of {name} yet: viatique-deploy build --tag {}",
            settings.tag
        );
        return Ok(match asking.moment {
            Moment::Alone | Moment::First => Verdict::NotYet(why),
            Moment::Gate => Verdict::not_verified(why),
        });
    };
    let line = tests.run.join(" ");
    let service = one_off::alone(service);
    let ran = ended(asking, tests, &service, &image.id);
    let ran = match tokio::time::timeout(tests.timeout.0, ran).await {
        Ok(ran) => ran,
        Err(_) => {
            one_off::remove(context, name, TESTS).await?;
            return Ok(too_long(tests, &line));
        }
    };
    match ran {
        Ok((0, _)) => Ok(Verdict::Passed(format!("`{line}` passed in {name}"))),
        Ok((code, _)) if CANNOT_RUN.contains(&code) => Ok(cannot_run(&line, name)),
        Ok((code, lines)) => Ok(failed(
            &format!("{line}` in `{name}"),
            &format!("exit code {code}"),
            lines,
        )),
        Err(failure) if did_not_start(&failure) => Ok(cannot_run(&line, name)),
        Err(failure) => Err(failure),
    }
}

async fn ended(
    asking: Asking<'_>,
    tests: &TestsOfTheCode,
    service: &Service,
    image: &ImageId,
) -> Result<(i64, Vec<String>), Failure> {
    let command = one_off::Command {
        name: TESTS,
        words: &tests.run,
    };
    let networks = std::collections::BTreeMap::new();
    let mut listener = asking.task;
    let ran = one_off::run_heard(asking.context, service, image, &networks, command, &mut listener).await?;
    Ok((ran.exit.code, ran.last_lines))
}

fn did_not_start(failure: &Failure) -> bool {
    let engine = failure.of_engine();
    engine.is_some_and(|error| error.kind == EngineErrorKind::StartFailed)
}

fn cannot_run(line: &str, name: &ServiceName) -> Verdict {
    Verdict::not_verified(format!("`{line}` cannot be run in the image of {name}"))
}

fn failed(line: &str, how: &str, lines: Vec<String>) -> Verdict {
    Verdict::found(
        Problem::wrong(format!("`{line}` failed ({how})")).evidence("the last lines of the tests", lines),
    )
}

fn too_long(tests: &TestsOfTheCode, line: &str) -> Verdict {
    Verdict::found(
        Problem::unverified(format!(
            "`{line}` was not done after {} s",
            tests.timeout.0.as_secs()
        ))
        .hint("to give it longer: checks.tests.timeout in deploy.yml"),
    )
}
