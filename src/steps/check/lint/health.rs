//! Rules about health tests: whether there is one, whether it can pass before the deploy gives up, and how long each
//! deploy waits for it. Timings that the image's own test has are not known, and not judged.

use std::time::Duration;

use super::facts::Facts;
use super::stopping::seconds;
use super::{Finding, Rule};
use crate::compose::{Healthcheck, Service};
use crate::stack::program::Program;
use crate::steps::deploy::strategy::Strategy;

/// Docker's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;
const START_INTERVAL: Duration = Duration::from_secs(5);
/// A first probe that comes later than this is what a deploy waits for, rather than for the program.
const QUICK: Duration = Duration::from_secs(10);

/// A service that answers requests, rolled without a health test.
pub(super) fn no_test(facts: &Facts<'_>) -> Vec<Finding> {
    let judge = |service: &Service| {
        let program = facts.program(service);
        let takes_tasks = program.is_some_and(|program| !program.serves());
        let serves = program.is_some_and(Program::serves)
            || !service.expose.is_empty()
            || !service.ports.is_empty()
            || facts.is_behind_a_proxy(service);
        if facts.strategy(service) != Strategy::Rolling || takes_tasks || !serves {
            return None;
        }
        let tested = match &service.healthcheck {
            Some(Healthcheck::Disabled) => false,
            Some(Healthcheck::Test { test: Some(_), .. }) => true,
            // The image's own, which is not known before it is there.
            Some(Healthcheck::Test { test: None, .. }) | None => facts
                .images
                .get(&service.name)
                .is_none_or(|image| image.has_healthcheck),
        };
        if tested {
            return None;
        }
        let test = if program.is_some() {
            r#"["CMD", "python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/', timeout=3)"]"#
        } else {
            r#"["CMD", "curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:8000/"]"#
        };
        Some(Finding::warning(
            Rule::NoHealthTest,
            &service.name,
            "healthcheck",
            "there is no health test: a new container counts as ready once it has run for a few seconds, and is given \
             requests before it can answer them, or although it never will",
            format!(
                "write `healthcheck: {{ test: {test}, interval: 2s, timeout: 5s, retries: 15, start_period: 20s }}`, \
                 with its own port and path"
            ),
        ))
    };
    facts.services().filter_map(judge).collect()
}

/// When the test is first run decides how long every deploy takes, and whether it can succeed at all.
pub(super) fn first_probe(facts: &Facts<'_>) -> Vec<Finding> {
    let judge = |service: &Service| {
        let times = Times::of(service).filter(|_| facts.is_replaced(service))?;
        let limit = facts.settings.config.service(&service.name).health_timeout.0;
        let first = times.first_probe(facts.tests_while_starting);
        let write = "write `interval: 2s`; where the program takes long to start, with `start_period`";
        let finding = |rule, problem: String| {
            Some(Finding::warning(
                rule,
                &service.name,
                "healthcheck.interval",
                problem,
                write,
            ))
        };
        if first >= limit {
            let problem = format!(
                "the first health test runs {} after the start, and the deploy gives up after {}: no new container can \
                 become healthy in time",
                seconds(first),
                seconds(limit)
            );
            finding(Rule::FirstProbeAfterTimeout, problem).map(Finding::refused)
        } else if first > QUICK {
            let problem = format!(
                "the first health test runs {} after the start, so that each deploy waits for that long",
                seconds(first)
            );
            finding(Rule::SlowHealthInterval, problem)
        } else {
            None
        }
    };
    facts.services().filter_map(judge).collect()
}

/// How long the test itself lets a container start must fit into the deploy's patience.
pub(super) fn budget(facts: &Facts<'_>) -> Vec<Finding> {
    let judge = |service: &Service| {
        let times = Times::of(service).filter(|_| facts.is_replaced(service))?;
        let limit = facts.settings.config.service(&service.name).health_timeout.0;
        let budget = times.start_period + times.interval * times.retries + times.timeout;
        let first = times.first_probe(facts.tests_while_starting);
        (budget > limit && first < limit).then(|| {
            Finding::warning(
                Rule::HealthBudgetOverTimeout,
                &service.name,
                "healthcheck",
                format!(
                    "its health test gives a container {} to become healthy (start_period + interval × retries + \
                     timeout), and the deploy gives up after {}: a slow start that the test allows counts as a failure",
                    seconds(budget),
                    seconds(limit)
                ),
                format!(
                    "write `services.{{service}}.health_timeout: {}` in deploy.yml, or shorter times in the health test",
                    seconds(budget)
                ),
            )
        })
    };
    facts.services().filter_map(judge).collect()
}

/// A test's timings, with Docker's defaults.
struct Times {
    interval: Duration,
    timeout: Duration,
    retries: u32,
    start_period: Duration,
    start_interval: Option<Duration>,
}

impl Times {
    /// `None` where there is no test, or the image's own decides.
    fn of(service: &Service) -> Option<Self> {
        let Some(Healthcheck::Test {
            test: Some(_),
            interval,
            timeout,
            retries,
            start_period,
            start_interval,
        }) = &service.healthcheck
        else {
            return None;
        };
        // A zero asks for the default.
        let or =
            |written: Option<Duration>, default| written.filter(|time| !time.is_zero()).unwrap_or(default);
        Some(Self {
            interval: or(*interval, INTERVAL),
            timeout: or(*timeout, TIMEOUT),
            retries: retries.filter(|count| *count > 0).unwrap_or(RETRIES),
            start_period: start_period.unwrap_or_default(),
            start_interval: *start_interval,
        })
    }

    /// How long after the start.
    fn first_probe(&self, tests_while_starting: bool) -> Duration {
        if tests_while_starting && !self.start_period.is_zero() {
            self.start_interval.unwrap_or(START_INTERVAL)
        } else {
            self.interval
        }
    }
}
