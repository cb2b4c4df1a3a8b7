//! Programs that look for known vulnerabilities. Their exit codes mislead (one ends with 0 on a file that it cannot
//! read, another with 1 for a finding and for an error alike): what counts is the report. Each tool has a file, which
//! says how it is called and what its report means; what is done about findings stands here.

mod bandit;
mod finding;
mod grype;
mod osv_scanner;
mod pip_audit;
mod safety;
mod sarif;
mod trivy;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::FutureExt as _;

pub(super) use finding::{Finding, Grave, Report, Unread};

use super::registry::{Asking, Check, Look, Moment, When};
use super::verdict::{Level, Problem, Verdict};
use crate::config::{ImageScanner, Scanners, Severity};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Settings, StepId};
use crate::steps::images;
use crate::steps::local_command::{self, Ended, LocalCommand, Output, Ran};

/// How many warnings of one tool are told one by one.
const WARNINGS_TOLD: usize = 20;

/// A call of a tool.
pub(super) struct Call {
    /// What it is called in messages.
    pub name: String,
    pub words: Vec<String>,
    pub timeout: Duration,
    /// A finding as grave as this blocks; one of which nobody knows how grave it is does in any case.
    pub fail_on: Severity,
    pub block_unfixed: bool,
    /// What its exit codes mean, where they mean a report.
    pub codes: &'static [i32],
    /// What another exit code means.
    pub explain: fn(i32) -> Option<&'static str>,
    pub read: fn(&[u8]) -> Result<Report, String>,
    /// How it is installed.
    pub install: &'static str,
}

const PROTECTS_FROM: &str = "a release that brings a hole which everybody can look up";
const REMEDY: &str = "upgrade or mend what is named, or have somebody answer for it: checks.waivers";

macro_rules! scanner {
    ($id:literal, $title:literal, $how:literal, $when:expr, $asked:expr, $calls:expr) => {
        Check {
            id: $id,
            title: $title,
            protects_from: PROTECTS_FROM,
            level: Level::Blocks,
            how: $how,
            remedy: REMEDY,
            when: $when,
            refuses_as: FailureKind::Gate,
            applies: |settings| $asked(&settings.config.checks.scanners),
            look: Look::Asks(|asking| {
                scanned(asking, $calls(&asking.context.settings.config.checks.scanners)).boxed()
            }),
            time_limit: Some(|settings| limit(settings, &$calls(&settings.config.checks.scanners))),
        }
    };
}

/// The room's checks.
pub(super) static CHECKS: &[Check] = &[
    scanner!(
        "bandit",
        "bandit finds nothing grave in the Python code",
        "runs bandit, and reads its report: grave findings it is fairly sure of, and files that it could not read",
        When::First,
        |scanners: &Scanners| scanners.bandit.is_some(),
        |scanners: &Scanners| Asked::Calls(bandit::call(scanners).into_iter().collect())
    ),
    scanner!(
        "pip-audit",
        "pip-audit knows no vulnerability of the Python requirements",
        "runs pip-audit, and reads its report; it knows no severities, so that every finding blocks",
        When::First,
        |scanners: &Scanners| scanners.pip_audit.is_some(),
        |scanners: &Scanners| Asked::Calls(pip_audit::call(scanners).into_iter().collect())
    ),
    scanner!(
        "osv-scanner",
        "osv-scanner knows no grave vulnerability of the dependencies",
        "runs osv-scanner, and reads its report",
        When::First,
        |scanners: &Scanners| scanners.osv_scanner.is_some(),
        |scanners: &Scanners| Asked::Calls(osv_scanner::call(scanners).into_iter().collect())
    ),
    scanner!(
        "trivy",
        "trivy knows no grave vulnerability of the images",
        "runs trivy on each image of the release, or on folders, and reads its reports",
        When::Asked(|settings| moment(settings.config.checks.scanners.trivy.as_ref())),
        |scanners: &Scanners| scanners.trivy.is_some(),
        of_trivy
    ),
    scanner!(
        "grype",
        "grype knows no grave vulnerability of the images",
        "runs grype on each image of the release, or on folders, and reads its reports",
        When::Asked(|settings| moment(settings.config.checks.scanners.grype.as_ref())),
        |scanners: &Scanners| scanners.grype.is_some(),
        of_grype
    ),
    scanner!(
        "safety",
        "safety knows no vulnerability of the Python requirements",
        "runs safety, and reads its report; what has no severity blocks",
        When::First,
        |scanners: &Scanners| scanners.safety.is_some(),
        |scanners: &Scanners| Asked::Calls(safety::call(scanners).into_iter().collect())
    ),
    scanner!(
        "sarif",
        "further scanners find nothing grave",
        "runs what checks.scanners.sarif says, and reads the SARIF 2.1.0 that it writes",
        When::First,
        |scanners: &Scanners| !scanners.sarif.is_empty(),
        |scanners: &Scanners| Asked::Calls(scanners.sarif.iter().map(sarif::call).collect())
    ),
];

fn of_trivy(scanners: &Scanners) -> Asked<'_> {
    Asked::of_images(scanners.trivy.as_ref(), trivy::call)
}

fn of_grype(scanners: &Scanners) -> Asked<'_> {
    Asked::of_images(scanners.grype.as_ref(), grype::call)
}

/// What a tool looks at.
pub(super) enum Target {
    /// An image, by its reference.
    Image(String),
    Folder(PathBuf),
}

/// What is to be called.
enum Asked<'a> {
    Calls(Vec<Call>),
    Images(&'a ImageScanner, fn(&ImageScanner, &Target) -> Call),
}

impl<'a> Asked<'a> {
    fn of_images(scanner: Option<&'a ImageScanner>, call: fn(&ImageScanner, &Target) -> Call) -> Self {
        scanner.map_or(Self::Calls(Vec::new()), |scanner| Self::Images(scanner, call))
    }
}

/// Folders can be looked at before anything is built.
fn moment(scanner: Option<&ImageScanner>) -> Moment {
    if scanner.is_some_and(|scanner| scanner.images.is_empty() && !scanner.paths.is_empty()) {
        Moment::First
    } else {
        Moment::Gate
    }
}

/// One call after the other, each within its own time.
fn limit(settings: &Settings, asked: &Asked<'_>) -> Duration {
    let calls: Duration = match asked {
        Asked::Calls(calls) => calls.iter().map(|call| call.timeout).sum(),
        Asked::Images(scanner, _) => {
            let targets = settings.project.services.len() + scanner.paths.len();
            scanner.timeout.0 * u32::try_from(targets).unwrap_or(u32::MAX)
        }
    };
    calls + settings.config.checks.timeout.0
}

async fn scanned(asking: Asking<'_>, asked: Asked<'_>) -> Result<Verdict, Failure> {
    let calls = match asked {
        Asked::Calls(calls) => calls,
        Asked::Images(scanner, call) => match targets(asking, scanner).await? {
            Ok(targets) => targets.iter().map(|target| call(scanner, target)).collect(),
            Err(not_yet) => return Ok(not_yet),
        },
    };
    let mut problems = Vec::new();
    let mut lines = Vec::new();
    for call in &calls {
        match one(asking, call).await {
            Ok(report) => {
                lines.push(format!("{}: {}", call.name, report.looked_at));
                problems.extend(told(call, report));
            }
            Err(problem) => problems.push(problem),
        }
    }
    Ok(Verdict::of(problems, lines.join("; ")))
}

/// The images of the release, each once, and the folders.
async fn targets(
    asking: Asking<'_>,
    scanner: &ImageScanner,
) -> Result<Result<Vec<Target>, Verdict>, Failure> {
    let settings = asking.context.settings;
    let found = images::find(asking.context.view()).await?;
    let all = scanner.images.is_empty() && scanner.paths.is_empty();
    let mut references = Vec::new();
    for name in settings.project.services.keys() {
        if !all && !scanner.images.contains(name) {
            continue;
        }
        let Some(image) = found.images.get(name) else {
            let why = format!(
                "there is no image of {name} yet: viatique-deploy build --tag {}",
                settings.tag
            );
            return Ok(Err(match asking.moment {
                Moment::Alone | Moment::First => Verdict::NotYet(why),
                Moment::Gate => Verdict::not_verified(why),
            }));
        };
        if !references.contains(&image.reference) {
            references.push(image.reference.clone());
        }
    }
    let folders = scanner.paths.iter().cloned().map(Target::Folder);
    Ok(Ok(references
        .into_iter()
        .map(Target::Image)
        .chain(folders)
        .collect()))
}

/// A report; where there is none that can be believed, why.
async fn one(asking: Asking<'_>, call: &Call) -> Result<Report, Problem> {
    let context = asking.context;
    let command = LocalCommand {
        words: &call.words,
        folder: context.settings.config.directory(),
        environment: local_command::facts(context, StepId::Check),
        time_limit: call.timeout,
        output: Output::Kept,
    };
    let name = &call.name;
    let key = format!("{name}:not-verified");
    match local_command::run(command, asking.task).await {
        Err(failure) => Err(Problem::unverified_for(failure.context(format!("running {name}"))).key(key)),
        Ok(Ran::NotThere) => {
            let program = call.words.first().map_or("", String::as_str);
            Err(Problem::unverified(format!(
                "{name} is asked for, and there is no program `{program}`"
            ))
            .key(key)
            .hint(call.install))
        }
        Ok(Ran::TimedOut) => Err(Problem::unverified(format!(
            "{name} was not done after {} s",
            call.timeout.as_secs()
        ))
        .key(key)
        .hint("to give it longer: its `timeout` below checks.scanners in deploy.yml")),
        Ok(Ran::Ended(ended)) => read(call, &ended).map_err(|why| {
            Problem::unverified(why)
                .key(key)
                .hint(format!("see what it says: {}", call.words.join(" ")))
                .evidence(format!("the last lines of {name}"), ended.last_lines)
        }),
    }
}

fn read(call: &Call, ended: &Ended) -> Result<Report, String> {
    let name = &call.name;
    let Some(code) = ended.status.code() else {
        return Err(format!("{name} was ended from without ({})", ended.status));
    };
    if !call.codes.contains(&code) {
        let why = (call.explain)(code).unwrap_or("it could not look");
        return Err(format!("{name} ended with exit code {code}: {why}"));
    }
    let report = (call.read)(&ended.report).map_err(|why| format!("{name} (exit code {code}): {why}"))?;
    if code != 0 && report.is_silent() {
        return Err(format!(
            "{name} ended with exit code {code}, and its report names nothing"
        ));
    }
    Ok(report)
}

fn told(call: &Call, report: Report) -> Vec<Problem> {
    let mut problems: Vec<Problem> = report
        .unread
        .into_iter()
        .map(|unread| Problem::unverified(format!("{}: {}", call.name, unread.why)).key(unread.key))
        .collect();
    let (blocking, warning): (Vec<Finding>, Vec<Finding>) = report
        .findings
        .into_iter()
        .partition(|finding| blocks(call, finding));
    let further = warning.len().saturating_sub(WARNINGS_TOLD);
    problems.extend(blocking.into_iter().map(|finding| problem(call, finding)));
    problems.extend(
        warning
            .into_iter()
            .take(WARNINGS_TOLD)
            .map(|finding| problem(call, finding).level(Level::Warns)),
    );
    if further > 0 {
        problems.push(
            Problem::wrong(format!(
                "{}: {further} further findings that only warn",
                call.name
            ))
            .level(Level::Warns)
            .hint(format!("see them all: {}", call.words.join(" "))),
        );
    }
    problems
}

fn blocks(call: &Call, finding: &Finding) -> bool {
    let grave = match finding.grave {
        Grave::Known(severity) => severity >= call.fail_on,
        Grave::Unknown => true,
    };
    grave
        && !finding.only_warns
        && (finding.fixed_in.is_some() || call.block_unfixed || !finding.waits_for_a_fix)
}

fn problem(call: &Call, finding: Finding) -> Problem {
    let fixed = finding
        .fixed_in
        .map_or_else(String::new, |version| format!(", mended in {version}"));
    let mut problem = Problem::wrong(format!(
        "{}: {} ({}{fixed})",
        call.name,
        finding.title,
        finding.grave.in_words()
    ))
    .key(finding.key);
    problem.aliases = finding.aliases;
    problem.place = finding.place;
    problem
}

/// The words of the operator, or the usual ones; then ours.
pub(super) fn words(run: &[String], usual: &[&str], ours: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut words: Vec<String> = if run.is_empty() {
        usual.iter().map(|word| (*word).to_owned()).collect()
    } else {
        run.to_vec()
    };
    words.extend(ours);
    words
}

/// As words of a command.
pub(super) fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// As a word of a command.
pub(super) fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Of an exit code nothing more is known.
pub(super) const fn unexplained(_: i32) -> Option<&'static str> {
    None
}
