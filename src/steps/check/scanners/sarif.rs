//! Whatever writes SARIF 2.1.0: semgrep, gosec, CodeQL.

use serde::Deserialize;

use super::finding::{first_line, parsed};
use super::{Call, Finding, Grave, Report, Unread, unexplained};
use crate::config::{SarifScanner, Severity};

pub(super) fn call(scanner: &SarifScanner) -> Call {
    Call {
        name: scanner.name.clone(),
        words: scanner.run.clone(),
        timeout: scanner.timeout.0,
        fail_on: scanner.fail_on,
        block_unfixed: true,
        codes: &[0, 1],
        explain: unexplained,
        read,
        install: "install it, or mend its `run` below checks.scanners.sarif",
    }
}

#[derive(Deserialize)]
struct Written {
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    tool: Tool,
    #[serde(default)]
    invocations: Vec<Invocation>,
    /// Not written by a run that failed before it looked.
    results: Option<Vec<Found>>,
}

#[derive(Deserialize)]
struct Tool {
    driver: Component,
    #[serde(default)]
    extensions: Vec<Component>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: String,
    #[serde(default)]
    properties: serde_json::Value,
    #[serde(default)]
    default_configuration: Configuration,
}

#[derive(Deserialize, Default)]
struct Configuration {
    level: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: bool,
    #[serde(default)]
    tool_execution_notifications: Vec<Notification>,
}

#[derive(Deserialize)]
struct Notification {
    level: Option<String>,
    message: Message,
}

#[derive(Deserialize, Default)]
struct Message {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    rule_id: Option<String>,
    level: Option<String>,
    kind: Option<String>,
    baseline_state: Option<String>,
    #[serde(default)]
    message: Message,
    #[serde(default)]
    locations: Vec<serde_json::Value>,
    #[serde(default)]
    suppressions: Vec<Suppression>,
}

#[derive(Deserialize)]
struct Suppression {
    status: Option<String>,
}

fn read(bytes: &[u8]) -> Result<Report, String> {
    let written: Written = parsed(bytes)?;
    if written.runs.is_empty() {
        return Err("its report is of no run".to_owned());
    }
    let mut report = Report {
        looked_at: "nothing found".to_owned(),
        ..Report::default()
    };
    for run in written.runs {
        for invocation in run.invocations {
            if !invocation.execution_successful {
                return Err("its report says that it failed".to_owned());
            }
            let failed = invocation.tool_execution_notifications.into_iter();
            report.unread.extend(
                failed
                    .filter(|one| one.level.as_deref() == Some("error"))
                    .map(|one| Unread {
                        key: "unread".to_owned(),
                        why: first_line(&one.message.text),
                    }),
            );
        }
        let Some(results) = run.results else {
            return Err("its report has no results".to_owned());
        };
        let rules: Vec<Rule> = std::iter::once(run.tool.driver)
            .chain(run.tool.extensions)
            .flat_map(|component| component.rules)
            .collect();
        for found in results {
            let is_a_failure = !matches!(
                found.kind.as_deref(),
                Some("pass" | "notApplicable" | "informational")
            );
            if !is_a_failure || found.baseline_state.as_deref() == Some("absent") {
                continue;
            }
            let accepted =
                |one: &Suppression| one.status.as_deref().is_none_or(|status| status == "accepted");
            if found.suppressions.iter().any(accepted) {
                report.accepted += 1;
                continue;
            }
            report.findings.push(finding(found, &rules));
        }
    }
    Ok(report)
}

fn finding(found: Found, rules: &[Rule]) -> Finding {
    let id = found.rule_id.unwrap_or_default();
    let rule = rules.iter().find(|rule| rule.id == id);
    let score = rule.and_then(|rule| {
        let score = rule.properties.get("security-severity")?;
        let number = || score.as_f64().map(|score| score.to_string());
        score.as_str().map(str::to_owned).or_else(number)
    });
    let level = found
        .level
        .or_else(|| rule.and_then(|rule| rule.default_configuration.level.clone()));
    let grave = score.map_or_else(|| levelled(level.as_deref()), |score| Grave::scored(&score));
    let location = found.locations.first().map(|one| &one["physicalLocation"]);
    let file = location.and_then(|one| one["artifactLocation"]["uri"].as_str());
    let line = location.and_then(|one| one["region"]["startLine"].as_u64());
    let place = file.map(|file| line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}")));
    let key = file.map_or_else(|| id.clone(), |file| format!("{id}:{file}"));
    Finding {
        aliases: vec![id.clone()],
        place,
        ..Finding::new(key, grave, format!("{id}: {}", first_line(&found.message.text)))
    }
}

/// Where nothing is said it is a warning, says SARIF.
fn levelled(level: Option<&str>) -> Grave {
    match level {
        Some("error") => Grave::Known(Severity::High),
        Some("warning") | None => Grave::Known(Severity::Medium),
        Some("note" | "none") => Grave::Known(Severity::Low),
        Some(_) => Grave::Unknown,
    }
}
